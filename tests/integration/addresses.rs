//! Upstreams with several URLs: which of them calls go to, and what comes of one that fails.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::connecting::full_listener;
use crate::harness::{Service, Upstream, route, soon};
use crate::raw_upstreams::{Identity, PROTOCOLS, Raw, get_all, reply, request_head};

/// An upstream at these URLs, with a route of two calls.
fn config(urls: &[String], more: &str) -> String {
    format!("[upstreams.work]\nurl = {urls:?}\nconnect_timeout = \"5s\"\n{more}\n")
        + &route("/two", "all", "work", "calls = 2")
}

fn url(upstream: &Upstream) -> String {
    format!("http://{}/", upstream.addr)
}

/// An address that refuses.
async fn refusing() -> String {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("http://{}/", closed.local_addr().expect("its address"))
}

#[tokio::test]
async fn calls_are_spread_over_all_urls_and_each_has_its_own_host() {
    for http in PROTOCOLS {
        let upstreams = [Upstream::start(), Upstream::start(), Upstream::start()];
        let urls: Vec<_> = upstreams.iter().map(url).collect();
        let echo = "[[routes]]\npath = \"/echo\"\npolicy = \"all\"\nbranches = [\
            { name = \"a\", upstream = \"work\", target = \"/fault/echo\" }]\n";
        let service = Service::start(&(config(&urls, &format!("http = \"{http}\"")) + echo)).await;
        let asked = (0..60).map(|_| service.url("/two")).collect();
        for answer in get_all(asked, 10).await {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        for upstream in &upstreams {
            let requests = upstream.counters.requests();
            assert!(requests >= 15, "http={http}: {requests} of 120");
        }
        let mut hosts = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let echo = service.get("/echo").await.json();
            hosts.insert(echo[0]["headers"]["host"].to_string());
        }
        assert_eq!(hosts.len(), if http == "1" { 3 } else { hosts.len() });
    }
}

#[tokio::test]
async fn an_address_that_refuses_costs_no_call() {
    for http in PROTOCOLS {
        let upstream = Upstream::start();
        let urls = [refusing().await, url(&upstream), refusing().await];
        let service = Service::start(&config(&urls, &format!("http = \"{http}\""))).await;
        let asked = (0..40).map(|_| service.url("/two")).collect();
        for answer in get_all(asked, 8).await {
            assert_eq!(answer.status, 200, "http={http} {answer:?}");
        }
        assert_eq!(upstream.counters.requests(), 80);
    }
}

#[tokio::test]
async fn an_address_that_does_not_answer_costs_a_quarter_of_a_second_once() {
    let upstream = Upstream::start();
    let (_socket, silent, _filling) = full_listener().await;
    let urls = [format!("http://{silent}/"), url(&upstream)];
    let service = Service::start(&config(&urls, "")).await;
    let begun = Instant::now();
    for _ in 0..12 {
        assert_eq!(service.get("/two").await.status, 200);
    }
    // Both calls may meet it at first, and again when it is tried after a second; never for 5 s.
    let elapsed = begun.elapsed();
    assert!(elapsed < Duration::from_secs(4), "{elapsed:?}");
}

#[tokio::test]
async fn an_address_whose_tls_fails_is_not_the_end_of_a_call() {
    let upstream = Upstream::start();
    let directory = tempfile::tempdir().expect("a directory");
    let (good, bad) = (
        Identity::of("localhost", |_| {}),
        Identity::of("localhost", |_| {}),
    );
    let secure = Raw::tls(&good, &["h2", "http/1.1"], upstream.addr).await;
    let wrong = Raw::tls(&bad, &["h2", "http/1.1"], upstream.addr).await;
    let at = |raw: &Raw| format!("https://localhost:{}/", raw.addr.port());
    let service = Service::start(&config(
        &[at(&wrong), at(&secure)],
        &good.ca_in(directory.path()),
    ))
    .await;
    for _ in 0..10 {
        let answer = service.get("/two").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn a_second_try_goes_to_another_address() {
    // One call served, and the connection is cut at the next.
    let cutting = Raw::serve(|mut stream, _| async move {
        if request_head(&mut stream).await.is_some() {
            reply(&mut stream, "1").await;
        }
        let _ = request_head(&mut stream).await;
    })
    .await;
    let good = Upstream::start();
    let urls = [format!("http://{}/", cutting.addr), url(&good)];
    let service = Service::start(&config(&urls, "")).await;
    for round in 0..30 {
        let answer = service.get("/two").await;
        assert_eq!(answer.status, 200, "{round} {answer:?}");
    }
    assert!(cutting.accepted() > 1);
}

#[tokio::test]
async fn an_address_whose_calls_break_gets_no_more_for_a_while() {
    let breaking = Raw::serve(|mut stream, _| async move {
        let _ = request_head(&mut stream).await;
    })
    .await;
    let good = Upstream::start();
    let urls = [format!("http://{}/", breaking.addr), url(&good)];
    let one = route("/one", "all", "work", "calls = 1");
    let service = Service::start(&(config(&urls, "") + &one)).await;
    let mut failed = 0;
    for _ in 0..60 {
        let answer = soon(service.get("/one")).await;
        failed += usize::from(answer.status != 200);
    }
    // Three in a row, and one each time that it is tried again.
    assert!((3..12).contains(&failed), "{failed}");
}
