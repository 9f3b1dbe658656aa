//! One quota for several hosts: a real Redis counts, and instances admit together what one would.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tempfile::TempDir;

use crate::harness::{Service, Upstream, client, http1_and_http2, route, soon, until_async};
use crate::redis::Redis;

/// Clients are whom the header says.
const PROXIED: &str = "trusted_proxies = [\"127.0.0.0/8\"]";
/// Far more than a request to Redis takes on a busy machine.
const PATIENT: &str = "timeout = \"1s\"";

/// Several instances that count together.
pub(crate) struct Fleet {
    pub(crate) instances: Vec<Service>,
    pub(crate) upstream: Upstream,
}

impl Fleet {
    /// So many, with these keys in `[rate_limit]` and `[rate_limit.shared]`, and more routes.
    pub(crate) async fn start(
        size: usize,
        url: &str,
        limit: &str,
        shared: &str,
        more: &str,
    ) -> Self {
        let directory = || TempDir::new().expect("a directory for this test");
        Self::within(
            (0..size).map(|_| directory()).collect(),
            url,
            limit,
            shared,
            more,
        )
        .await
    }

    /// The same, in directories that hold what the configuration names.
    pub(crate) async fn within(
        directories: Vec<TempDir>,
        url: &str,
        limit: &str,
        shared: &str,
        more: &str,
    ) -> Self {
        let upstream = Upstream::start();
        let routes = upstream.section("work", "/") + &route("/one", "all", "work", "calls = 1");
        let sections =
            format!("[rate_limit]\n{limit}\n[rate_limit.shared]\nurl = \"{url}\"\n{shared}");
        let mut instances = Vec::new();
        for directory in directories {
            let routes = format!("{routes}{}", more.replace("UPSTREAM", "work"));
            instances.push(Service::within(directory, PROXIED, &sections, &routes).await);
        }
        Self {
            instances,
            upstream,
        }
    }

    /// Waits until every instance counts in this Redis.
    pub(crate) async fn joined(&self, redis: &Redis) {
        for (number, instance) in self.instances.iter().enumerate() {
            let key = format!("GET gatherd:client:198.51.100.{number}");
            until_async(async || {
                get(instance, "/one", &format!("198.51.100.{number}")).await;
                // Its own count: a text, while "nothing" is $-1.
                redis.ask("PING").await == "+PONG" && redis.ask(&key).await != "$-1"
            })
            .await;
        }
    }
}

/// The status that this client gets.
pub(crate) async fn get(service: &Service, path: &str, client_address: &str) -> u16 {
    let headers = [("x-forwarded-for", client_address)];
    service.ask(&client(), "GET", path, &headers).await.status
}

#[tokio::test]
async fn instances_under_ten_times_the_rate_admit_together_what_one_would() {
    const RATE: f64 = 20.0;
    const BURST: f64 = 10.0;
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let limit = "requests_per_second = 20\nburst = 10";
    let fleet = Fleet::start(2, &url, limit, PATIENT, "").await;
    fleet.joined(&redis).await;
    for (number, client) in http1_and_http2().into_iter().enumerate() {
        let address = format!("192.0.2.{number}");
        let began = Instant::now();
        let asked = fleet.instances.iter().map(async |instance| {
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            let mut admitted = 0;
            while began.elapsed() < Duration::from_secs(3) {
                pace.tick().await;
                let headers = [("x-forwarded-for", address.as_str())];
                let answer = instance.ask(&client, "GET", "/one", &headers).await;
                assert!([200, 429].contains(&answer.status), "{answer:?}");
                admitted += u32::from(answer.status == 200);
            }
            admitted
        });
        let each = join_all(asked).await;
        let most = BURST + RATE * began.elapsed().as_secs_f64() + 1.0;
        let admitted = f64::from(each.iter().sum::<u32>());
        assert!(admitted <= most, "{each:?} is more than {most}");
        assert!(admitted >= BURST + RATE * 3.0 * 0.8, "{each:?}");
    }
}

