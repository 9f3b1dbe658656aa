//! What becomes of the calls of a gather that is over, and of clients that leave.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::harness::{Service, Upstream, client_builder, route, soon, until};
use crate::raw_upstreams::PROTOCOLS;

/// A `first` route whose second branch always loses.
const RACE: &str = "[[routes]]\npath = \"/race\"\npolicy = \"first\"\nbranches = [\
    { name = \"fast\", upstream = \"lab\", target = \"/\" }, \
    { name = \"slow\", upstream = \"lab\", target = \"/fault/delay/15ms\" }]\n";

async fn connections_of_a_race(http: &str, linger: &str) -> u64 {
    let upstream = Upstream::start();
    let config =
        upstream.section("lab", "/") + &format!("http = \"{http}\"\nlinger = \"{linger}\"\n");
    let service = Service::start(&(config + RACE)).await;
    for _ in 0..50 {
        assert_eq!(service.get("/race").await.status, 200);
    }
    until(|| upstream.counters.requests_open() == 0).await;
    assert_eq!(upstream.counters.requests(), 100);
    upstream.counters.connections()
}

#[tokio::test]
async fn losers_are_read_to_their_end_so_that_their_connections_are_used_again() {
    // A loser may still linger when the next ones start; fifty must not.
    let kept = connections_of_a_race("1", "2s").await;
    assert!(kept <= 25, "{kept} connections over HTTP/1.1");
    assert_eq!(connections_of_a_race("2", "2s").await, 1);
    // What the above would be without.
    let dropped = connections_of_a_race("1", "0s").await;
    assert!(dropped > 40, "{dropped} connections without linger");
}

#[tokio::test]
async fn linger_is_bounded() {
    for http in PROTOCOLS {
        let upstream = Upstream::start();
        let config = upstream.section("lab", "/fault/hang/body")
            + &format!("http = \"{http}\"\nlinger = \"1s\"\n")
            + &route("/hang", "first", "lab", "calls = 3");
        let service = Service::start(&config).await;
        let answer = service.get("/hang?timeout=100").await;
        assert_eq!(answer.problem(), "deadline-exceeded");
        assert_eq!(upstream.counters.requests_open(), 3, "they linger");
        until(|| upstream.counters.requests_open() == 0).await;
    }
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    AtItsDeadline,
    ClosingItsConnection,
    ResettingItsStream,
}

/// Sends requests that leave; comes back when all have left.
async fn leave(service: &Service, how: Leaving, clients: usize, reached: impl Fn() -> bool) {
    let shared = client_builder().build().expect("a client");
    let mut leaving = JoinSet::new();
    for _ in 0..clients {
        let client = match how {
            Leaving::ClosingItsConnection => {
                client_builder().http1_only().build().expect("a client")
            }
            _ => shared.clone(),
        };
        let limit = match how {
            Leaving::AtItsDeadline => "?timeout=300",
            _ => "",
        };
        let url = service.url(&format!("/slow{limit}"));
        leaving.spawn(async move {
            let _ = client.get(url).send().await;
        });
    }
    until(reached).await;
    match how {
        Leaving::AtItsDeadline => while leaving.join_next().await.is_some() {},
        _ => leaving.shutdown().await,
    }
}

async fn leavers_are_held_to_max_calls(http: &str, how: Leaving) {
    let upstream = Upstream::start();
    let counters = upstream.counters.clone();
    let config = upstream.section("lab", "/fault/delay/1500ms")
        + &format!("http = \"{http}\"\nmax_calls = 4\nmax_wait = \"10s\"\nlinger = \"20s\"\n")
        + &route("/slow", "first_success", "lab", "calls = 2")
        + &route("/one", "all", "lab", "calls = 1");
    let service = Service::start(&config).await;
    let case = format!("{how:?} http={http}");
    leave(&service, how, 12, || counters.requests_open() == 4).await;
    // They have left, but their calls run on, and whoever waited for a permit has ended.
    assert_eq!(counters.requests_open(), 4, "{case}");
    let late = service.get("/one?timeout=100").await;
    assert_eq!(late.problem(), "deadline-exceeded", "{case}");
    until(|| counters.requests_open() == 0).await;
    assert_eq!(service.get("/one").await.status, 200, "{case}");
    assert_eq!(counters.most_requests_open(), 4, "{case}");
    assert_eq!(counters.requests(), 4 + 1, "{case}: who waited has ended");
}

