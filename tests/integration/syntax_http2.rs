//! HTTP/2 as nobody should write it, frame by frame.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::edge_client::tls;
use crate::harness::{Service, Upstream, route, soon};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What became of stream 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It was answered; the status, where HPACK has an index for it.
    Answered(u16),
    /// It was reset, or its connection ended.
    Refused,
}

/// A head of literal fields without indexing (RFC 7541 section 6.2.2), as the whole request.
fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    let length = u8::try_from(block.len()).unwrap();
    [[0, 0, length, 1, 5, 0, 0, 0, 1].as_slice(), &block].concat()
}

async fn outcome(service: &Service, request: &[u8]) -> Outcome {
    let mut stream = tls(service, "h2").await.unwrap();
    stream
        .write_all(&[PREFACE, request].concat())
        .await
        .unwrap();
    loop {
        let mut head = [0; 9];
        if soon(stream.read_exact(&mut head)).await.is_err() {
            return Outcome::Refused;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        soon(stream.read_exact(&mut payload)).await.unwrap();
        match (head[3], payload.first()) {
            (1, Some(0x88)) => return Outcome::Answered(200),
            (1, Some(0x8c)) => return Outcome::Answered(400),
            (1, Some(0x8d)) => return Outcome::Answered(404),
            (1, _) => return Outcome::Answered(0),
            // RST_STREAM and GOAWAY.
            (3 | 7, _) => return Outcome::Refused,
            _ => {}
        }
    }
}

/// What follows `:method`, `:scheme` and `:path`, and what becomes of it.
fn cases() -> Vec<(Vec<(&'static str, &'static str)>, Outcome)> {
    let (ok, bad, refused) = (
        Outcome::Answered(200),
        Outcome::Answered(400),
        Outcome::Refused,
    );
    vec![
        (vec![(":authority", "x")], ok),
        (vec![(":authority", "x:443"), ("te", "trailers")], ok),
        (vec![("host", "x")], ok),
        (vec![(":authority", "x"), ("host", "x")], ok),
        (vec![(":authority", "X"), ("host", "x")], ok),
        (vec![(":authority", "x"), ("content-length", "0")], ok),
        (vec![(":authority", "x"), ("host", "y")], bad),
        (vec![("host", "x"), ("host", "x")], bad),
        (vec![("host", "a b")], bad),
        (vec![], bad),
        (vec![(":authority", "user@x")], bad),
        (vec![(":authority", "a b")], refused),
        (vec![(":authority", "x"), ("content-length", "5")], refused),
        (vec![(":authority", "x"), ("content-length", "+0")], refused),
        (vec![(":authority", "x"), ("X", "y")], refused),
        (vec![(":authority", "x"), ("x y", "z")], refused),
        (vec![(":authority", "x"), ("", "y")], refused),
        (vec![(":authority", "x"), ("x", "a\r\nb: c")], refused),
        (vec![(":authority", "x"), ("x", "a\0b")], refused),
        (vec![(":authority", "x"), ("te", "gzip")], refused),
        (vec![(":authority", "x"), ("connection", "close")], refused),
        (vec![(":authority", "x"), ("keep-alive", "1")], refused),
        (vec![(":authority", "x"), ("upgrade", "h2c")], refused),
        (
            vec![(":authority", "x"), ("transfer-encoding", "chunked")],
            refused,
        ),
        (vec![("host", "x"), (":authority", "x")], refused),
        (vec![(":authority", "x"), (":path", "/one")], refused),
        (vec![(":authority", "x"), (":method", "GET")], refused),
        (vec![(":authority", "x"), (":status", "200")], refused),
        (vec![(":authority", "x"), (":unknown", "y")], refused),
    ]
}

#[tokio::test]
async fn a_head_is_exactly_what_it_should_be() {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/") + &route("/one", "all", "work", "calls = 1");
    let service = Service::start(&config).await;
    let refused = Outcome::Refused;
    let start = [(":method", "GET"), (":scheme", "https"), (":path", "/one")];
    let mut wrong = Vec::new();
    for (more, expected) in cases() {
        let fields = [start.as_slice(), &more].concat();
        let seen = outcome(&service, &request(&fields)).await;
        if seen != expected {
            wrong.push(format!("{more:?}: {seen:?}, expected {expected:?}"));
        }
    }
    for fields in [
        vec![(":scheme", "https"), (":path", "/one")],
        vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":path", ""),
            (":authority", "x"),
        ],
        vec![],
    ] {
        let seen = outcome(&service, &request(&fields)).await;
        if seen != refused {
            wrong.push(format!("{fields:?}: {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(service.get("/one").await.status, 200);
}
