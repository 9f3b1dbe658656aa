//! How often a client may ask, and who that client is.

use std::time::Duration;

use futures_util::future::join_all;

use crate::harness::{Answer, Service, Upstream, client, http1_and_http2, route, soon};

/// Refills so seldom that no test sees it.
const SELDOM: &str = "requests_per_second = 0.01\n";

/// A service of one route with these keys in `[server]` and `[rate_limit]`.
async fn service(server: &str, limit: &str) -> (Service, Upstream) {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/") + &route("/one", "all", "work", "calls = 1");
    let limit = format!("[rate_limit]\n{limit}");
    let service = Service::with(server, &limit, &config).await;
    (service, upstream)
}

/// The status that a client gets which a proxy forwards with these headers.
async fn forwarded(service: &Service, headers: &[(&str, &str)]) -> u16 {
    service.ask(&client(), "GET", "/one", headers).await.status
}

fn assert_limited(answer: &Answer, burst: u32) {
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.problem(), "rate-limited");
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=100).contains(&wait), "{wait}");
    let policy = answer.header("ratelimit-policy");
    assert!(policy.contains(&format!("q={burst}")), "{policy}");
    assert!(answer.header("ratelimit").contains("r=0"), "{answer:?}");
    assert!(!answer.header("x-request-id").is_empty());
}

#[tokio::test]
async fn a_burst_is_admitted_to_the_last_request_and_no_further() {
    for client in http1_and_http2() {
        let (service, upstream) = service("", &format!("{SELDOM}burst = 7")).await;
        for number in 1..=7 {
            let answer = service.ask(&client, "GET", "/one", &[]).await;
            assert_eq!(answer.status, 200, "{number}: {answer:?}");
        }
        for path in ["/one", "/one?timeout=0", "/nowhere"] {
            assert_limited(&service.ask(&client, "GET", path, &[]).await, 7);
        }
        let head = service.ask(&client, "HEAD", "/one", &[]).await;
        assert_eq!((head.status, head.body.as_str()), (429, ""));
        assert_eq!(head.header("content-type"), "application/problem+json");
        assert_ne!(head.header("content-length"), "0");
        assert_eq!(upstream.counters.requests(), 7);
    }
}

#[tokio::test]
async fn requests_at_once_are_counted_the_same_over_both_protocols() {
    for client in http1_and_http2() {
        let (service, upstream) = service("", &format!("{SELDOM}burst = 9")).await;
        let asked = (0..40).map(|_| service.ask(&client, "GET", "/one", &[]));
        let answers = soon(join_all(asked)).await;
        let good = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(good, 9);
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            assert_limited(answer, 9);
        }
        assert_eq!(upstream.counters.requests(), 9);
    }
}

#[tokio::test]
async fn a_client_that_waits_as_long_as_it_was_told_is_admitted() {
    let (service, _upstream) = service("", "requests_per_second = 2\nburst = 1").await;
    for client in http1_and_http2() {
        let refused = soon(async {
            loop {
                let answer = service.ask(&client, "GET", "/one", &[]).await;
                if answer.status != 200 {
                    return answer;
                }
            }
        })
        .await;
        assert_limited(&refused, 1);
        assert_eq!(
            refused.header("retry-after"),
            "1",
            "half a second, rounded up"
        );
        let wait = refused.header("retry-after").parse().expect("seconds");
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let answer = service.ask(&client, "GET", "/one", &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn only_the_exempt_are_free() {
    let limit = format!("{SELDOM}burst = 1\nexempt = ");
    let (free, _upstream) = service("", &(limit.clone() + "[\"127.0.0.0/8\"]")).await;
    for _ in 0..10 {
        assert_eq!(free.get("/one").await.status, 200);
    }
    let (bound, _upstream) = service("", &(limit.clone() + "[\"10.0.0.0/8\"]")).await;
    assert_eq!(bound.get("/one").await.status, 200);
    assert_limited(&bound.get("/one").await, 1);
    // Said by somebody who may not.
    assert_eq!(
        forwarded(&bound, &[("x-forwarded-for", "10.1.2.3")]).await,
        429
    );
    // Exempt is the client, not the proxy that it came by.
    let proxies = "trusted_proxies = [\"127.0.0.0/8\"]";
    let (behind, _upstream) = service(proxies, &(limit + "[\"192.0.2.0/24\"]")).await;
    for _ in 0..5 {
        assert_eq!(
            forwarded(&behind, &[("x-forwarded-for", "192.0.2.7")]).await,
            200
        );
    }
    assert_eq!(
        forwarded(&behind, &[("x-forwarded-for", "198.51.100.1")]).await,
        200
    );
    assert_eq!(
        forwarded(&behind, &[("x-forwarded-for", "198.51.100.1")]).await,
        429
    );
}

#[tokio::test]
async fn a_trusted_proxy_names_its_clients_read_right_to_left() {
    let proxies = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
    let (service, _upstream) = service(proxies, &format!("{SELDOM}burst = 1")).await;
    for (forwarded_for, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
        // What a client wrote itself stands to the left.
        ("203.0.113.9, 192.0.2.2", 429),
        ("203.0.113.9", 200),
        // Other trusted proxies are passed over.
        ("192.0.2.3, 10.0.0.1", 200),
        ("192.0.2.3,10.0.0.1,10.0.0.2", 429),
        ("192.0.2.3", 429),
        // One IPv6 client has a whole /64, and IPv4 is IPv4 however it is written.
        ("2001:db8::1", 200),
        ("2001:db8::ffff:2", 429),
        ("2001:db8:0:1::1", 200),
        ("::ffff:192.0.2.1", 429),
        ("::ffff:192.0.2.4", 200),
        ("192.0.2.4", 429),
    ] {
        let headers = [("x-forwarded-for", forwarded_for)];
        assert_eq!(
            forwarded(&service, &headers).await,
            status,
            "{forwarded_for}"
        );
    }
    // Several lines are one list.
    let lines = [
        ("x-forwarded-for", "192.0.2.200"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    assert_eq!(forwarded(&service, &lines).await, 429);
}

#[tokio::test]
async fn nobody_else_names_clients() {
    let limit = format!("{SELDOM}burst = 2");
    for server in ["", "trusted_proxies = [\"10.0.0.0/8\"]"] {
        let (service, upstream) = service(server, &limit).await;
        let mut statuses = Vec::new();
        for last in 1..=6 {
            let address = format!("192.0.2.{last}");
            let headers = ["x-forwarded-for", "forwarded", "x-real-ip"];
            let headers = headers.map(|name| (name, address.as_str()));
            statuses.push(forwarded(&service, &headers).await);
        }
        assert_eq!(statuses, [200, 200, 429, 429, 429, 429], "{server}");
        assert_eq!(upstream.counters.requests(), 2);
    }
}
