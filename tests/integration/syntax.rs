//! HTTP/1 as nobody should write it: what each request is answered, and what of the connection then.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::edge_client::tls;
use crate::harness::{Service, Upstream, route, soon};

/// Follows every row on the same connection: a 404, unless the connection was to end before.
const LAST: &str = "GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A request to the one route, and the statuses of all that comes back for it and for [`LAST`].
type Row = (String, &'static str);

/// Sends each row on a connection of its own.
async fn assert_rows(rows: impl IntoIterator<Item = Row>) {
    let upstream = Upstream::start();
    let config = upstream.section("work", "/") + &route("/one", "all", "work", "calls = 1");
    let service = Service::start(&config).await;
    let mut wrong = Vec::new();
    for (request, expected) in rows {
        let mut stream = tls(&service, "http/1.1").await.unwrap();
        let bytes = [latin1(&request), LAST.into()].concat();
        let _ = stream.write_all(&bytes).await;
        let mut answers = Vec::new();
        let _ = soon(stream.read_to_end(&mut answers)).await;
        let answers = String::from_utf8_lossy(&answers);
        let statuses = answers
            .split("HTTP/1.")
            .skip(1)
            .map(|answer| &answer[2..5])
            .collect::<Vec<_>>()
            .join(" ");
        if statuses != expected {
            let start: String = request.chars().take(120).collect();
            wrong.push(format!("{start:?}: {statuses:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(service.get("/one").await.status, 200);
}

/// One byte for each character, so that rows can hold any byte.
fn latin1(text: &str) -> Vec<u8> {
    let byte = |character| u8::try_from(u32::from(character)).expect("a byte");
    text.chars().map(byte).collect()
}

/// A GET with these lines after its Host.
fn with(lines: &str, expected: &'static str) -> Row {
    let request = format!("GET /one HTTP/1.1\r\nhost: x\r\n{lines}\r\n");
    (request, expected)
}

/// A GET with this Host.
fn host(lines: &str, expected: &'static str) -> Row {
    (format!("GET /one HTTP/1.1\r\n{lines}\r\n"), expected)
}

/// A request line, with a Host.
fn line(line: &str, expected: &'static str) -> Row {
    (format!("{line}\r\nhost: x\r\n\r\n"), expected)
}

#[tokio::test]
async fn a_request_line_is_exactly_what_it_should_be() {
    assert_rows([
        line("GET /one HTTP/1.1", "200 404"),
        line("GET http://x/one HTTP/1.1", "200 404"),
        // The target's own authority counts (RFC 9112 section 3.2.2); it chooses nothing here.
        line("GET http://elsewhere/one HTTP/1.1", "200 404"),
        line("GET http://user@x/one HTTP/1.1", "200 404"),
        line("\r\n\r\nGET /one HTTP/1.1", "200 404"),
        line("HEAD /one HTTP/1.1", "200 404"),
        line("get /one HTTP/1.1", "405 404"),
        line("DELETE /one HTTP/1.1", "405 404"),
        line("TRACE /one HTTP/1.1", "405 404"),
        line("OPTIONS * HTTP/1.1", "404 404"),
        line("CONNECT x:443 HTTP/1.1", "405"),
        line("GET //one HTTP/1.1", "404 404"),
        line("GET /one/ HTTP/1.1", "404 404"),
        line("GET /./one HTTP/1.1", "404 404"),
        line("GET /%6Fne HTTP/1.1", "404 404"),
        line("GET /one%00 HTTP/1.1", "404 404"),
        // An authority without a path, to the library.
        line("GET one HTTP/1.1", "404 404"),
        line("GET /one", "400"),
        line("GET /one HTTP/0.9", "400"),
        line("GET /one HTTP/1.2", "400"),
        line("GET /one HTTP/2.0", "400"),
        line("GET /one http/1.1", "400"),
        line("GET  /one HTTP/1.1", "400"),
        line("GET /one  HTTP/1.1", "400"),
        line("GET\t/one HTTP/1.1", "400"),
        line(" GET /one HTTP/1.1", "400"),
        line("GET /o\0ne HTTP/1.1", "400"),
        line("GET /o\rne HTTP/1.1", "400"),
        line("GET /o ne HTTP/1.1", "400"),
        line("G(T /one HTTP/1.1", "400"),
        line("\u{16}\u{3}\u{1}", "400"),
        line(&format!("GET /{} HTTP/1.1", "a".repeat(40_000)), "431"),
        line(
            &format!("GET /one?{} HTTP/1.1", "a".repeat(6000)),
            "200 404",
        ),
        // HTTP/2 is what the handshake agrees on, or nothing (RFC 9113 section 3.3).
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), ""),
        // HTTP/1.0 needs no Host, and ends unless it says otherwise.
        ("GET /one HTTP/1.0\r\n\r\n".into(), "200"),
        (
            "GET /one HTTP/1.0\r\nconnection: keep-alive\r\n\r\n".into(),
            "200 404",
        ),
    ])
    .await;
}

#[tokio::test]
async fn there_is_exactly_one_host_and_it_is_one() {
    assert_rows([
        host("", "400"),
        host("host: x\r\nhost: x\r\n", "400"),
        host("host: x\r\nHost: y\r\n", "400"),
        host("host:\r\n", "400"),
        host("host: x, y\r\n", "400"),
        host("host: a b\r\n", "400"),
        host("host: user@x\r\n", "400"),
        host("host: x@x\r\n", "400"),
        host("host: x:80@x\r\n", "400"),
        host("host: user:password@x\r\n", "400"),
        host("host: x/one\r\n", "400"),
        host("host: http://x\r\n", "400"),
        host("host: x:99999\r\n", "400"),
        host("host: x:http\r\n", "400"),
        host("host: x:-1\r\n", "400"),
        host("host: x:80:80\r\n", "400"),
        host("host: :443\r\n", "400"),
        host("host: [::1\r\n", "400"),
        host("host: [::1]x\r\n", "400"),
        host("host: x\u{7f}\r\n", "400"),
        host("host : x\r\n", "400"),
        host("host: x:\r\n", "200 404"),
        host("host: x:443\r\n", "200 404"),
        host("HOST:x\r\n", "200 404"),
        host("host: [::1]:443\r\n", "200 404"),
        host("host: 192.0.2.1\r\n", "200 404"),
        ("GET /one HTTP/1.0\r\nhost: a b\r\n\r\n".into(), "400"),
    ])
    .await;
}

#[tokio::test]
async fn fields_are_exactly_what_they_should_be() {
    let field = |name: usize| format!("x-{name}: y\r\n");
    assert_rows([
        with("x: y\r\n", "200 404"),
        with("x:\r\n", "200 404"),
        with("x: \u{e4}\r\n", "200 404"),
        with("x: a\tb\r\n", "200 404"),
        with("upgrade: h2c\r\nconnection: upgrade\r\n", "200 404"),
        with("connection: close\r\n", "200"),
        with("expect: 100-continue\r\n", "200 404"),
        with("x y: z\r\n", "400"),
        with("x\r\n", "400"),
        with(": y\r\n", "400"),
        with("x : y\r\n", "400"),
        with("\u{e4}: y\r\n", "400"),
        with(" folded\r\n", "400"),
        with("x: y\r\n folded\r\n", "400"),
        with("x: y\r\n\tfolded\r\n", "400"),
        with("x: a\0b\r\n", "400"),
        with("x: a\rb\r\n", "400"),
        with("x: a\u{1}b\r\n", "400"),
        with("x\0: y\r\n", "400"),
        with(&(0..98).map(field).collect::<String>(), "200 404"),
        with(&(0..200).map(field).collect::<String>(), "431"),
        with(&format!("x: {}\r\n", "y".repeat(40_000)), "431"),
    ])
    .await;
}

#[tokio::test]
async fn no_body_is_taken_for_a_request_whatever_its_length_is_said_to_be() {
    let inner = "GET /one HTTP/1.1\r\nhost: x\r\n\r\n";
    let body = |lines: &str, body: &str, expected| {
        let request = format!("POST /one HTTP/1.1\r\nhost: x\r\n{lines}\r\n{body}");
        (request, expected)
    };
    let length = |length: &str, expected| {
        let lines = format!("content-length: {length}\r\n");
        (
            format!("GET /one HTTP/1.1\r\nhost: x\r\n{lines}\r\nabcde"),
            expected,
        )
    };
    assert_rows([
        (inner.repeat(3), "200 200 200 404"),
        with("content-length: 0\r\n", "200 404"),
        length("5", "200"),
        length("1000000", "200"),
        length("+5", "400"),
        length("-5", "400"),
        length("0x5", "400"),
        length("5,5", "400"),
        length("5, 6", "400"),
        length("5 5", "400"),
        length("", "400"),
        length("\u{b2}", "400"),
        length("99999999999999999999", "400"),
        length("5\r\ncontent-length: 6", "400"),
        length("5\r\ntransfer-encoding: chunked", "400"),
        length("0\r\ntransfer-encoding: chunked", "400"),
        length("0\r\ncontent-length: 5", "400"),
        with(
            &format!("expect: 100-continue\r\n{}", "content-length: 5\r\n"),
            "200",
        ),
        body(
            &format!("content-length: {}\r\n", inner.len()),
            inner,
            "405",
        ),
        body("content-length: 5\r\n", "abcde", "405"),
    ])
    .await;
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_however_it_is_coded() {
    let inner = "GET /one HTTP/1.1\r\nhost: x\r\n\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let body = |lines: &str, body: &str, expected| {
        let request = format!("POST /one HTTP/1.1\r\nhost: x\r\n{lines}\r\n{body}");
        (request, expected)
    };
    assert_rows([
        body(chunked, &format!("0\r\n\r\n{inner}"), "400"),
        body(chunked, &format!("1e;x=y\r\n{inner}\r\n0\r\n\r\n"), "400"),
        body(chunked, "0;\r\nx: y\r\n\r\n", "400"),
        body(chunked, "xyz\r\n", "400"),
        body(chunked, "ffffffffffffffff1\r\n", "400"),
        body("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n", "400"),
        body(
            "transfer-encoding: chunked, chunked\r\n",
            "0\r\n\r\n",
            "400",
        ),
        body(
            "transfer-encoding: chunked, identity\r\n",
            "0\r\n\r\n",
            "400",
        ),
        body("transfer-encoding: identity\r\n", "0\r\n\r\n", "400"),
        body("transfer-encoding: xchunked\r\n", "0\r\n\r\n", "400"),
        body("transfer-encoding:\r\n", "0\r\n\r\n", "400"),
        body("transfer-encoding:\u{b}chunked\r\n", "0\r\n\r\n", "400"),
        body("transfer-encoding : chunked\r\n", "0\r\n\r\n", "400"),
        body(&format!("{chunked}{chunked}"), "0\r\n\r\n", "400"),
        (
            format!("GET /one HTTP/1.0\r\n{chunked}\r\n0\r\n\r\n"),
            "400",
        ),
    ])
    .await;
}
