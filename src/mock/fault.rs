//! Which path asks for which answer: pure, of both protocols.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::default_reply::{DefaultReply, pause};
use super::script::{Cut, Framing, Reply, Step};
use crate::config::parse_delay;
use bodies::{block, broken_json, echo, size_of, sized};

mod bodies;
mod gzip;

/// Every fault: its path and what it does, for the help.
pub static FAULTS: &[(&str, &str)] = &[
    (
        "/fault/status/CODE",
        "this status (204, 304, 101, 302 with a location, 503, ...)",
    ),
    (
        "/fault/delay/DELAY",
        "the body after DELAY, instead of --delay and --failure-rate",
    ),
    (
        "/fault/hang/PLACE",
        "stop at PLACE and say nothing more (1: head)",
    ),
    (
        "/fault/reset/PLACE",
        "stop at PLACE and reset the connection (1: head)",
    ),
    (
        "/fault/close/PLACE",
        "stop at PLACE and close the connection (1: head)",
    ),
    (
        "/fault/drip/DELAY",
        "the body byte by byte, each after DELAY (of a range: one draw)",
    ),
    (
        "/fault/length/longer",
        "content-length 10 more than there is, then silence",
    ),
    (
        "/fault/length/shorter",
        "content-length 1 less than there is",
    ),
    ("/fault/chunks", "a good chunk, then garbage (1)"),
    ("/fault/garbage", "bytes that are not HTTP (1)"),
    ("/fault/endless/body", "a body without end"),
    ("/fault/endless/head", "headers without end (1)"),
    ("/fault/endless/1xx", "interim responses without end (1)"),
    ("/fault/size/SIZE", "a valid JSON body of exactly SIZE"),
    (
        "/fault/chunked/SIZE",
        "the same without saying its length before",
    ),
    ("/fault/json/bad", "JSON that breaks off"),
    ("/fault/json/two", "two JSON documents"),
    (
        "/fault/json/deep/DEPTH",
        "arrays nested DEPTH deep, at most 1000000",
    ),
    (
        "/fault/json/not-utf8",
        "JSON with a string that is not UTF-8",
    ),
    ("/fault/json/empty", "no bytes at all"),
    (
        "/fault/gzip",
        "64 KiB with content-encoding gzip, 10 MiB unpacked",
    ),
    (
        "/fault/echo/...",
        "method, path, query and headers of the request, as JSON",
    ),
    (
        "/fault/bye",
        "the default reply, then close, having said so (1)",
    ),
    (
        "/fault/leave/N",
        "the default reply; close after the connection's Nth, unannounced (1)",
    ),
    (
        "/fault/stale/N",
        "the same, but close when the next request has come (1)",
    ),
];

/// What a client asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// `GET`.
    pub(super) method: &'a str,
    /// From the slash to the question mark.
    pub(super) path: &'a str,
    /// After the question mark.
    pub(super) query: Option<&'a str>,
}

/// What it gets.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// What the settings say.
    Default,
    /// This.
    Reply(Reply),
    /// These bytes of HTTP/1.1, or what looks like it.
    Raw(Vec<Step>),
    /// The default reply, and the connection closes with an announcement.
    LastReply,
    /// The default reply; the connection closes without a word after the Nth.
    Leave(u64),
    /// The default reply to the first N requests of a connection, and no byte for the next.
    Stale(u64),
}

/// The answer to a request with these header fields.
pub(super) fn answer<'a>(
    asked: &Asked<'a>,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    default_reply: &DefaultReply,
) -> Answer {
    let Some(fault) = asked.path.strip_prefix("/fault/") else {
        return Answer::Default;
    };
    let found = match fault.split_once('/').unwrap_or((fault, "")) {
        ("echo", _) => Some(Answer::Reply(echo(asked, headers))),
        (name, parameter) => find(name, parameter, default_reply),
    };
    found
        .and_then(|found| delayed(found, asked.query))
        .unwrap_or_else(|| {
            let error = br#"{"error":"no such fault; `gatherd mock --help` lists them"}"#;
            Answer::Reply(Reply::json(404, Bytes::from_static(error)))
        })
}

/// The answer after the pause that `?delay=` asks for; none when that is not a delay, or the answer
/// is the default one, which has its own.
fn delayed(answer: Answer, query: Option<&str>) -> Option<Answer> {
    let mut pairs = query.unwrap_or_default().split('&');
    let Some(delay) = pairs.find_map(|pair| pair.strip_prefix("delay=")) else {
        return Some(answer);
    };
    let pause = pause(&parse_delay(delay).ok()?);
    match answer {
        Answer::Raw(steps) => Some(Answer::Raw(pause.into_iter().chain(steps).collect())),
        Answer::Reply(mut reply) => {
            reply.before.splice(0..0, pause);
            Some(Answer::Reply(reply))
        }
        Answer::Default | Answer::LastReply | Answer::Leave(_) | Answer::Stale(_) => None,
    }
}

