//! Connections that are kept: for how long, and what comes of it when they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::harness::{Service, Upstream, route, until};
use crate::raw_upstreams::{PROTOCOLS, Raw};

fn config(upstream: &Upstream, http: &str, more: &str) -> String {
    upstream.section("work", "/")
        + &format!("http = \"{http}\"\n{more}\n")
        + &route("/two", "all", "work", "calls = 2")
}

#[tokio::test]
async fn a_connection_is_closed_when_its_idle_time_is_over() {
    for http in PROTOCOLS {
        let upstream = Upstream::start();
        let service = Service::start(&config(&upstream, http, "idle_timeout = \"1s\"")).await;
        assert_eq!(service.get("/two").await.status, 200);
        assert!(upstream.counters.connections_open() > 0, "they are kept");
        until(|| upstream.counters.connections_open() == 0).await;
        assert_eq!(service.get("/two").await.status, 200);
    }
}

#[tokio::test]
async fn a_connection_is_not_used_beyond_its_age_and_its_calls_are_not_cut() {
    for http in PROTOCOLS {
        let upstream = Upstream::start();
        let slow = "[[routes]]\npath = \"/slow\"\npolicy = \"all\"\nbranches = [\
            { name = \"a\", upstream = \"work\", target = \"/fault/delay/1500ms\" }]\n";
        let config = config(&upstream, http, "max_connection_age = \"1s\"") + slow;
        let service = Service::start(&config).await;
        assert_eq!(service.get("/two").await.status, 200);
        let before = upstream.counters.connections();
        // A call that is older than its connection may become.
        assert_eq!(service.get("/slow").await.status, 200);
        assert_eq!(upstream.counters.connections(), before);
        assert_eq!(service.get("/two").await.status, 200);
        let after = upstream.counters.connections();
        assert!(after > before, "{after} connections, http={http}");
        // The old ones are closed long before their idle time is over.
        until(|| upstream.counters.connections_open() <= after - before).await;
    }
}

/// An HTTP/2 server whose connections end at the request after their `good` first ones; counts
/// requests.
async fn server_of_ending_connections(good: usize) -> (Raw, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let server = Raw::serve(move |stream, _| {
        let count = count.clone();
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                return;
            };
            let mut served = 0;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                if served >= good {
                    return;
                }
                served += 1;
                let head = http::Response::new(());
                if let Ok(mut body) = respond.send_response(head, false) {
                    let _ = body.send_data(Bytes::from_static(b"1"), true);
                }
            }
        }
    })
    .await;
    (server, seen)
}

#[tokio::test]
async fn an_http2_connection_that_ends_is_replaced_and_its_call_made_again_once() {
    for (good, status, calls) in [(1, 200, 1 + 2), (0, 500, 1 + 1)] {
        let (server, seen) = server_of_ending_connections(good).await;
        let config = format!(
            "[upstreams.work]\nurl = \"http://{}/\"\nhttp = \"2\"\n",
            server.addr
        ) + &route("/one", "all", "work", "calls = 1");
        let service = Service::start(&config).await;
        let first = service.get("/one").await;
        assert_eq!(first.status, status, "{first:?}");
        let second = service.get("/one").await;
        assert_eq!(second.status, status, "{second:?}");
        assert_eq!(seen.load(Ordering::SeqCst), calls);
        if status == 500 {
            assert_eq!(second.kinds(), ["reset"]);
        }
    }
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_used_again_at_once() {
    for http in PROTOCOLS {
        let upstream = Upstream::start();
        let addr = upstream.addr;
        let service = Service::start(&config(&upstream, http, "")).await;
        assert_eq!(service.get("/two").await.status, 200);
        let counters = upstream.counters.clone();
        drop(upstream);
        until(|| counters.connections_open() == 0).await;
        let refused = service.get("/two").await;
        assert_eq!(refused.kinds(), ["connect"], "http={http} {refused:?}");
        let again = tokio::net::TcpListener::bind(addr).await;
        let again = again.expect("the port is still free");
        let server = tokio::spawn(async move { again.accept().await.map(|_| ()) });
        let _ = service.get("/two?timeout=200").await;
        until(|| server.is_finished()).await;
    }
}
