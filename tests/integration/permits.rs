//! Limits on what runs and what is held at once: `max_calls`, `max_wait`, `max_buffered`.

use std::time::Duration;

use futures_util::future::join_all;

use crate::harness::{Answer, Service, Upstream, route, soon, until};
use crate::raw_upstreams::{PROTOCOLS, get_all};

fn is_overloaded(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "overloaded"),
        "{answer:?}"
    );
    let retry_after: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!(retry_after >= 1, "{answer:?}");
    let kinds = answer.kinds();
    assert!(kinds.iter().any(|kind| kind == "overloaded"), "{answer:?}");
}

#[tokio::test]
async fn max_calls_is_never_exceeded_and_everybody_has_a_turn() {
    for http in PROTOCOLS {
        let upstream = Upstream::with("1", Duration::from_millis(5));
        let config = upstream.section("work", "/")
            + &format!("http = \"{http}\"\nmax_calls = 7\nmax_wait = \"1m\"\n")
            + &route("/all", "all", "work", "calls = 3")
            + &route("/first", "first", "work", "calls = 3")
            + &route("/quorum", "quorum", "work", "need = 2\ncalls = 3");
        let service = Service::start(&config).await;
        let paths = ["/all", "/first", "/quorum"].repeat(50);
        let urls = paths.iter().map(|path| service.url(path)).collect();
        for answer in get_all(urls, 60).await {
            assert_eq!(answer.status, 200, "http={http} {answer:?}");
        }
        until(|| upstream.counters.requests_open() == 0).await;
        assert_eq!(upstream.counters.most_requests_open(), 7, "http={http}");
    }
}

#[tokio::test]
async fn a_branch_without_a_permit_within_max_wait_is_overloaded() {
    for max_wait in ["0s", "50ms"] {
        let upstream = Upstream::start();
        let config = upstream.section("work", "/fault/hang/start")
            + &format!("max_calls = 2\nmax_wait = \"{max_wait}\"\nlinger = \"0s\"\n")
            + &route("/two", "all", "work", "calls = 2\nmax_timeout = \"20s\"")
            + &route("/any", "first_success", "work", "calls = 2");
        let service = Service::start(&config).await;
        let holding = tokio::spawn({
            let (client, url) = (crate::harness::client(), service.url("/two?timeout=20000"));
            async move { client.get(url).send().await }
        });
        until(|| upstream.counters.requests_open() == 2).await;
        for path in ["/two", "/any"] {
            is_overloaded(&soon(service.get(path)).await);
        }
        assert_eq!(upstream.counters.requests(), 2, "no other call was made");
        // Its client gone, the permits are free again, since nothing lingers here.
        holding.abort();
        until(|| upstream.counters.requests_open() == 0).await;
        let freed = service.get("/two?timeout=100").await;
        assert_eq!(freed.problem(), "deadline-exceeded");
    }
}

#[tokio::test]
async fn an_overloaded_branch_is_replaced_and_missing_like_any_other() {
    let upstream = Upstream::start();
    let other = Upstream::start();
    let mut config = upstream.section("full", "/fault/hang/start");
    config += "max_calls = 1\nmax_wait = \"0s\"\n";
    config += &other.section("other", "/");
    config += &route("/hold", "all", "full", "calls = 1");
    for (path, policy) in [("/some", "available"), ("/any", "first_success")] {
        config += &format!(
            "[[routes]]\npath = \"{path}\"\npolicy = \"{policy}\"\nbranches = [\
             {{ name = \"a\", upstream = \"full\" }}, {{ name = \"b\", upstream = \"other\" }}]\n"
        );
    }
    let service = Service::start(&config).await;
    let scenario = async {
        until(|| upstream.counters.requests_open() == 1).await;
        let some = service.get("/some").await;
        assert_eq!((some.status, some.body.as_str()), (200, "[{\"time\":250}]"));
        let gather = some.header("gather");
        assert_eq!(gather, "total=2, ok=1, failed=1, missing=(\"a\")");
        assert_eq!(service.get("/any").await.status, 200);
    };
    tokio::join!(service.get("/hold?timeout=1500"), scenario);
}

#[tokio::test]
async fn a_hedge_never_waits_for_a_permit() {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/fault/delay/400ms")
        + "max_calls = 1\nmax_wait = \"30s\"\n"
        + &route(
            "/hedged",
            "first_success",
            "work",
            "calls = 2\nhedge_after = \"20ms\"\nhedge_budget = 1.0",
        );
    let service = Service::start(&config).await;
    // The one permit is the first branch's: there is no hedge, and none that waits for it.
    let answer = service.get("/hedged").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("gather"), "total=2, ok=1, failed=0");
    until(|| upstream.counters.requests_open() == 0).await;
    assert_eq!(service.get("/hedged").await.status, 200);
    assert_eq!(upstream.counters.requests(), 2);
}

#[tokio::test]
async fn a_slow_upstream_does_not_take_the_routes_of_another() {
    let slow = Upstream::start();
    let quick = Upstream::start();
    let config = slow.section("slow", "/fault/hang/start")
        + "max_calls = 10\nmax_wait = \"250ms\"\n"
        + &quick.section("quick", "/")
        + &route("/slow", "all", "slow", "calls = 2")
        + &route("/quick", "all", "quick", "calls = 2");
    let service = Service::start(&config).await;
    let stuck = join_all((0..60).map(|_| service.get("/slow?timeout=1500")));
    let meanwhile = async {
        until(|| slow.counters.requests_open() == 10).await;
        for _ in 0..20 {
            assert_eq!(service.get("/quick").await.status, 200);
        }
        slow.counters.requests_open()
    };
    let (stuck, still_open) = tokio::join!(stuck, meanwhile);
    assert_eq!(
        still_open, 10,
        "the quick ones did not wait for the slow ones"
    );
    assert_eq!(slow.counters.most_requests_open(), 10);
    let overloaded = stuck.iter().filter(|answer| answer.status == 503);
    assert_eq!(overloaded.count(), 55);
}

#[tokio::test]
async fn replies_over_max_buffered_are_overloaded_and_the_next_ones_are_not() {
    for http in PROTOCOLS {
        let upstream = Upstream::start();
        let config = upstream.section("work", "/fault/size/30000")
            + &format!("http = \"{http}\"\n")
            + &route("/two", "all", "work", "calls = 2")
            + &route("/four", "all", "work", "calls = 4")
            + &route("/some", "available", "work", "calls = 4");
        let sections = "[rate_limit]\nenabled = false";
        let service = Service::with("max_buffered = \"70000B\"", sections, &config).await;
        for _ in 0..5 {
            is_overloaded(&service.get("/four").await);
            let some = service.get("/some").await;
            assert_eq!(some.status, 200);
            assert!(some.header("gather").contains("failed=2"), "{some:?}");
            let two = service.get("/two").await;
            assert_eq!((two.status, two.body.len()), (200, 60_003), "http={http}");
        }
    }
}

#[tokio::test]
async fn a_reply_that_will_not_fit_is_refused_at_its_head() {
    for http in PROTOCOLS {
        let body = format!("\"{}\"", "x".repeat(100_000));
        let upstream = Upstream::with(&body, Duration::ZERO);
        // Half of it comes, which would fit.
        let config = upstream.section("work", "/fault/hang/body")
            + &format!("http = \"{http}\"\n")
            + &route("/one", "all", "work", "calls = 1");
        let sections = "[rate_limit]\nenabled = false";
        let service = Service::with("max_buffered = \"64KiB\"", sections, &config).await;
        is_overloaded(&soon(service.get("/one")).await);
    }
}