fn find(name: &str, parameter: &str, default_reply: &DefaultReply) -> Option<Answer> {
    let count = || parameter.parse().ok().filter(|count| *count > 0);
    Some(match (name, parameter) {
        ("bye", "") => Answer::LastReply,
        ("leave", _) => Answer::Leave(count()?),
        ("stale", _) => Answer::Stale(count()?),
        ("hang", place) => broken(place, &[Step::Hang], default_reply)?,
        ("close", place) => broken(place, &[Step::Cut(Cut::Close)], default_reply)?,
        // A moment, so that the client has read what came before the reset overtakes it.
        ("reset", place) => {
            let moment = Step::Pause(Duration::from_millis(20));
            broken(place, &[moment, Step::Cut(Cut::Reset)], default_reply)?
        }
        ("chunks" | "garbage" | "endless", _) => raw(name, parameter)?,
        _ => Answer::Reply(reply(name, parameter, default_reply)?),
    })
}

/// Faults that are still HTTP.
fn reply(name: &str, parameter: &str, default_reply: &DefaultReply) -> Option<Reply> {
    let body = some_body(default_reply);
    let length = body.len() as u64;
    Some(match (name, parameter) {
        ("status", code) => status(
            code.parse()
                .ok()
                .filter(|code| (100..=999).contains(code))?,
        ),
        ("delay", delay) => {
            let mut reply = Reply::json(200, default_reply.body());
            reply.before.extend(pause(&parse_delay(delay).ok()?));
            reply
        }
        ("drip", delay) => {
            let Some(Step::Pause(every)) = pause(&parse_delay(delay).ok()?) else {
                return None;
            };
            Reply::declaring(length, vec![Step::Drip(body, every)])
        }
        ("length", "longer") => Reply::declaring(length + 10, vec![Step::Send(body), Step::Hang]),
        ("length", "shorter") => Reply::declaring(length - 1, vec![Step::Send(body)]),
        ("size", size) => sized(size_of(size)?, Framing::Length(size_of(size)?)),
        ("chunked", size) => sized(size_of(size)?, Framing::Chunked),
        ("json", which) => Reply::json(200, broken_json(which)?),
        ("gzip", "") => {
            let mut reply = Reply::json(200, gzip::bomb());
            reply.headers.push(("content-encoding", "gzip"));
            reply
        }
        _ => return None,
    })
}

/// The configured body, or another one where there is too little of it to be broken.
fn some_body(default_reply: &DefaultReply) -> Bytes {
    Some(default_reply.body())
        .filter(|body| body.len() >= 2)
        .unwrap_or(Bytes::from_static(b"null"))
}

fn status(status: u16) -> Reply {
    let mut reply = Reply::json(status, json!({ "status": status }).to_string().into());
    match status {
        100..=199 | 204 | 304 => {
            reply.headers.clear();
            reply.framing = Framing::Bodiless;
            reply.body.clear();
        }
        205 => {
            reply.framing = Framing::Length(0);
            reply.body.clear();
        }
        _ => {}
    }
    match status {
        101 => reply
            .headers
            .extend([("connection", "upgrade"), ("upgrade", "mock")]),
        300..=303 | 305..=399 => reply.headers.push(("location", "/")),
        _ => {}
    }
    reply
}

/// The default 200, with `ending` in this place of it.
fn broken(place: &str, ending: &[Step], default_reply: &DefaultReply) -> Option<Answer> {
    let body = some_body(default_reply);
    let length = body.len();
    let after = |sent: usize| {
        let mut steps = vec![Step::Send(body.slice(..sent))];
        steps.extend_from_slice(ending);
        Answer::Reply(Reply::declaring(length as u64, steps))
    };
    Some(match place {
        "start" => {
            let mut reply = Reply::json(200, default_reply.body());
            reply.before.extend_from_slice(ending);
            Answer::Reply(reply)
        }
        "head" => {
            let head = Step::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-type: appl"));
            Answer::Raw([&[head], ending].concat())
        }
        "body" => after(length / 2),
        "end" => after(length - 1),
        _ => return None,
    })
}

/// Faults that no HTTP library would write, and the body without end.
fn raw(name: &str, parameter: &str) -> Option<Answer> {
    let send = |bytes: &'static str| Step::Send(Bytes::from_static(bytes.as_bytes()));
    let for_ever = |bytes: &str| Step::Repeat(bytes.repeat(64).into(), u64::MAX);
    Some(Answer::Raw(match (name, parameter) {
        ("chunks", "") => vec![
            send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\nnot a size\r\n"),
            Step::Cut(Cut::Close),
        ],
        ("garbage", "") => vec![
            send("220 mock ESMTP\r\n\u{16}\u{3} this is not HTTP\r\n\r\n"),
            Step::Cut(Cut::Close),
        ],
        ("endless", "head") => vec![
            send("HTTP/1.1 200 OK\r\n"),
            for_ever("x-more: and more\r\n"),
        ],
        ("endless", "1xx") => vec![for_ever("HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n")],
        ("endless", "body") => {
            let mut reply = sized(0, Framing::Chunked);
            reply.body = vec![send("\""), Step::Repeat(block(), u64::MAX)];
            return Some(Answer::Reply(reply));
        }
        _ => return None,
    }))
}

#[cfg(test)]
mod tests;
