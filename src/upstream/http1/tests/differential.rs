//! hyper's client and ours read the same replies, whole, mutated and cut, and agree.

use fastrand::Rng;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::upstream::failure::is_success;

const CASES: u64 = 40_000;

/// A reply of parts that go together, or not.
fn generated(rng: &mut Rng) -> Vec<u8> {
    let mut one = |from: &[&'static str]| *rng.choice(from).unwrap();
    let mut text = String::new();
    text += one(&[
        "",
        "",
        "",
        "\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 E\r\na: b\r\n\r\n",
    ]);
    text += one(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    text += one(&[
        " 200 OK", " 200", " 200 ", " 206 x", " 204 No", " 304 No", " 404 Not", " 205 R", " 999 ?",
    ]);
    text += one(&["\r\n", "\r\n", "\n"]);
    for _ in 0..3 {
        text += one(&[
            "",
            "",
            "a: b\r\n",
            "b:\r\n",
            "C-d: \t e \r\n",
            "connection: close\r\n",
            "connection: keep-alive\r\n",
        ]);
    }
    text += one(&[
        "",
        "content-length: 4\r\n",
        "content-length: 4\r\n",
        "content-length: 0\r\n",
        "Content-Length: 4, 4\r\n",
        "content-length: 4\r\ncontent-length: 4\r\n",
        "content-length: 4\r\ncontent-length: 5\r\n",
        "content-length: x\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\n",
        "Transfer-Encoding: Chunked\r\ncontent-length: 4\r\n",
    ]);
    text += one(&["\r\n", "\r\n", "\n"]);
    text += one(&[
        "1234",
        "1234",
        "12",
        "12345678",
        "",
        "4\r\n1234\r\n0\r\n\r\n",
        "4\r\n1234\r\n0\r\n\r\n",
        "2;x=y\r\n12\r\n02 \r\n34\r\n0\r\n\r\n",
        "4\r\n1234\r\n0\r\na: b\r\n\r\n",
        "4\r\n1234\r\n0",
        "4\r\n1234",
        "A\r\n0123456789\r\n0;\r\n\r\n",
        "ffffffffffffffff\r\n1",
    ]);
    text.into_bytes()
}

/// A few bytes changed, taken away, put in or doubled.
fn mutated(rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..rng.usize(0..4) {
        let at = rng.usize(0..=bytes.len().saturating_sub(1));
        let byte = *rng.choice(b"\r\n\t ,;:0159aHT\0\x7f\xff").unwrap();
        match rng.u8(0..4) {
            0 if !bytes.is_empty() => bytes[at] = byte,
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            2 => bytes.insert(at, byte),
            _ => {
                let doubled = bytes[at..(at + 8).min(bytes.len())].to_vec();
                bytes.splice(at..at, doubled);
            }
        }
    }
    bytes
}

/// What hyper makes of it: status and body.
async fn by_hyper(pieces: &[&[u8]]) -> Option<(u16, Vec<u8>)> {
    let (ours, mut theirs) = duplex(1 << 16);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(ours))
        .await
        .ok()?;
    let connection = tokio::spawn(connection);
    let pieces: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let server = tokio::spawn(async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(theirs.read_u8().await.unwrap_or_default());
        }
        for piece in pieces {
            let _ = theirs.write_all(&piece).await;
            tokio::task::yield_now().await;
        }
    });
    let request = ::http::Request::get("/")
        .header("host", "x")
        .body(Empty::<bytes::Bytes>::new());
    let response = sender.send_request(request.unwrap()).await;
    let result = match response {
        Ok(response) => {
            let status = response.status().as_u16();
            let is_success = is_success(response.status());
            let body = response.into_body().collect().await;
            match body {
                Ok(body) => Some((status, body.to_bytes().to_vec())),
                // Of a status that fails, the body counts for nothing.
                Err(_) if !is_success => Some((status, Vec::new())),
                Err(_) => None,
            }
        }
        Err(_) => None,
    };
    server.abort();
    connection.abort();
    result
}

/// Where ours is meant to differ, and why.
fn may_differ(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let versions = text
        .match_indices("http/1.")
        .filter_map(|(at, _)| text.as_bytes().get(at + 7));
    // Later minor versions are read as 1.1 (RFC 9110 section 2.5), and chunks of HTTP/1.0 are read.
    let has_other_version = versions.clone().any(|minor| (b'2'..=b'9').contains(minor))
        || (versions.clone().any(|minor| *minor == b'0') && text.contains("transfer-encoding"));
    // Codings other than chunked are refused, `chunked,` is chunked (RFC 9110 section 5.6.1.2); hyper reads
    // both until the connection closes. Twice chunked is no coding that was asked for.
    let codings = text.match_indices("transfer-encoding:").map(|(at, name)| {
        let rest = &text[at + name.len()..];
        rest.lines().next().unwrap_or_default().trim().to_owned()
    });
    let codings: Vec<_> = codings.collect();
    let has_other_coding = codings.len() > 1 || codings.iter().any(|coding| coding != "chunked");
    // Malformed lengths fail where hyper does not look at them: beside chunks, and without a body.
    let has_no_body = ["100", "101", "103", "204", "304"]
        .iter()
        .any(|code| text.contains(code));
    let has_malformed_length =
        text.contains("content-length") && (has_no_body || text.contains("transfer-encoding"));
    // A reply that switches protocols was not asked for.
    has_other_version || has_other_coding || has_malformed_length || text.contains(" 101")
}

#[tokio::test]
async fn hyper_and_ours_agree_on_what_a_reply_is_worth() {
    let (mut agreed, mut whole, mut broken) = (0, 0, 0);
    for seed in 0..CASES {
        let mut rng = Rng::with_seed(seed);
        let generated = generated(&mut rng);
        let bytes = if rng.bool() {
            mutated(&mut rng, generated)
        } else {
            generated
        };
        if may_differ(&bytes) {
            continue;
        }
        let at = rng.usize(0..=bytes.len());
        let pieces = [&bytes[..at], &bytes[at..]];
        let ours = outcome(pieces);
        let theirs = by_hyper(&pieces).await;
        let same = match (&ours, &theirs) {
            (Outcome::Whole(status, body, _), Some((theirs, their_body))) => {
                whole += 1;
                status == theirs && body == their_body
            }
            (Outcome::Refused(status), Some((theirs, _))) => status == theirs,
            (Outcome::Broken(_), None) => {
                broken += 1;
                true
            }
            _ => false,
        };
        assert!(
            same,
            "seed {seed}: {:?}\nours {ours:?}\nhyper {theirs:?}",
            String::from_utf8_lossy(&bytes)
        );
        agreed += 1;
    }
    assert!(
        agreed > CASES / 3 && whole > 500 && broken > 500,
        "{agreed} {whole} {broken}"
    );
}
