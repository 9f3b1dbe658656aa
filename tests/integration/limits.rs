//! What one client may cause: requests in time, gathers at once, and who counts as one client.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::harness::{Answer, Service, Upstream, client, client_builder, route, soon, until};

async fn status_of(client: &reqwest::Client, url: &str, forwarded: &str) -> u16 {
    let request = client.get(url).header("x-forwarded-for", forwarded);
    request.send().await.unwrap().status().as_u16()
}

/// A service whose routes are `/one` and `/two`, with more for the second.
async fn service(server: &str, sections: &str, two: &str) -> (Service, Upstream) {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/")
        + &route("/one", "all", "work", "calls = 1")
        + &route("/two", "all", "work", &format!("calls = 1\n{two}"));
    (Service::with(server, sections, &config).await, upstream)
}

#[tokio::test]
async fn a_client_is_admitted_its_burst_and_what_time_refills_over_either_protocol() {
    for http1 in [true, false] {
        let limit = "[rate_limit]\nrequests_per_second = 20\nburst = 30\n";
        let (service, upstream) = service("", limit, "").await;
        let client = if http1 {
            client_builder().http1_only()
        } else {
            client_builder()
        };
        let client = client.build().unwrap();
        let start = Instant::now();
        let url = service.url("/one");
        let answers = join_all((0..90).map(|_| client.get(&url).send())).await;
        let took = start.elapsed();
        let admitted = answers
            .into_iter()
            .filter(|answer| answer.as_ref().unwrap().status() == 200);
        let admitted = admitted.count();
        let refilled = usize::try_from(took.as_millis()).unwrap() / 50 + 1;
        assert!(
            (30..=31 + refilled).contains(&admitted),
            "{admitted} in {took:?}"
        );
        assert_eq!(upstream.counters.requests(), admitted as u64);
    }
}

