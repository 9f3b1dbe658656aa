//! Replies over HTTP/1 as raw bytes: what each is taken for, however its bytes are cut, and whose it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, Service, route, soon};
use crate::raw_upstreams::{Identity, Raw, reply, request_head};

/// What a connection does behind its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It waits for the next request, which gets the same.
    Stay,
    Close,
    Reset,
}

/// What must come of it: the body, or the kind of failure.
type Outcome = Result<&'static str, &'static str>;

const PROTOCOL: Outcome = Err("protocol");
const RESET: Outcome = Err("reset");

/// Bytes, what follows them, and what must come of it.
#[rustfmt::skip]
const REPLIES: &[(&str, Then, Outcome)] = &[
    ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1", Then::Stay, Ok("1")),
    ("HTTP/1.1 200\r\ncontent-length: 1\r\n\r\n1", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\ncontent-length: 1\n\n1", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\n1", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n1", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ncontent-length: 0x1\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n12", Then::Close, RESET),
    ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n12", Then::Reset, RESET),
    ("HTTP/1.1 200 OK\r\n\r\n12", Then::Close, Ok("12")),
    ("HTTP/1.1 200 OK\r\n\r\n12", Then::Reset, RESET),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked,\r\n\r\n1\r\n1\r\n0\r\n\r\n", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: , chunked\r\n\r\n01\r\n1\r\n000\r\n\r\n", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a=\"b\"\r\n1\r\n0;x\r\na: b\r\n\r\n", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1 \r\n1\r\n0\t\r\n\r\n", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n", Then::Close, RESET),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1", Then::Close, RESET),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\n1\r\n0\r\n\r\n", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ng\r\n1\r\n0\r\n\r\n", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n12\r\n0\r\n\r\n", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n1\r\n0\r\n\r\n", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000001\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\nno trailer\r\n\r\n", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\ncontent-length: 1\r\n\r\n1", Then::Stay, Ok("1")),
    ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n", Then::Stay, Ok("1")),
    ("HTTP/1.0 200 OK\r\n\r\n12", Then::Close, Ok("12")),
    ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n1", Then::Stay, Ok("1")),
    ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\n1", Then::Stay, Ok("1")),
    ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n", Then::Stay, Ok("1")),
    ("HTTP/1.2 200 OK\r\ncontent-length: 1\r\n\r\n1", Then::Stay, Ok("1")),
    ("HTTP/2.0 200 OK\r\ncontent-length: 1\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1", Then::Stay, Ok("1")),
    ("HTTP/1.1 100 Continue\r\n\r\n", Then::Close, RESET),
    ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Then::Stay, Err("status")),
    ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", Then::Stay, Err("status")),
    ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", Then::Stay, Err("status")),
    ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 100000\r\n\r\n1", Then::Stay, Err("status")),
    ("HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\nx", Then::Stay, Err("status")),
    ("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", Then::Stay, Err("status")),
    ("HTTP/1.1 099 ?\r\ncontent-length: 1\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 20 ?\r\ncontent-length: 1\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\n continued: 1\r\ncontent-length: 1\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\ncontent-length : 1\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 1\r\n\r\n1", Then::Stay, PROTOCOL),
    ("HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 1\r\n\r\n1", Then::Stay, PROTOCOL),
    ("SSH-2.0-OpenSSH_9.2\r\n", Then::Stay, PROTOCOL),
    ("\x15\x03\x01\0\x02\x02\x28", Then::Stay, PROTOCOL),
    ("H", Then::Close, RESET),
    ("HTTP/1.1 200 OK\r\ncontent-le", Then::Close, RESET),
    ("HTTP/1.1 200 OK\r\ncontent-le", Then::Reset, RESET),
    ("", Then::Close, RESET),
    ("", Then::Reset, RESET),
];

/// How the bytes are cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    /// Behind so many bytes.
    At(usize),
    /// Each byte by itself.
    Bytes,
}

async fn write(stream: &mut TcpStream, bytes: &[u8], cut: Cut) {
    let pieces: Vec<&[u8]> = match cut {
        Cut::Whole => vec![bytes],
        Cut::At(at) => vec![&bytes[..at], &bytes[at..]],
        Cut::Bytes => bytes.chunks(1).collect(),
    };
    for piece in pieces {
        // A client that has gone is not this side's affair.
        let _ = stream.write_all(piece).await;
        // So that each piece is read by itself: the socket has nothing else to send.
        tokio::task::yield_now().await;
    }
}

