//! `[upstreams.NAME.breaker]`: when calls stop, and how they begin again.

use std::time::Duration;

use crate::harness::{Answer, Service, Upstream, until};

/// A route that calls the upstream once, at `target`.
fn once(path: &str, target: &str) -> String {
    format!(
        "[[routes]]\npath = \"{path}\"\npolicy = \"all\"\n\
         branches = [{{ name = \"one\", upstream = \"work\", target = \"{target}\" }}]\n"
    )
}

async fn service(upstream: &Upstream, breaker: &str) -> Service {
    let config = upstream.section("work", "/")
        + &format!("[upstreams.work.breaker]\n{breaker}\n")
        + &once("/good", "/")
        + &once("/bad", "/fault/status/503")
        + &once("/missing", "/fault/status/404")
        + &once("/slow", "/fault/delay/100ms");
    Service::start(&config).await
}

fn is_stopped(answer: &Answer) {
    let seen = (answer.status, answer.problem());
    assert_eq!(seen, (503, "gather-failed".to_owned()), "{answer:?}");
    assert_eq!(answer.kinds(), ["breaker"], "{answer:?}");
    let retry_after: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!(retry_after >= 1, "{answer:?}");
}

#[tokio::test]
async fn an_upstream_that_fails_is_not_called_until_one_call_succeeds() {
    let upstream = Upstream::start();
    let service = service(&upstream, "min_calls = 4\nopen_for = \"400ms\"").await;
    for _ in 0..4 {
        assert_eq!(service.get("/bad").await.kinds(), ["status"]);
    }
    for path in ["/bad", "/good"] {
        is_stopped(&service.get(path).await);
    }
    assert_eq!(upstream.counters.requests(), 4);
    // One call tries it, and fails.
    let mut answer = service.get("/bad").await;
    while answer.kinds() == ["breaker"] {
        answer = service.get("/bad").await;
    }
    assert_eq!(answer.kinds(), ["status"]);
    is_stopped(&service.get("/good").await);
    assert_eq!(upstream.counters.requests(), 5);
    let mut answer = service.get("/good").await;
    while answer.status != 200 {
        is_stopped(&answer);
        answer = service.get("/good").await;
    }
    assert_eq!(upstream.counters.requests(), 6);
    for _ in 0..3 {
        assert_eq!(service.get("/good").await.status, 200);
    }
}

#[tokio::test]
async fn what_a_client_asks_for_does_not_stop_the_calls_of_others() {
    let upstream = Upstream::with("1", Duration::ZERO);
    let service = service(&upstream, "min_calls = 4\nopen_for = \"1m\"").await;
    for _ in 0..8 {
        assert_eq!(service.get("/missing").await.kinds(), ["status"]);
        assert_eq!(service.get("/slow?timeout=5").await.status, 500);
    }
    until(|| upstream.counters.requests_open() == 0).await;
    assert_eq!(service.get("/good").await.status, 200);
}

#[tokio::test]
async fn a_reply_that_takes_longer_than_the_route_expects_is_a_failure() {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/fault/delay/200ms")
        + "[upstreams.work.breaker]\nmin_calls = 4\nopen_for = \"1m\"\n"
        + "[[routes]]\npath = \"/late\"\npolicy = \"all\"\nupstream = \"work\"\ncalls = 1\ntimeout = \"20ms\"\n";
    let service = Service::start(&config).await;
    for _ in 0..4 {
        assert_eq!(service.get("/late").await.kinds(), ["timeout"]);
    }
    until(|| upstream.counters.requests_open() == 0).await;
    let mut answer = service.get("/late").await;
    while answer.kinds() != ["breaker"] {
        answer = service.get("/late").await;
    }
    is_stopped(&answer);
}
