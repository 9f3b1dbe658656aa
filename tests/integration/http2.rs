//! HTTP/2 upstreams: as many connections as their stream limit makes necessary, and no more.

use std::time::Duration;

use crate::harness::{Service, Upstream, route, until};
use crate::raw_upstreams::{Identity, Raw, get_all};

#[tokio::test]
async fn three_hundred_gathers_at_once_use_about_as_many_connections_as_streams_make_necessary() {
    let upstream = Upstream::with("1", Duration::from_millis(150));
    let config = upstream.section("work", "/")
        + "http = \"2\"\nmax_calls = 1000\nconnect_timeout = \"20s\"\n"
        + &route("/two", "all", "work", "calls = 2");
    let service = Service::start(&config).await;
    for burst in ["cold", "warm"] {
        let urls = vec![service.url("/two"); 300];
        for answer in get_all(urls, 300).await {
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (200, "[1,1]"),
                "{burst}"
            );
        }
        // 100 streams a connection; gathers that end early make room for later ones.
        let connections = upstream.counters.connections();
        assert!((1..=6).contains(&connections), "{connections} when {burst}");
    }
    until(|| upstream.counters.requests_open() == 0).await;
    assert_eq!(upstream.counters.requests(), 2 * 600);
}

#[tokio::test]
async fn a_cold_burst_over_tls_finds_out_the_protocol_once() {
    let upstream = Upstream::with("1", Duration::from_millis(100));
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::of("localhost", |_| {});
    let server = Raw::tls(&identity, &["h2", "http/1.1"], upstream.addr).await;
    let config = format!(
        "[upstreams.work]\nurl = \"https://localhost:{}/\"\nconnect_timeout = \"20s\"\n{}",
        server.addr.port(),
        identity.ca_in(directory.path())
    ) + &route("/two", "all", "work", "calls = 2");
    let service = Service::start(&config).await;
    for answer in get_all(vec![service.url("/two"); 50], 50).await {
        assert_eq!((answer.status, answer.body.as_str()), (200, "[1,1]"));
    }
    // One that finds out the protocol, one for a hundred calls.
    let connections = server.accepted();
    assert!(connections <= 3, "{connections} connections");
    assert_eq!(upstream.counters.requests(), 100);
}

#[tokio::test]
async fn losers_over_http2_reset_no_streams_and_fail_no_request() {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/fault/delay/0ms..20ms")
        + "http = \"2\"\n"
        + &route("/race", "first", "work", "calls = 3");
    let service = Service::start(&config).await;
    for answer in get_all(vec![service.url("/race"); 400], 20).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    until(|| upstream.counters.requests_open() == 0).await;
    assert_eq!(upstream.counters.requests(), 1200);
    assert_eq!(upstream.counters.connections(), 1);
}

#[tokio::test]
async fn an_http2_connection_that_hangs_is_replaced() {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/")
        + "http = \"2\"\nlinger = \"0s\"\n"
        + &route("/good", "all", "work", "calls = 2")
        + "[[routes]]\npath = \"/hang\"\npolicy = \"all\"\n\
           branches = [{ name = \"a\", upstream = \"work\", target = \"/fault/hang/start\" }]\n";
    let service = Service::start(&config).await;
    assert_eq!(service.get("/good").await.status, 200);
    for _ in 0..6 {
        assert_eq!(service.get("/hang?timeout=30").await.status, 500);
    }
    assert_eq!(service.get("/good").await.status, 200);
    assert_eq!(upstream.counters.connections(), 2);
}

#[tokio::test]
async fn an_upstream_that_allows_fewer_streams_at_once_fails_no_call() {
    let server = few_streams::start().await;
    let config = format!(
        "[upstreams.work]\nurl = \"http://{}/\"\nhttp = \"2\"\n",
        server.addr
    ) + "connect_timeout = \"20s\"\n"
        + &route("/two", "all", "work", "calls = 2");
    let service = Service::start(&config).await;
    for burst in ["cold", "warm"] {
        for answer in get_all(vec![service.url("/two"); 60], 60).await {
            assert_eq!(answer.status, 200, "{burst} {answer:?}");
        }
    }
}

/// A server that allows ten streams on a connection.
mod few_streams {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::server::conn::http2::Builder;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use crate::raw_upstreams::Raw;

    pub(super) async fn start() -> Raw {
        Raw::serve(|stream, _| async move {
            let service = service_fn(|_| async {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                let body = Full::new(Bytes::from_static(b"1"));
                Ok::<_, std::convert::Infallible>(http::Response::new(body))
            });
            let _ = Builder::new(TokioExecutor::new())
                .max_concurrent_streams(10)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        })
        .await
    }
}
