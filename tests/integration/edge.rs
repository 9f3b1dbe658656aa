//! What stands between the open internet and the routes: who is let in, and how long for.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::edge_client::{connect, is_closed, request, tls, tls_over};
use crate::harness::{Service, Upstream, route, soon};

/// A service with one route, these keys in `[server]` and these sections.
async fn service(server: &str, sections: &str) -> (Service, Upstream) {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/") + &route("/one", "all", "work", "calls = 1");
    let service = Service::with(server, sections, &config).await;
    (service, upstream)
}

const UNLIMITED: &str = "[rate_limit]\nenabled = false\n";

/// Whether a request on a new connection is answered.
async fn is_served(service: &Service) -> bool {
    match tls(service, "http/1.1").await {
        Some(mut stream) => request(&mut stream, "/one").await.is_some(),
        None => false,
    }
}

#[tokio::test]
async fn a_denied_address_is_closed_before_tls_and_an_allow_list_denies_all_others() {
    for (access, served) in [
        ("deny = [\"127.0.0.1\"]", false),
        ("allow = [\"10.0.0.0/8\"]", false),
        ("allow = [\"127.0.0.0/8\"]", true),
        (
            "allow = [\"127.0.0.0/8\"]\ndeny = [\"127.0.0.1/32\"]",
            false,
        ),
    ] {
        let (service, _upstream) = service("", &format!("{UNLIMITED}[access]\n{access}\n")).await;
        assert_eq!(is_served(&service).await, served, "{access}");
    }
}

#[tokio::test]
async fn a_client_has_as_many_connections_as_it_may_and_no_more() {
    let (service, _upstream) = service("max_connections_per_client = 3", UNLIMITED).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = tls(&service, "http/1.1").await.unwrap();
        assert!(request(&mut stream, "/one").await.is_some());
        open.push(stream);
    }
    assert!(tls(&service, "http/1.1").await.is_none());
    drop(open.pop());
    // The server sees the end of the dropped one at its own time.
    soon(async { while !is_served(&service).await {} }).await;
    for stream in &mut open {
        assert!(
            request(stream, "/one").await.is_some(),
            "the others are left alone"
        );
    }
}

#[tokio::test]
async fn a_full_service_closes_the_longest_idle_connection_for_a_new_one() {
    let (service, _upstream) = service("max_connections = 3", UNLIMITED).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = tls(&service, "http/1.1").await.unwrap();
        assert!(request(&mut stream, "/one").await.is_some());
        open.push(stream);
    }
    // The first is used again, so that the second has been idle for longest.
    assert!(request(&mut open[0], "/one").await.is_some());
    assert!(is_served(&service).await);
    assert!(is_closed(&mut open[1]).await);
    assert!(request(&mut open[0], "/one").await.is_some());
    assert!(request(&mut open[2], "/one").await.is_some());
}

#[tokio::test]
async fn a_full_service_without_idle_connections_closes_the_new_one() {
    let upstream = Upstream::start();
    let config =
        upstream.section("work", "/fault/hang/start") + &route("/hang", "all", "work", "calls = 1");
    let service = Service::with("max_connections = 2", UNLIMITED, &config).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = tls(&service, "http/1.1").await.unwrap();
        stream
            .write_all(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        busy.push(stream);
    }
    crate::harness::until(|| upstream.counters.requests_open() == 2).await;
    assert!(tls(&service, "http/1.1").await.is_none());
}

#[tokio::test]
async fn a_peer_opens_as_many_connections_at_once_as_its_burst() {
    let limit = "[rate_limit]\nconnections_per_second = 0.01\nconnection_burst = 4\nburst = 1000\n";
    let (limited, _upstream) = service("", limit).await;
    let mut served = 0;
    for _ in 0..10 {
        served += usize::from(is_served(&limited).await);
    }
    assert_eq!(served, 4);
    let (exempt, _upstream) = service("", &format!("{limit}exempt = [\"127.0.0.0/8\"]\n")).await;
    for _ in 0..10 {
        assert!(is_served(&exempt).await);
    }
}

