//! The parser of replies by itself: cut at every place, and beside hyper's client, which reads the same.

mod differential;

use super::outcome::{Outcome, outcome};
use super::reply::Unfinished;
use crate::upstream::Kind;

const CUT: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n1234",
    "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n1234HTTP/1.1 200",
    "HTTP/1.1 200 OK\r\ncontent-length: 4, 4\r\n\r\n123",
    "\r\nHTTP/1.1 200 OK\n\n1234",
    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n12",
    "HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\n12",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\n12\r\n003\r\n345\r\n0\r\na: b\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n12\r\n0\r\n\r\nmore",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n12x",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    "HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\n1234",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    "HTTP/3",
];

#[test]
fn a_reply_is_worth_the_same_wherever_it_is_cut() {
    for text in CUT {
        let bytes = text.as_bytes();
        let whole = outcome([bytes]);
        for first in 0..=bytes.len() {
            let (one, rest) = bytes.split_at(first);
            assert_eq!(outcome([one, rest]), whole, "{text:?} at {first}");
            for second in 0..=rest.len() {
                let (two, three) = rest.split_at(second);
                assert_eq!(
                    outcome([one, two, three]),
                    whole,
                    "{text:?} at {first}, {second}"
                );
            }
        }
        assert_eq!(outcome(bytes.chunks(1)), whole, "{text:?} byte by byte");
    }
}

#[test]
fn a_connection_is_kept_only_when_its_reply_ended_at_the_last_byte() {
    let keeps = |text: &str| matches!(outcome([text.as_bytes()]), Outcome::Whole(_, _, true));
    assert!(keeps(CUT[0]));
    assert!(!keeps(CUT[1]), "bytes behind the end");
    assert!(keeps(CUT[4]), "1.0 with keep-alive");
    assert!(keeps(CUT[7]));
    assert!(!keeps(CUT[8]), "bytes behind the last chunk");
    assert!(!keeps(CUT[10]), "two lengths");
    for not in [
        "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n1",
        "HTTP/1.1 200 OK\r\nconnection: x, close\r\ncontent-length: 1\r\n\r\n1",
        "HTTP/1.1 200 OK\r\n\r\n1",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    ] {
        assert!(!keeps(not), "{not:?}");
    }
}

/// The empty line behind the trailers ends with a line feed alone, and hides what comes behind it.
#[test]
fn nothing_is_hidden_in_trailers() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n";
    for hidden in [
        "\nHTTP/1.1 200 OK\r\n\r\n",
        "a: b\n\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let reply = format!("{chunked}{hidden}");
        assert_eq!(
            outcome([reply.as_bytes()]),
            Outcome::Broken(Kind::Protocol),
            "{hidden:?}"
        );
    }
}

#[test]
fn a_head_that_comes_line_by_line_is_not_parsed_at_each() {
    let mut head = Unfinished::default();
    let mut times = 0;
    for _ in 0..10_000 {
        let before = head.bytes.len();
        head.bytes.extend_from_slice(b"name: value\r\n");
        if head.is_due(before) {
            times += 1;
            head.parsed = head.bytes.len();
        }
    }
    assert!(times < 20, "{times}");
    let before = head.bytes.len();
    head.bytes.extend_from_slice(b"\r\n");
    assert!(head.is_due(before), "it is whole");
}

#[test]
fn what_is_no_http_is_said_to_be_so_when_the_connection_ends() {
    let lines = format!("HTTP/1.1 200 OK\r\n{}wrong\r\n", "a: b\r\n".repeat(100));
    for cut in [lines.len(), lines.len() - 10, 20] {
        let (one, two) = lines.split_at(cut);
        let outcome = outcome([one.as_bytes(), two.as_bytes()]);
        assert_eq!(outcome, Outcome::Broken(Kind::Protocol), "{cut}");
    }
}

#[test]
fn what_comes_without_end_is_bounded() {
    let endless = |begin: &str, again: &str| {
        let block = again.repeat(1000);
        let pieces =
            std::iter::once(begin.as_bytes()).chain(std::iter::repeat_n(block.as_bytes(), 2000));
        outcome(pieces)
    };
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (begin, again) in [
        ("HTTP/1.1 200 OK\r\n", "a: b\r\n"),
        ("HTTP/1.1 200 ", "x"),
        ("", "\r\n"),
        ("", "HTTP/1.1 103 Early\r\n\r\n"),
        (chunked, "0"),
        (&format!("{chunked}1;"), "x"),
        (&format!("{chunked}1"), " "),
        (&format!("{chunked}0\r\n"), "a: b\r\n"),
    ] {
        assert_eq!(
            endless(begin, again),
            Outcome::Broken(Kind::Protocol),
            "{again:?}"
        );
    }
    assert_eq!(
        endless(chunked, "1\r\n1\r\n"),
        Outcome::Broken(Kind::TooLarge)
    );
    assert_eq!(
        endless("HTTP/1.1 200 OK\r\n\r\n", "1"),
        Outcome::Broken(Kind::TooLarge)
    );
}
