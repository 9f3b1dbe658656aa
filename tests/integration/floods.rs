//! HTTP/2 floods, frame by frame, and the tool that slow attacks are tried with.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::edge_client::{request, tls};
use crate::harness::{Service, Upstream, route, soon};
use crate::programs::program;

/// :method GET, :scheme https, :path /one, :authority x (RFC 7541 appendix A).
const HEAD: &[u8] = b"\x82\x87\x44\x04/one\x41\x01x";

/// A frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface, with empty SETTINGS.
fn preface() -> Vec<u8> {
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
    ]
    .concat()
}

async fn service() -> (Service, Upstream) {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/") + &route("/one", "all", "work", "calls = 1");
    (Service::start(&config).await, upstream)
}

/// Sends `next(n)` for n from 0 until the service ends the connection; none when it never does
/// within 64 MiB.
async fn frames_until_closed(service: &Service, next: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    let stream = tls(service, "h2").await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let answers = tokio::spawn(async move {
        let mut taken = vec![0; 64 * 1024];
        while matches!(read.read(&mut taken).await, Ok(1..)) {}
    });
    write.write_all(&preface()).await.ok();
    let (mut sent, mut number) = (0, 0);
    while sent < 64 << 20 {
        let frames = next(number);
        let written = timeout(Duration::from_secs(5), write.write_all(&frames)).await;
        if answers.is_finished() || !matches!(written, Ok(Ok(()))) {
            answers.abort();
            return Some(number);
        }
        sent += frames.len();
        number += 1;
    }
    None
}

async fn assert_floods_end(name: &str, next: impl Fn(u32) -> Vec<u8>) {
    let (service, _upstream) = service().await;
    let sent = soon(frames_until_closed(&service, next)).await;
    assert!(sent.is_some(), "{name} goes on");
    assert_eq!(service.get("/one").await.status, 200, "after {name}");
}

#[tokio::test]
async fn floods_of_frames_that_make_no_request_end_their_connection() {
    let many = |frame: Vec<u8>| frame.repeat(50);
    assert_floods_end("PING", |_| many(frame(6, 0, 0, b"pingpong"))).await;
    assert_floods_end("SETTINGS", |_| many(frame(4, 0, 0, &[]))).await;
    assert_floods_end("PRIORITY", |_| many(frame(2, 0, 1, &[0, 0, 0, 0, 1]))).await;
    assert_floods_end("WINDOW_UPDATE", |_| many(frame(8, 0, 0, &[0, 0, 0, 1]))).await;
    assert_floods_end("unknown frames", |_| many(frame(0xbe, 0, 0, &[0; 64]))).await;
}

#[tokio::test]
async fn a_request_now_and_then_does_not_make_a_flood_good() {
    assert_floods_end("SETTINGS between requests", |number| {
        let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]).repeat(5000);
        [frame(1, 5, 2 * number + 1, HEAD), settings].concat()
    })
    .await;
}

#[tokio::test]
async fn as_many_requests_at_once_as_may_be_open_are_no_flood_however_long_their_heads() {
    let (service, _upstream) = service().await;
    // A literal header without indexing: name x, value of 12,000 bytes (RFC 7541 section 5.1).
    let field = [b"\0\x01x\x7f\xe1\x5c".as_slice(), &[b'v'; 12_000]].concat();
    let head = [HEAD, &field].concat();
    let requests = (0..100).flat_map(|number| frame(1, 5, 2 * number + 1, &head));
    let all: Vec<u8> = preface().into_iter().chain(requests).collect();
    let mut stream = tls(&service, "h2").await.unwrap();
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let mut answers = Vec::new();
    let answered = async {
        // END_STREAM of DATA of the last stream.
        let last = [0, 1, 0, 0, 0, 199];
        let mut taken = vec![0; 64 * 1024];
        while !answers.windows(last.len()).any(|part| part == last) {
            let bytes = read.read(&mut taken).await.unwrap();
            assert!(bytes > 0, "the connection ends");
            answers.extend_from_slice(&taken[..bytes]);
        }
    };
    let (written, ()) = soon(async { tokio::join!(write.write_all(&all), answered) }).await;
    written.unwrap();
}

#[tokio::test]
async fn a_head_without_end_ends_its_connection() {
    assert_floods_end("CONTINUATION", |number| match number {
        0 => frame(1, 1, 1, HEAD),
        _ => frame(9, 0, 1, &[]).repeat(50),
    })
    .await;
    // A literal header without indexing: name x, value of 100 bytes.
    let field = [b"\0\x01x\x64".as_slice(), &[b'v'; 100]].concat();
    assert_floods_end("a header bomb", |number| match number {
        0 => frame(1, 1, 1, HEAD),
        _ => frame(9, 0, 1, &field.repeat(100)),
    })
    .await;
}

#[tokio::test]
async fn empty_data_frames_end_their_connection() {
    assert_floods_end("DATA", |number| match number {
        // A request whose body goes on.
        0 => frame(1, 4, 1, HEAD),
        _ => frame(0, 0, 1, &[]).repeat(50),
    })
    .await;
}

#[tokio::test]
async fn rapid_resets_end_their_connection_and_cost_the_upstream_little() {
    let (service, upstream) = service().await;
    let flood = frames_until_closed(&service, |number| {
        let stream = 2 * number + 1;
        [
            frame(1, 5, stream, HEAD),
            frame(3, 0, stream, &[0, 0, 0, 8]),
        ]
        .concat()
    });
    let sent = soon(flood).await.expect("the connection ends");
    assert!(sent < 100_000, "{sent}");
    assert!(upstream.counters.most_requests_open() <= 512);
    assert_eq!(service.get("/one").await.status, 200);
}

#[tokio::test]
async fn slowhttptest_does_not_keep_a_healthy_client_from_its_answer() {
    let Some(tool) = program("slowhttptest") else {
        return;
    };
    let upstream = Upstream::start();
    let config = upstream.section("work", "/") + &route("/one", "all", "work", "calls = 1");
    let server = "header_timeout = \"2s\"\nwrite_timeout = \"2s\"\n";
    let service = Service::with(server, "[rate_limit]\nenabled = false\n", &config).await;
    for mode in ["-H", "-B", "-X"] {
        let mut attack = Command::new(&tool);
        // 200 connections, a byte of follow-up a second, for 4 seconds at most.
        attack.args([
            mode, "-c", "200", "-r", "200", "-i", "1", "-l", "4", "-p", "1",
        ]);
        attack.args(["-u", &service.url("/one"), "-v", "0"]);
        attack
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null());
        let mut attack = attack.spawn().expect("the tool starts");
        let mut answered = 0;
        while attack.try_wait().expect("a state").is_none() {
            let mut stream = soon(tls(&service, "http/1.1")).await.unwrap();
            assert_eq!(
                request(&mut stream, "/one").await.as_deref(),
                Some("200"),
                "{mode}"
            );
            answered += 1;
        }
        assert!(answered > 10, "{mode}: {answered}");
    }
}