#[tokio::test]
async fn a_burst_at_once_is_admitted_to_the_last_request_and_no_further() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://localhost:{}/7", redis.port);
    let limit = "requests_per_second = 0.01\nburst = 10";
    let fleet = Fleet::start(5, &url, limit, PATIENT, "").await;
    soon(async {
        // Another database, so that no key shows: until all five have asked.
        while redis.asked().await < 5 {
            for instance in &fleet.instances {
                get(instance, "/one", "198.51.100.1").await;
            }
        }
    })
    .await;
    let (client, address) = (client(), [("x-forwarded-for", "192.0.2.1")]);
    let asked = fleet.instances.iter().flat_map(|instance| {
        let ask = || instance.ask(&client, "GET", "/one", &address);
        (0..10).map(move |_| ask())
    });
    let answers = join_all(asked.collect::<Vec<_>>()).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 10);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refused.problem(), "rate-limited");
        let wait: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((1..=100).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn whoever_is_refused_is_refused_without_asking_redis_until_the_refusal_ends() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let limit = "requests_per_second = 1\nburst = 3";
    let fleet = Fleet::start(1, &url, limit, PATIENT, "").await;
    fleet.joined(&redis).await;
    let instance = &fleet.instances[0];
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) {
        statuses.push(get(instance, "/one", "192.0.2.1").await);
    }
    let asked = redis.asked().await;
    let flood = (0..30).map(|_| get(instance, "/one", "192.0.2.1"));
    let flood = join_all(flood).await;
    let refused = flood.iter().filter(|status| **status == 429).count();
    // A busy machine may have taken longer than the second that the first refusal lasted.
    let (asked, admitted) = (redis.asked().await - asked, 30 - refused as u64);
    assert!(asked <= 2 * (admitted + 1), "{asked} for {admitted}");
    let answer = instance
        .ask(
            &client(),
            "GET",
            "/one",
            &[("x-forwarded-for", "192.0.2.1")],
        )
        .await;
    if answer.status == 429 {
        let wait = answer.header("retry-after").parse().expect("seconds");
        tokio::time::sleep(Duration::from_secs(wait)).await;
        assert_eq!(get(instance, "/one", "192.0.2.1").await, 200);
    }
}

#[tokio::test]
async fn a_routes_own_limit_is_shared_and_apart_from_the_common_one() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let own = "calls = 1\nrate_limit = { burst = 2 }";
    let routes = route("/own", "all", "work", own);
    let limit = "requests_per_second = 0.01\nburst = 4";
    let fleet = Fleet::start(2, &url, limit, PATIENT, &routes).await;
    fleet.joined(&redis).await;
    let mut statuses = Vec::new();
    for path in ["/own", "/one"] {
        for number in 0..6 {
            let instance = &fleet.instances[number % 2];
            statuses.push(get(instance, path, "192.0.2.1").await);
        }
    }
    let expected = [200, 200, 429, 429, 429, 429, 200, 200, 200, 200, 429, 429];
    assert_eq!(statuses, expected);
    for key in ["gatherd:/own:192.0.2.1", "gatherd:client:192.0.2.1"] {
        let left: i64 = redis.ask(&format!("PTTL {key}")).await[1..]
            .parse()
            .expect("ms");
        assert!((1..=400_000).contains(&left), "{key} goes in {left} ms");
    }
}

#[tokio::test]
async fn the_exempt_are_not_asked_for_and_a_dry_run_admits() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let limit = "requests_per_second = 0.01\nburst = 1\nexempt = [\"192.0.2.0/24\"]";
    let fleet = Fleet::start(1, &url, limit, PATIENT, "").await;
    fleet.joined(&redis).await;
    for _ in 0..3 {
        assert_eq!(get(&fleet.instances[0], "/one", "192.0.2.1").await, 200);
    }
    assert_eq!(redis.ask("GET gatherd:client:192.0.2.1").await, "$-1");
    let limit = "requests_per_second = 0.01\nburst = 1\ndry_run = true";
    let fleet = Fleet::start(1, &url, limit, PATIENT, "").await;
    fleet.joined(&redis).await;
    for _ in 0..3 {
        assert_eq!(get(&fleet.instances[0], "/one", "192.0.2.1").await, 200);
    }
    assert_ne!(redis.ask("GET gatherd:client:192.0.2.1").await, "$-1");
}

#[tokio::test]
async fn hosts_without_redis_divide_the_quota() {
    let upstream = Upstream::start();
    let routes = upstream.section("work", "/") + &route("/one", "all", "work", "calls = 1");
    let limit = "[rate_limit]\nrequests_per_second = 0.01\nburst = 9\ninstances = 3";
    let service = Service::with("", limit, &routes).await;
    for _ in 0..3 {
        assert_eq!(service.get("/one").await.status, 200);
    }
    let refused = service.get("/one").await;
    assert_eq!(refused.status, 429);
    assert!(
        refused.header("ratelimit-policy").contains("q=9"),
        "the client's quota is the whole"
    );
    assert_eq!(upstream.counters.requests(), 3);
}
