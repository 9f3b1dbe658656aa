//! `?timeout=MS`: what may be written there, and what may not.

use crate::harness::{Answer, Service, Upstream, http1_and_http2, route};

/// What nobody may write after `?`; the most that may be asked for is 4321.
const BAD: &[&str] = &[
    "timeout",
    "timeout=",
    "timeout=0",
    "timeout=00",
    "timeout=-0",
    "timeout=-1",
    "timeout=+1",
    "timeout=%2B1",
    "timeout=%2D1",
    "timeout=1.5",
    "timeout=1.0",
    "timeout=1%2E5",
    "timeout=1,5",
    "timeout=1_000",
    "timeout=1e3",
    "timeout=0x10",
    "timeout=ff",
    "timeout=1s",
    "timeout=100ms",
    "timeout=4322",
    "timeout=18446744073709551616",
    "timeout=18446744073709551617",
    "timeout=340282366920938463463374607431768211457",
    "timeout=%201",
    "timeout=1%20",
    "timeout=+",
    "timeout=1+0",
    "timeout=1%0A",
    "timeout=1%09",
    "timeout=1%00",
    "timeout=%",
    "timeout=1%",
    "timeout=%30",
    "timeout=%FF",
    "timeout=%D9%A1%D9%A2",
    "timeout=%EF%BC%91%EF%BC%92",
    "timeout=\u{664}\u{662}",
    "timeout=\u{ff14}\u{ff12}",
    "timeout=\u{00b2}",
    "timeout=infinity",
    "timeout=NaN",
    "timeout=null",
    "timeout=true",
    "timeout=%2231%22",
    "timeout=1;2",
    "timeout=100&timeout=100",
    "timeout=100&x=1&timeout=200",
    "timeout=100&timeout",
    "timeout=100&timeout=",
    "timeout=&timeout=100",
    "timeout=0&timeout=100",
    "timeout=100&%74imeout=100",
    "%74imeout=0",
    "time%6Fut=-1",
    "%74%69%6D%65%6F%75%74=1.5",
    "x=1&timeout=0",
    "timeout==100",
];

fn assert_refused(answer: &Answer, query: &str) {
    assert_eq!(answer.status, 400, "{query}: {answer:?}");
    assert_eq!(answer.problem(), "invalid-timeout", "{query}");
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("4321"), "{query}: {detail}");
}

#[tokio::test]
async fn a_bad_timeout_is_refused_with_what_is_allowed_and_calls_nobody() {
    let upstream = Upstream::start();
    let config = [
        upstream.section("work", "/"),
        route(
            "/all",
            "all",
            "work",
            "max_timeout = \"4321ms\"\ntimeout = \"4s\"",
        ),
        route(
            "/first",
            "first",
            "work",
            "max_timeout = \"4321ms\"\ntimeout = \"4s\"",
        ),
    ];
    let service = Service::start(&config.concat()).await;
    let digits = format!("timeout={}", "9".repeat(4000));
    for client in http1_and_http2() {
        for query in BAD.iter().copied().chain([digits.as_str()]) {
            for path in ["/all", "/first"] {
                let path = format!("{path}?{query}");
                assert_refused(&service.ask(&client, "GET", &path, &[]).await, query);
            }
        }
        let head = service.ask(&client, "HEAD", "/all?timeout=0", &[]).await;
        assert_eq!((head.status, head.body.as_str()), (400, ""));
    }
    assert_eq!(upstream.counters.requests(), 0);
}

#[tokio::test]
async fn a_good_timeout_reaches_the_upstream_beside_other_parameters() {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/")
        + &route(
            "/all",
            "all",
            "work",
            "max_timeout = \"20s\"\ntimeout = \"1s\"",
        );
    let service = Service::start(&config).await;
    for client in http1_and_http2() {
        for query in [
            "timeout=20000",
            "timeout=19999",
            "timeout=10000",
            "x=1&timeout=10000",
            "timeout=10000&x=1&x=2",
            "timeouts=0&timeout=10000",
            "Timeout=0",
            "my.timeout=0",
            "x=timeout=0",
            "",
        ] {
            let seen = upstream.counters.requests();
            let path = format!("/all?{query}");
            let answer = service.ask(&client, "GET", &path, &[]).await;
            assert_eq!(answer.status, 200, "{query}: {answer:?}");
            assert_eq!(upstream.counters.requests() - seen, 2, "{query}");
        }
        // The least that may be asked for: too little for most upstreams, but no mistake.
        let least = service.ask(&client, "GET", "/all?timeout=1", &[]).await;
        assert_ne!(least.status, 400, "{least:?}");
    }
}