/// An upstream that answers every request so.
async fn upstream(bytes: &'static [u8], then: Then, cut: Cut) -> Raw {
    Raw::serve(move |mut stream, _| async move {
        let _ = stream.set_nodelay(true);
        while request_head(&mut stream).await.is_some() {
            write(&mut stream, bytes, cut).await;
            match then {
                Then::Stay => {}
                Then::Close => return,
                Then::Reset => {
                    // What was sent is read before the reset is heard.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let _ = stream.set_zero_linger();
                    return;
                }
            }
        }
    })
    .await
}

async fn service(addr: std::net::SocketAddr) -> Service {
    let config = format!("[upstreams.work]\nurl = \"http://{addr}/\"\n");
    Service::start(&(config + &route("/one", "all", "work", "calls = 1"))).await
}

fn check(answer: &Answer, expected: Outcome, case: &str) {
    match expected {
        Ok(body) => {
            assert_eq!(answer.status, 200, "{case}: {answer:?}");
            assert_eq!(answer.body, format!("[{body}]"), "{case}");
        }
        Err(kind) => assert_eq!(answer.kinds(), [kind], "{case}: {answer:?}"),
    }
}

#[tokio::test]
async fn every_reply_is_taken_for_what_it_is_however_it_is_cut() {
    for (text, then, expected) in REPLIES {
        let cuts = [
            Cut::Whole,
            Cut::Bytes,
            Cut::At(text.len() / 2),
            Cut::At(text.len().saturating_sub(1)),
        ];
        for cut in cuts {
            let upstream = upstream(text.as_bytes(), *then, cut).await;
            let service = service(upstream.addr).await;
            for round in 0..2 {
                let begun = Instant::now();
                let answer = service.get("/one?timeout=8000").await;
                let case = format!("{text:?} {then:?} {cut:?} {round}");
                check(&answer, *expected, &case);
                assert!(begun.elapsed() < Duration::from_secs(5), "{case} waits");
            }
        }
    }
}

#[tokio::test]
async fn a_head_is_limited_by_its_bytes_and_not_by_its_lines() {
    let cookies = |count: usize, length: usize| {
        let line = format!("set-cookie: {}\r\n", "x".repeat(length));
        let head = format!(
            "HTTP/1.1 200 OK\r\n{}content-length: 1\r\n\r\n1",
            line.repeat(count)
        );
        let text: &'static str = head.leak();
        text
    };
    for (count, length, expected) in [
        (120, 10, Ok("1")),
        (5000, 10, Ok("1")),
        (60, 1000, Ok("1")),
        (200, 1000, PROTOCOL),
        (1, 200_000, PROTOCOL),
    ] {
        let text = cookies(count, length);
        let upstream = upstream(text.as_bytes(), Then::Stay, Cut::Whole).await;
        let answer = service(upstream.addr).await.get("/one").await;
        check(&answer, expected, &format!("{count} of {length}"));
    }
}