#[tokio::test]
async fn clients_that_leave_early_make_no_more_calls_run_at_once_than_those_who_wait() {
    let cases = PROTOCOLS.into_iter().flat_map(|http| {
        [
            Leaving::AtItsDeadline,
            Leaving::ClosingItsConnection,
            Leaving::ResettingItsStream,
        ]
        .map(|how| leavers_are_held_to_max_calls(http, how))
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_service_that_stops_does_not_wait_for_what_lingers() {
    let upstream = Upstream::start();
    let config = upstream.section("lab", "/fault/hang/start")
        + "linger = \"1m\"\n"
        + &route("/hang", "all", "lab", "calls = 2");
    let service = Service::start(&config).await;
    let answer = service.get("/hang?timeout=100").await;
    assert_eq!(answer.problem(), "deadline-exceeded");
    assert_eq!(upstream.counters.requests_open(), 2, "they linger");
    service.stop();
    service.ended().await;
}

#[tokio::test]
async fn a_branch_that_waits_for_a_permit_ends_with_its_gather() {
    let upstream = Upstream::start();
    let config = upstream.section("lab", "/")
        + "max_calls = 1\nmax_wait = \"30s\"\nlinger = \"2s\"\n"
        + &route("/wait", "all", "lab", "calls = 1")
        + "[[routes]]\npath = \"/hold\"\npolicy = \"all\"\n\
           branches = [{ name = \"a\", upstream = \"lab\", target = \"/fault/hang/start\" }]\n";
    let service = Service::start(&config).await;
    let waiting = async {
        until(|| upstream.counters.requests_open() == 1).await;
        join_all((0..20).map(|_| service.get("/wait?timeout=100"))).await
    };
    let (holding, waiting) = tokio::join!(service.get("/hold?timeout=300"), waiting);
    let ended = waiting.iter().chain([&holding]);
    ended.for_each(|answer| assert_eq!(answer.problem(), "deadline-exceeded"));
    until(|| upstream.counters.requests_open() == 0).await;
    // The permit is free: nobody of those who have ended may take it.
    assert_eq!(service.get("/wait").await.status, 200);
    assert_eq!(upstream.counters.requests(), 2);
}

#[tokio::test]
async fn the_gather_of_a_client_that_left_gives_its_buffers_back() {
    let upstream = Upstream::with(&format!("{:?}", "x".repeat(30_000)), Duration::ZERO);
    let config = upstream.section("lab", "/")
        + "[[routes]]\npath = \"/half\"\npolicy = \"all\"\nbranches = [\
           { name = \"a\", upstream = \"lab\", target = \"/\" }, \
           { name = \"b\", upstream = \"lab\", target = \"/fault/hang/body\" }]\n"
        + &route("/good", "all", "lab", "calls = 2");
    let sections = "[rate_limit]\nenabled = false";
    let service = Service::with("max_buffered = \"70000B\"", sections, &config).await;
    for http1 in [true, false].repeat(3) {
        let client = if http1 {
            client_builder().http1_only()
        } else {
            client_builder()
        };
        let call = client.build().unwrap().get(service.url("/half")).send();
        let seen = upstream.counters.requests();
        let call = tokio::spawn(call);
        until(|| upstream.counters.requests() == seen + 2).await;
        call.abort();
        let _ = call.await;
        // Its bytes are held until the service has seen it leave, no longer.
        soon(async { while service.get("/good").await.status != 200 {} }).await;
    }
}
