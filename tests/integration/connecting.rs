//! Upstreams that cannot be connected to: TCP, names and TLS that fail or say nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{CertificateParams, date_time_ymd};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Service, Upstream, route, until};
use crate::raw_upstreams::{Identity, Raw};

const CONNECT: &str = "connect";
const TLS: &str = "tls";

/// The section of an upstream at `url`, with one-call routes for it.
fn one_call(name: &str, url: &str, more: &str) -> String {
    format!("[upstreams.{name}]\nurl = \"{url}\"\nconnect_timeout = \"300ms\"\n{more}\n")
        + &route(&format!("/{name}"), "all", name, "calls = 2")
}

async fn kind_of(url: &str, more: &str) -> String {
    let service = Service::start(&one_call("work", url, more)).await;
    let mut last = String::new();
    // The second time, nothing that was learnt by failing may change the answer.
    for _ in 0..2 {
        let answer = service.get("/work").await;
        assert_eq!(answer.problem(), "gather-failed", "{url} {answer:?}");
        last = answer.kinds().remove(0);
    }
    last
}

/// A listener whose queue is full, so that connects are not answered, with what fills it.
pub(crate) async fn full_listener() -> (Socket, SocketAddr, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .expect("a port");
    socket.listen(0).expect("a queue");
    let addr = socket.local_addr().expect("its address");
    let addr = addr.as_socket().expect("an IP address");
    let mut filling = Vec::new();
    let limit = std::time::Duration::from_millis(300);
    while let Ok(stream) = tokio::time::timeout(limit, TcpStream::connect(addr)).await {
        filling.push(stream.expect("a place in the queue"));
        assert!(filling.len() < 10, "the queue has an end");
    }
    (socket, addr, filling)
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_a_failure_to_connect() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = closed.local_addr().unwrap();
    drop(closed);
    let (_socket, full, _filling) = full_listener().await;
    for scheme in ["http", "https"] {
        for http in ["auto", "1", "2"] {
            let more = format!("http = \"{http}\"");
            for url in [
                format!("{scheme}://{refused}/"),
                format!("{scheme}://{full}/"),
                format!("{scheme}://nonexistent.invalid/"),
            ] {
                assert_eq!(kind_of(&url, &more).await, CONNECT, "{url} http={http}");
            }
        }
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_fails_by_connect_timeout_and_does_not_wait_for_the_deadline() {
    let silent = Raw::serve(|mut stream, _| async move {
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink).await;
    })
    .await;
    for http in ["auto", "1", "2"] {
        let more = format!("http = \"{http}\"");
        let kind = kind_of(&format!("https://{}/", silent.addr), &more).await;
        assert_eq!(kind, CONNECT, "http={http}");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_tls_is_a_tls_failure() {
    let upstream = Upstream::start();
    let closing = Raw::serve(|mut stream, _| async move {
        let _ = stream.read_u8().await;
    })
    .await;
    for http in ["auto", "1", "2"] {
        let more = format!("http = \"{http}\"");
        for addr in [upstream.addr, closing.addr] {
            let kind = kind_of(&format!("https://{addr}/"), &more).await;
            assert_eq!(kind, TLS, "http={http} mock={}", addr == upstream.addr);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_good_for_the_upstream_is_a_tls_failure() {
    let upstream = Upstream::start();
    let directory = tempfile::tempdir().unwrap();
    let good = || Identity::of("localhost", |_| {});
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    let cases = [
        ("expired", Identity::of("localhost", expired), None),
        ("wrong name", Identity::of("other.test", |_| {}), None),
        ("unknown authority", good(), Some(good())),
    ];
    for (case, identity, trusted) in cases {
        let server = Raw::tls(&identity, &["h2", "http/1.1"], upstream.addr).await;
        let ca = trusted.unwrap_or(identity).ca_in(directory.path());
        for http in ["auto", "1", "2"] {
            let more = format!("{ca}http = \"{http}\"");
            let kind = kind_of(&format!("https://localhost:{}/", server.addr.port()), &more).await;
            assert_eq!(kind, TLS, "{case} http={http}");
        }
    }
    assert_eq!(upstream.counters.requests(), 0);
}

#[tokio::test]
async fn an_upstream_over_tls_is_spoken_to_in_what_it_picks() {
    let upstream = Upstream::start();
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::of("localhost", |_| {});
    for (offers, http, kind) in [
        (&["h2", "http/1.1"][..], "auto", None),
        (&["http/1.1"][..], "auto", None),
        (&[][..], "auto", None),
        (&["h2", "http/1.1"][..], "1", None),
        (&["h2"][..], "2", None),
        (&["h2"][..], "1", Some(TLS)),
        (&["http/1.1"][..], "2", Some(TLS)),
    ] {
        let server = Raw::tls(&identity, offers, upstream.addr).await;
        let url = format!("https://localhost:{}/", server.addr.port());
        let more = format!("{}http = \"{http}\"", identity.ca_in(directory.path()));
        let service = Service::start(&one_call("work", &url, &more)).await;
        let answer = service.get("/work").await;
        match kind {
            None => assert_eq!(answer.status, 200, "{offers:?} {http} {answer:?}"),
            Some(kind) => assert_eq!(answer.kinds(), [kind], "{offers:?} {http}"),
        }
    }
}

/// What one handshake found out, when nobody waited for it any more, was told to the first call
/// after it, however long ago it was.
#[tokio::test]
async fn a_handshake_that_failed_while_nobody_waited_is_forgotten() {
    let upstream = Upstream::start();
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::of("localhost", |_| {});
    let healthy = Raw::tls(&identity, &["h2", "http/1.1"], upstream.addr).await;
    let to = healthy.addr;
    let given_up = Arc::new(AtomicBool::new(false));
    let gone = given_up.clone();
    let server = Raw::serve(move |mut stream, number| {
        let gone = gone.clone();
        async move {
            if number == 0 {
                // Stalls until the client gives up.
                let _ = stream.read_to_end(&mut Vec::new()).await;
                gone.store(true, Ordering::SeqCst);
                return;
            }
            let mut inside = TcpStream::connect(to).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut inside).await;
        }
    })
    .await;
    let url = format!("https://localhost:{}/", server.addr.port());
    let more = format!("{}linger = \"0s\"", identity.ca_in(directory.path()));
    let service = Service::start(&one_call("work", &url, &more)).await;
    let answer = service.get("/work?timeout=100").await;
    assert_eq!(answer.problem(), "deadline-exceeded");
    until(|| given_up.load(Ordering::SeqCst)).await;
    let answer = service.get("/work").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_call_arrives_with_the_host_and_the_port_of_the_url() {
    let upstream = Upstream::start();
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::of("localhost", |_| {});
    let secure = Raw::tls(&identity, &["http/1.1"], upstream.addr).await;
    let ca = identity.ca_in(directory.path());
    for (scheme, host, port, more) in [
        ("http", "localhost", upstream.addr.port(), ""),
        ("http", "127.0.0.1", upstream.addr.port(), ""),
        (
            "http",
            "[::ffff:7f00:1]",
            upstream.addr.port(),
            "http = \"1\"\n",
        ),
        ("https", "localhost", secure.addr.port(), &*ca),
        (
            "https",
            "localhost",
            secure.addr.port(),
            &format!("http = \"1\"\n{ca}"),
        ),
    ] {
        let url = format!("{scheme}://{host}:{port}/fault/echo");
        let service = Service::start(&one_call("work", &url, more)).await;
        let answer = service.get("/work").await;
        assert_eq!(answer.status, 200, "{url} {more}");
        for echo in answer.json().as_array().unwrap() {
            assert_eq!(
                echo["headers"]["host"],
                format!("{host}:{port}"),
                "{url} {more}"
            );
            assert_eq!(echo["path"], "/fault/echo");
        }
    }
}