#[tokio::test]
async fn what_comes_behind_a_reply_answers_no_call() {
    let extra: &[&'static str] = &[
        "2",
        "\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2",
        "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ];
    for text in extra {
        for is_late in [false, true] {
            let upstream = Raw::serve(move |mut stream, _| async move {
                while request_head(&mut stream).await.is_some() {
                    reply(&mut stream, "1").await;
                    if is_late {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    let _ = stream.write_all(text.as_bytes()).await;
                }
            })
            .await;
            let service = service(upstream.addr).await;
            for round in 0..20 {
                let answer = service.get("/one").await;
                // A call may be the first to hear of it, and is not made again once bytes have come.
                let is_heard = answer.status == 500 && !text.contains("408");
                assert!(
                    answer.body == "[1]" || is_heard,
                    "{text:?} late={is_late} {round}: {answer:?}"
                );
                assert!(
                    !answer.body.contains('2') || answer.status == 500,
                    "{answer:?}"
                );
                tokio::time::sleep(Duration::from_millis(8)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_408_that_crosses_a_call_on_a_kept_connection_is_not_its_answer() {
    let upstream = Raw::serve(|mut stream, number| async move {
        if request_head(&mut stream).await.is_none() {
            return;
        }
        reply(&mut stream, "1").await;
        if number % 2 == 0 && request_head(&mut stream).await.is_some() {
            let late =
                b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(late).await;
            return;
        }
        while request_head(&mut stream).await.is_some() {
            reply(&mut stream, "1").await;
        }
    })
    .await;
    let service = service(upstream.addr).await;
    for _ in 0..4 {
        let answer = service.get("/one").await;
        assert_eq!(answer.body, "[1]", "{answer:?}");
    }
    assert_eq!(upstream.accepted(), 2);
}

/// On a kept connection, a part of a reply and then its end: the upstream has worked on the call.
#[tokio::test]
async fn a_call_is_not_made_again_once_a_byte_of_its_reply_came() {
    for (part, resets, calls) in [
        ("H", false, 2),
        ("HTTP/1.1 200 OK\r\ncon", true, 2),
        ("", false, 3),
        ("", true, 3),
    ] {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        let upstream = Raw::serve(move |mut stream, number| {
            let count = count.clone();
            async move {
                while request_head(&mut stream).await.is_some() {
                    count.fetch_add(1, Ordering::SeqCst);
                    if number == 0 && count.load(Ordering::SeqCst) == 2 {
                        let _ = stream.write_all(part.as_bytes()).await;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        if resets {
                            let _ = stream.set_zero_linger();
                        }
                        return;
                    }
                    reply(&mut stream, "1").await;
                }
            }
        })
        .await;
        let service = service(upstream.addr).await;
        assert_eq!(service.get("/one").await.status, 200);
        let answer = service.get("/one").await;
        let expected = if part.is_empty() { Ok("1") } else { RESET };
        check(&answer, expected, part);
        assert_eq!(seen.load(Ordering::SeqCst), calls, "{part:?}");
    }
}

#[tokio::test]
async fn a_connection_that_the_upstream_closes_is_gone_within_a_second() {
    let (closed, hears) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Raw::serve(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            if request_head(&mut stream).await.is_some() {
                reply(&mut stream, "1").await;
                let _ = stream.shutdown().await;
                let begun = Instant::now();
                let _ = stream.read_to_end(&mut Vec::new()).await;
                let _ = closed.send(begun.elapsed());
            }
        }
    })
    .await;
    let mut hears = hears;
    let service = service(upstream.addr).await;
    assert_eq!(service.get("/one").await.status, 200);
    let elapsed = soon(hears.recv()).await.expect("it is closed");
    assert!(elapsed < Duration::from_millis(1500), "{elapsed:?}");
}

/// Framing without end, as quick as it can be sent: neither its own deadline nor another route waits.
#[tokio::test]
async fn an_upstream_that_sends_without_end_holds_up_neither_its_deadline_nor_another_route() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (begin, again) in [
        (CHUNKED, "0000000000000000"),
        (CHUNKED, "1;extension\r\n1\r\n"),
        ("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\n", "a: b\r\n"),
        ("HTTP/1.1 200 OK\r\n\r\n", "                "),
    ] {
        let endless = Raw::serve(move |mut stream, _| async move {
            if request_head(&mut stream).await.is_some() {
                let _ = stream.write_all(begin.as_bytes()).await;
                let block = again.repeat(4096);
                while stream.write_all(block.as_bytes()).await.is_ok() {}
            }
        })
        .await;
        let good = crate::harness::Upstream::start();
        let config = format!(
            "[upstreams.bad]\nurl = \"http://{}/\"\nmax_response = \"16MiB\"\n",
            endless.addr
        ) + &good.section("good", "/")
            + &route("/bad", "all", "bad", "calls = 8")
            + &route("/good", "all", "good", "calls = 1");
        let service =
            Service::with("worker_threads = 1", crate::log_lines::UNLIMITED, &config).await;
        let begun = Instant::now();
        let (bad, good) = tokio::join!(service.get("/bad?timeout=500"), service.get("/good"));
        assert_eq!(good.status, 200, "{again:?}");
        assert_eq!(bad.status, 500, "{again:?}");
        let elapsed = begun.elapsed();
        assert!(
            elapsed < Duration::from_millis(1500),
            "{again:?} {elapsed:?}"
        );
    }
}

/// A TCP connection can be closed on the way; only the upstream can say over TLS that its reply ends here
/// (RFC 9112 section 9.8).
#[tokio::test]
async fn over_tls_a_reply_until_close_is_whole_only_when_tls_says_so() {
    let identity = Identity::of("localhost", |_| {});
    let directory = TempDir::new().expect("a directory");
    for (says_so, outcome) in [(true, Ok("12")), (false, Err("reset"))] {
        let acceptor = identity.acceptor(&["http/1.1"]);
        let server = Raw::serve(move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a request"));
                }
                let sent = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n12").await;
                sent.and(stream.flush().await).expect("sent");
                if says_so {
                    stream.shutdown().await.expect("a close_notify");
                }
            }
        })
        .await;
        let config = format!(
            "[upstreams.work]\nurl = \"https://localhost:{}/\"\n{}",
            server.addr.port(),
            identity.ca_in(directory.path()),
        ) + &route("/all", "all", "work", "calls = 1");
        let service = Service::start(&config).await;
        let answer = soon(service.get("/all")).await;
        match outcome {
            Ok(body) => assert_eq!((answer.status, answer.body), (200, format!("[{body}]"))),
            Err(kind) => assert_eq!(answer.kinds(), [kind], "{answer:?}"),
        }
    }
}
