//! One retry, for a kept connection that had died, and for nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Service, Upstream, route};
use crate::raw_upstreams::{PROTOCOLS, Raw, reply, request_head};

/// A server that answers the first `good` requests of all, and ends the connection at every later
/// one; counts requests.
async fn server_that_stops_answering(good: usize) -> (Raw, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let server = Raw::serve(move |mut stream, _| {
        let count = count.clone();
        async move {
            while request_head(&mut stream).await.is_some() {
                if count.fetch_add(1, Ordering::SeqCst) >= good {
                    return;
                }
                reply(&mut stream, "1").await;
            }
        }
    })
    .await;
    (server, seen)
}

fn config(addr: std::net::SocketAddr, path: &str, calls: usize) -> String {
    format!("[upstreams.work]\nurl = \"http://{addr}{path}\"\n")
        + &route("/work", "all", "work", &format!("calls = {calls}"))
}

#[tokio::test]
async fn a_stale_connection_is_retried_on_a_new_one() {
    let upstream = Upstream::start();
    let service = Service::start(&config(upstream.addr, "/fault/stale/1", 1)).await;
    for _ in 0..10 {
        assert_eq!(service.get("/work").await.status, 200);
    }
    // All but the first met a kept connection, which was cut.
    assert_eq!(upstream.counters.requests(), 10 + 9);
}

#[tokio::test]
async fn a_connection_that_an_upstream_leaves_is_no_failure() {
    let upstream = Upstream::start();
    let service = Service::start(&config(upstream.addr, "/fault/leave/2", 2)).await;
    for round in 0..20 {
        let answer = service.get("/work").await;
        assert_eq!(answer.status, 200, "{round}: {answer:?}");
    }
}

#[tokio::test]
async fn a_retry_does_not_meet_another_stale_connection() {
    let upstream = Upstream::start();
    let stale = config(upstream.addr, "/fault/stale/1", 8);
    let one = route("/one", "all", "work", "calls = 1");
    let service = Service::start(&(stale + &one)).await;
    // Eight kept connections, all of them stale.
    assert_eq!(service.get("/work").await.status, 200);
    for _ in 0..4 {
        let answer = service.get("/one").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_always_resets_sees_two_calls_a_branch() {
    let (server, seen) = server_that_stops_answering(2).await;
    let any = route("/any", "first_success", "work", "calls = 2");
    let service = Service::start(&(config(server.addr, "/", 2) + &any)).await;
    assert_eq!(service.get("/work").await.status, 200);
    assert_eq!(server.accepted(), 2);
    let answer = service.get("/any").await;
    assert_eq!(answer.kinds(), ["reset", "reset"], "{answer:?}");
    assert_eq!(seen.load(Ordering::SeqCst), 2 + 2 * 2);
}

#[tokio::test]
async fn a_new_connection_that_is_reset_is_not_retried() {
    let (server, seen) = server_that_stops_answering(0).await;
    let service = Service::start(&config(server.addr, "/", 1)).await;
    for calls in 1..=3 {
        let answer = service.get("/work").await;
        assert_eq!(answer.kinds(), ["reset"]);
        assert_eq!(seen.load(Ordering::SeqCst), calls);
    }
}

#[tokio::test]
async fn nothing_else_is_retried_even_on_a_connection_that_had_served() {
    for http in PROTOCOLS {
        let faults: &[&str] = &[
            "status/500",
            "reset/body",
            "close/body",
            "json/bad",
            "hang/start",
            "length/shorter",
        ];
        let only_http1: &[&str] = &["garbage", "chunks"];
        let only_http2: &[&str] = &["reset/start"];
        let more = if http == "1" { only_http1 } else { only_http2 };
        for fault in faults.iter().chain(more) {
            let upstream = Upstream::start();
            let config = upstream.section("lab", "/")
                + &format!("http = \"{http}\"\n")
                + &format!(
                    "[[routes]]\npath = \"/good\"\npolicy = \"all\"\nupstream = \"lab\"\ncalls = 1\n\
                     [[routes]]\npath = \"/bad\"\npolicy = \"all\"\n\
                     branches = [{{ name = \"a\", upstream = \"lab\", target = \"/fault/{fault}\" }}]\n"
                );
            let service = Service::start(&config).await;
            assert_eq!(service.get("/good").await.status, 200);
            assert_eq!(service.get("/bad?timeout=200").await.status, 500, "{fault}");
            let counters = &upstream.counters;
            assert_eq!(counters.requests(), 2, "{fault} http={http}");
            assert_eq!(counters.connections(), 1, "{fault} http={http}");
        }
    }
}
