use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use super::*;

/// A mock that runs, and what stops it.
async fn start(body: &str) -> (SocketAddr, Arc<Counters>, oneshot::Sender<()>) {
    let mock = bind(&MockSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        body: body.into(),
        delay: (Duration::ZERO..=Duration::ZERO).into(),
        failure_rate: 0.0,
    })
    .unwrap();
    let (stop, stopped) = oneshot::channel();
    let (address, counters) = (mock.local_addr(), mock.counters());
    tokio::spawn(mock.run_until(async move {
        let _ = stopped.await;
    }));
    (address, counters, stop)
}

/// Everything that comes for these bytes until the connection ends.
async fn all(address: SocketAddr, request: &str) -> (String, io::Result<usize>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got).await;
    (String::from_utf8_lossy(&got).into_owned(), end)
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn client(http2: bool) -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    if http2 {
        builder.http2_prior_knowledge()
    } else {
        builder
    }
    .build()
    .unwrap()
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_counters_see_them() {
    let (address, counters, stop) = start("{\"a\":1}").await;
    let two = "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET /x HTTP/1.1\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    let (text, end) = all(address, &format!("{two}{last}")).await;
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{text}");
    assert!(end.is_ok());
    until(|| counters.connections_open() == 0).await;
    assert_eq!((counters.connections(), counters.requests()), (1, 3));
    assert_eq!(counters.requests_open(), 0);
    drop(stop);
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_on_the_same_port() {
    let (address, counters, _stop) = start("[1]").await;
    for http2 in [false, true] {
        let reply = client(http2)
            .get(format!("http://{address}/"))
            .send()
            .await
            .unwrap();
        assert_eq!(reply.version() == http::Version::HTTP_2, http2);
        assert_eq!(reply.text().await.unwrap(), "[1]");
    }
    assert_eq!(counters.requests(), 2);
    until(|| counters.requests_open() == 0).await;
}

#[tokio::test]
async fn faults_of_both_protocols_fail_in_both() {
    let (address, counters, _stop) = start("{\"time\":250}").await;
    for http2 in [false, true] {
        for fault in [
            "reset/start",
            "reset/body",
            "close/body",
            "close/end",
            "length/shorter",
        ] {
            let reply = client(http2)
                .get(format!("http://{address}/fault/{fault}"))
                .send()
                .await;
            let failed = match reply {
                Ok(reply) => reply.bytes().await.is_err() || fault == "length/shorter",
                Err(_) => true,
            };
            assert!(failed, "{fault} http2={http2}");
        }
    }
    until(|| counters.requests_open() == 0).await;
}

#[tokio::test]
async fn a_hang_lasts_until_the_client_has_gone() {
    let (address, counters, _stop) = start("{\"time\":250}").await;
    for http2 in [false, true] {
        for place in ["start", "body", "end"] {
            let client = client(http2);
            let url = format!("http://{address}/fault/hang/{place}");
            let call = tokio::spawn(async move { client.get(url).send().await?.bytes().await });
            until(|| counters.requests_open() == 1).await;
            assert!(!call.is_finished());
            call.abort();
            until(|| counters.requests_open() == 0).await;
        }
    }
}

#[tokio::test]
async fn an_endless_answer_ends_with_the_client() {
    let (address, counters, _stop) = start("{}").await;
    for fault in ["endless/head", "endless/1xx", "endless/body", "size/1TiB"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /fault/{fault} HTTP/1.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 100_000];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(counters.requests_open(), 1);
        drop(stream);
        until(|| counters.requests_open() == 0).await;
    }
}

#[tokio::test]
async fn a_reset_is_seen_as_one_and_a_close_is_not() {
    let (address, _, _stop) = start("{\"time\":250}").await;
    for place in ["start", "head", "body", "end"] {
        let (_, end) = all(
            address,
            &format!("GET /fault/reset/{place} HTTP/1.1\r\n\r\n"),
        )
        .await;
        assert_eq!(
            end.unwrap_err().kind(),
            io::ErrorKind::ConnectionReset,
            "{place}"
        );
        let (_, end) = all(
            address,
            &format!("GET /fault/close/{place} HTTP/1.1\r\n\r\n"),
        )
        .await;
        assert!(end.is_ok(), "{place}");
    }
}

#[tokio::test]
async fn a_stale_connection_gives_no_byte_for_the_next_request() {
    let (address, counters, _stop) = start("{}").await;
    let get = "GET /fault/stale/2 HTTP/1.1\r\n\r\n";
    let (text, _) = all(address, &get.repeat(3)).await;
    assert_eq!(text.matches("200 OK").count(), 2);
    assert_eq!(counters.requests(), 3);
    let (text, _) = all(address, &get.replace("stale", "leave").repeat(2)).await;
    assert_eq!(text.matches("200 OK").count(), 2);
    let (text, _) = all(address, &get.replace("stale/2", "bye")).await;
    assert!(text.contains("connection: close\r\n"), "{text}");
}

#[tokio::test]
async fn what_is_not_a_request_is_refused() {
    let (address, _, _stop) = start("{}").await;
    let (text, _) = all(address, "\u{16}\u{3}\u{1} hello\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    let (text, _) = all(
        address,
        &format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(70_000)),
    )
    .await;
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 431 "),
        "{text}"
    );
}

#[tokio::test]
async fn stopping_cuts_every_connection() {
    let (address, counters, stop) = start("{}").await;
    let hanging =
        tokio::spawn(async move { all(address, "GET /fault/hang/start HTTP/1.1\r\n\r\n").await });
    until(|| counters.requests_open() == 1).await;
    drop(stop);
    hanging.await.unwrap().1.ok();
    assert_eq!(
        (counters.requests_open(), counters.connections_open()),
        (0, 0)
    );
    assert!(TcpStream::connect(address).await.is_err());
}
