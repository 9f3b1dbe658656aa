//! What the log tells of connections that come to nothing: a line a second for each kind, no more.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::edge_client::tls_within;
use crate::harness::{Upstream, soon};
use crate::log_lines::{Logged, work};

/// Sums up the lines that contain `text` until they tell of `expected`; gives how many lines it took.
async fn told(logged: &mut Logged, text: &str, expected: u64) -> usize {
    let (mut sum, mut lines) = (0, 0);
    while sum < expected {
        let line = logged.running.line(text).await;
        let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        assert_eq!(line["client.address"], "127.0.0.1", "{line}");
        sum += line["count"].as_u64().expect("a count");
        lines += 1;
    }
    assert_eq!(sum, expected);
    lines
}

#[tokio::test]
async fn floods_of_failures_are_told_by_count() {
    const MANY: u64 = 60;
    let upstream = Upstream::start();
    let mut logged = Logged::start("", &work(&upstream)).await;
    for _ in 0..MANY {
        let mut plain = TcpStream::connect(&logged.address)
            .await
            .expect("it accepts");
        plain
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .await
            .expect("sent");
        let _ = soon(plain.read_to_end(&mut Vec::new())).await;
    }
    let lines = told(&mut logged, "handshakes failed", MANY).await;
    assert!(lines <= 20, "{lines}");
    for _ in 0..MANY {
        let mut tls = logged.tls().await;
        tls.write_all(b"GET / HTTP/1.1\r\nhost\x01: x\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = Vec::new();
        let _ = soon(tls.read_to_end(&mut answer)).await;
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    }
    let lines = told(&mut logged, "malformed requests were refused", MANY).await;
    assert!(lines <= 20, "{lines}");
    logged.end().await;
}

#[tokio::test]
async fn connections_over_their_rate_are_told_by_limit() {
    let upstream = Upstream::start();
    let config = work(&upstream).replace(
        "enabled = false",
        "connections_per_second = 0.001\nconnection_burst = 1",
    );
    let mut logged = Logged::start("", &config).await;
    for _ in 0..20 {
        let mut refused = TcpStream::connect(&logged.address)
            .await
            .expect("the kernel accepts");
        let _ = refused.shutdown().await;
        let _ = soon(refused.read_to_end(&mut Vec::new())).await;
    }
    let line = logged.running.line("connections were refused").await;
    assert!(
        line.contains(r#""limit":"connections_per_second""#),
        "{line}"
    );
}

/// A library warns of each frame that answers nothing; a client could write as much log as it liked.
#[tokio::test]
async fn what_a_library_says_of_each_frame_is_told_by_count() {
    const MANY: u64 = 5000;
    let upstream = Upstream::start();
    let mut logged = Logged::start("", &work(&upstream)).await;
    let stream = TcpStream::connect(&logged.address)
        .await
        .expect("it accepts");
    let tls = tls_within(logged.directory.path(), stream, "h2").await;
    let mut tls = tls.expect("a handshake");
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for number in 0..MANY {
        // PING with ACK (RFC 9113 section 6.7).
        sent.extend_from_slice(b"\0\0\x08\x06\x01\0\0\0\0");
        sent.extend_from_slice(&number.to_be_bytes());
    }
    tls.write_all(&sent).await.expect("sent");
    let is_of_h2 = |name: &serde_json::Value| name.as_str().is_some_and(|of| of.starts_with("h2"));
    let (mut left_out, mut written) = (0, 0);
    while left_out < MANY / 2 {
        let line = logged.running.line("").await;
        let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        if line["message"] == "lines that came too often were left out" {
            assert!(is_of_h2(&line["of"]), "{line}");
            left_out += line["lines"].as_u64().expect("a count");
        } else if is_of_h2(&line["target"]) {
            written += 1;
        }
    }
    // One a second, however slow this machine is.
    assert!((1..=20).contains(&written), "{written}");
    logged.end().await;
}