#[tokio::test]
async fn heads_and_unknown_paths_are_charged_like_any_request() {
    let limit = "[rate_limit]\nrequests_per_second = 0.01\nburst = 3\n";
    let (service, _upstream) = service("", limit, "").await;
    let client = client();
    assert_eq!(
        client
            .head(service.url("/one"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(service.get("/nowhere").await.status, 404);
    assert_eq!(
        client
            .delete(service.url("/one"))
            .send()
            .await
            .unwrap()
            .status(),
        405
    );
    for path in ["/one", "/two", "/nowhere"] {
        assert_eq!(service.get(path).await.problem(), "rate-limited", "{path}");
    }
}

#[tokio::test]
async fn a_route_s_own_limit_replaces_the_shared_one_there() {
    let limit = "[rate_limit]\nrequests_per_second = 0.01\nburst = 1\n";
    let (service, _upstream) = service("", limit, "rate_limit = { burst = 2 }").await;
    let mut statuses = Vec::new();
    for path in ["/one", "/one", "/two", "/two", "/two"] {
        statuses.push(service.get(path).await.status);
    }
    assert_eq!(statuses, [200, 429, 200, 200, 429]);
    let (service, _upstream) = self::service("", limit, "rate_limit = { enabled = false }").await;
    for _ in 0..5 {
        assert_eq!(service.get("/two").await.status, 200);
    }
}

#[tokio::test]
async fn a_dry_run_admits_whom_it_would_refuse() {
    let limit = "[rate_limit]\nrequests_per_second = 0.01\nburst = 1\ndry_run = true\n";
    let (service, _upstream) = service("", limit, "").await;
    for _ in 0..5 {
        assert_eq!(service.get("/one").await.status, 200);
    }
}

#[tokio::test]
async fn new_clients_share_the_bucket_of_their_network_when_there_are_too_many() {
    let limit = "[rate_limit]\nrequests_per_second = 0.001\nburst = 2\nmax_clients = 2\n";
    let trusting = "trusted_proxies = [\"127.0.0.0/8\"]";
    let (service, _upstream) = service(trusting, limit, "").await;
    let (client, url) = (client(), service.url("/one"));
    let ask = async |address: &str| status_of(&client, &url, address).await;
    assert_eq!(ask("192.0.2.1").await, 200);
    assert_eq!(ask("192.0.2.2").await, 200);
    // No place for these: they share what 198.51.100.0/24 has.
    assert_eq!(ask("198.51.100.1").await, 200);
    assert_eq!(ask("198.51.100.2").await, 200);
    assert_eq!(ask("198.51.100.3").await, 429);
    // Who was there before has kept what is left.
    assert_eq!(ask("192.0.2.1").await, 200);
    assert_eq!(ask("192.0.2.1").await, 429);
}

#[tokio::test]
async fn forwarded_addresses_count_as_far_as_they_may_be_believed() {
    let limit = "[rate_limit]\nrequests_per_second = 0.001\nburst = 1\n";
    let forged = ["192.0.2.1", "192.0.2.2"];
    for (server, expected) in [
        ("", [200, 429]),
        ("trusted_proxies = [\"127.0.0.0/8\"]", [200, 200]),
        ("trusted_hops = 1", [200, 200]),
        // The second entry from the right is the same for both.
        ("trusted_hops = 2", [200, 429]),
    ] {
        let (service, _upstream) = service(server, limit, "").await;
        let client = client();
        for (address, expected) in forged.iter().zip(expected) {
            let forwarded = format!("6.6.6.6, 203.0.113.9, {address}");
            let status = status_of(&client, &service.url("/one"), &forwarded).await;
            assert_eq!(status, expected, "{server} {address}");
        }
    }
}

#[tokio::test]
async fn a_client_that_is_denied_behind_a_proxy_gets_403() {
    let sections = "[rate_limit]\nenabled = false\n[access]\ndeny = [\"192.0.2.0/24\"]\n";
    let (service, _upstream) = service("trusted_hops = 1", sections, "").await;
    let (client, url) = (client(), service.url("/one"));
    assert_eq!(status_of(&client, &url, "192.0.2.1").await, 403);
    assert_eq!(status_of(&client, &url, "198.51.100.1").await, 200);
}

/// A service of one hanging route and one that answers.
async fn hanging(server: &str, sections: &str) -> (Service, Upstream) {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/")
        + &upstream.section("slow", "/fault/hang/start")
        + "linger = \"1s\"\n"
        + &route("/one", "all", "work", "calls = 1")
        + &route("/hang", "all", "slow", "calls = 1");
    (Service::with(server, sections, &config).await, upstream)
}

#[tokio::test]
async fn above_max_in_flight_a_gather_is_refused_at_once() {
    let off = "[rate_limit]\nenabled = false\nexempt = [\"127.0.0.0/8\"]\n";
    let (service, upstream) = hanging("max_in_flight = 2", off).await;
    let client = client();
    let url = service.url("/hang?timeout=3000");
    let held = [
        tokio::spawn(client.get(&url).send()),
        tokio::spawn(client.get(&url).send()),
    ];
    until(|| upstream.counters.requests_open() == 2).await;
    let refused = service.get("/one").await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (503, "overloaded")
    );
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    for held in held {
        assert_eq!(Answer::of(held.await.unwrap().unwrap()).await.status, 500);
    }
    assert_eq!(service.get("/one").await.status, 200);
}

#[tokio::test]
async fn a_gather_that_finds_no_place_costs_its_client_no_token() {
    let limit = "[rate_limit]\nrequests_per_second = 0.01\nburst = 3\n";
    for (bound, status) in [("max_in_flight", 503), ("max_in_flight_per_client", 429)] {
        let (service, upstream) = hanging(&format!("{bound} = 2"), limit).await;
        let client = client();
        let url = service.url("/hang?timeout=1500");
        let held = [
            tokio::spawn(client.get(&url).send()),
            tokio::spawn(client.get(&url).send()),
        ];
        until(|| upstream.counters.requests_open() == 2).await;
        for _ in 0..5 {
            let refused = service.get("/one").await;
            assert_eq!(refused.status, status, "{refused:?}");
            assert!(!refused.body.contains("a second"), "{refused:?}");
        }
        for held in held {
            assert_eq!(Answer::of(held.await.unwrap().unwrap()).await.status, 500);
        }
        until(|| upstream.counters.requests_open() == 0).await;
        // The third and last token is still there.
        let last = soon(async {
            loop {
                let answer = service.get("/one").await;
                if answer.status == 200 || answer.body.contains("a second") {
                    return answer;
                }
            }
        });
        assert_eq!(last.await.status, 200);
        assert!(service.get("/one").await.body.contains("a second"));
    }
}

#[tokio::test]
async fn a_client_that_leaves_has_its_gathers_counted_until_the_last_call_is_over() {
    let off = "[rate_limit]\nenabled = false\n";
    let (service, upstream) = hanging("max_in_flight_per_client = 3", off).await;
    let client = client();
    // Long enough for their calls to run: a branch that does not run yet ends with its gather.
    let url = service.url("/hang?timeout=500");
    for early in join_all((0..3).map(|_| client.get(&url).send())).await {
        assert_eq!(early.unwrap().status(), 500);
    }
    let refused = service.get("/one").await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (429, "rate-limited")
    );
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(
        refused.header("ratelimit-policy"),
        "\"in-flight\";q=3;qu=\"concurrent-requests\""
    );
    assert!(upstream.counters.most_requests_open() <= 3);
    // Once they linger no more, there is room again.
    let deadline = Instant::now() + Duration::from_secs(10);
    while service.get("/one").await.status != 200 {
        assert!(
            Instant::now() < deadline,
            "lingering calls keep their places for ever"
        );
    }
}