#[tokio::test]
async fn whoever_stalls_is_closed_by_the_limit_that_names_it() {
    let limits = "handshake_timeout = \"300ms\"\nheader_timeout = \"300ms\"\n\
                  idle_timeout = \"600ms\"\nwrite_timeout = \"300ms\"\n";
    let (service, _upstream) = service(limits, UNLIMITED).await;
    let mut silent = connect(&service).await;
    assert!(is_closed(&mut silent).await, "silent before TLS");
    let mut half = connect(&service).await;
    half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00])
        .await
        .unwrap();
    assert!(is_closed(&mut half).await, "half a hello");
    for protocol in ["http/1.1", "h2"] {
        let mut fresh = tls(&service, protocol).await.unwrap();
        assert!(is_closed(&mut fresh).await, "silent after TLS, {protocol}");
    }
    let mut preface = tls(&service, "h2").await.unwrap();
    preface.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    assert!(is_closed(&mut preface).await, "half a preface");
    let mut slow = tls(&service, "http/1.1").await.unwrap();
    slow.write_all(b"GET /one HTTP/1.1\r\nhost:").await.unwrap();
    assert!(is_closed(&mut slow).await, "half a first head");
    let mut kept = tls(&service, "http/1.1").await.unwrap();
    assert!(request(&mut kept, "/one").await.is_some());
    assert!(is_closed(&mut kept).await, "idle");
    let mut second = tls(&service, "http/1.1").await.unwrap();
    assert!(request(&mut second, "/one").await.is_some());
    second
        .write_all(b"GET /one HTTP/1.1\r\nhost:")
        .await
        .unwrap();
    assert!(is_closed(&mut second).await, "half a second head");
}

#[tokio::test]
async fn pings_keep_no_idle_http2_connection() {
    let (service, _upstream) = service("header_timeout = \"500ms\"", UNLIMITED).await;
    let mut stream = tls(&service, "h2").await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let closed = async {
        let mut rest = Vec::new();
        let _ = read.read_to_end(&mut rest).await;
    };
    let pings = async {
        let mut interval = tokio::time::interval(Duration::from_millis(50));
        while write
            .write_all(b"\0\0\x08\x06\0\0\0\0\0pingpong")
            .await
            .is_ok()
        {
            interval.tick().await;
        }
    };
    soon(async {
        tokio::select! { () = closed => {}, () = pings => {} }
    })
    .await;
}

#[tokio::test]
async fn a_body_is_never_waited_for_nor_taken_for_a_request() {
    let (service, upstream) = service("", UNLIMITED).await;
    for (head, status) in [
        (
            "GET /one HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n",
            "200",
        ),
        (
            "POST /one HTTP/1.1\r\nhost: x\r\ncontent-length: 44\r\n\r\nGET /one HTTP/1.1\r\nhost: x\r\n\r\n",
            "405",
        ),
        (
            "GET /one HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /one HTTP/1.1\r\nhost: x\r\n\r\n",
            "400",
        ),
        (
            "GET /one HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "GET /one HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "GET /one HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
            "400",
        ),
        (
            "GET /one HTTP/1.1\r\nhost: x\r\ncontent-length: +3\r\n\r\nabc",
            "400",
        ),
        ("GET /one HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n", "400"),
        ("GET /one HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n", "400"),
        ("CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n", "405"),
    ] {
        let mut stream = tls(&service, "http/1.1").await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        let _ = soon(stream.read_to_end(&mut answers)).await;
        let answers = String::from_utf8_lossy(&answers);
        assert!(
            answers.starts_with(&format!("HTTP/1.1 {status}")),
            "{head:?}: {answers}"
        );
        assert_eq!(
            answers.matches("HTTP/1.1 ").count(),
            1,
            "{head:?}: {answers}"
        );
    }
    assert_eq!(upstream.counters.requests(), 1);
}

#[tokio::test]
async fn a_proxy_header_names_the_client_and_only_trusted_peers_may_send_one() {
    let limit = "[rate_limit]\nburst = 1\nrequests_per_second = 0.01\n";
    let trusting = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let (trusted, _upstream) = service(trusting, limit).await;
    let ask = async |header: &str| {
        let mut stream: TcpStream = connect(&trusted).await;
        stream.write_all(header.as_bytes()).await.unwrap();
        let mut stream = tls_over(&trusted, stream, "http/1.1").await?;
        request(&mut stream, "/one").await
    };
    let one = "PROXY TCP4 192.0.2.1 192.0.2.9 1 443\r\n";
    assert_eq!(ask(one).await.as_deref(), Some("200"));
    assert_eq!(ask(one).await.as_deref(), Some("429"));
    assert_eq!(
        ask("PROXY TCP4 192.0.2.2 192.0.2.9 1 443\r\n")
            .await
            .as_deref(),
        Some("200")
    );
    assert_eq!(ask("PROXY UNKNOWN\r\n").await.as_deref(), Some("200"));
    assert_eq!(ask("").await, None, "no header");
    let mut silent = connect(&trusted).await;
    assert!(is_closed(&mut silent).await, "silent before the header");
    let stranger = "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]\n";
    let (untrusting, _upstream) = service(stranger, limit).await;
    let mut stream = connect(&untrusting).await;
    stream.write_all(one.as_bytes()).await.unwrap();
    assert!(tls_over(&untrusting, stream, "http/1.1").await.is_none());
}
