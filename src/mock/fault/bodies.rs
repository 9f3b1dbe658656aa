//! Bodies that are made for the request.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Asked;
use crate::mock::script::{Framing, Reply, Step};

/// Bytes, as in `1024` or `1MiB`.
pub(super) fn size_of(size: &str) -> Option<u64> {
    size.parse()
        .ok()
        .map(|size: bytesize::ByteSize| size.as_u64())
}

/// A part of a long string.
pub(super) fn block() -> Bytes {
    static BLOCK: [u8; 16 * 1024] = [b'x'; 16 * 1024];
    Bytes::from_static(&BLOCK)
}

/// A valid JSON document of exactly `size` bytes (none for 0), made while it is sent.
pub(super) fn sized(size: u64, framing: Framing) -> Reply {
    let block = block();
    let block_size = block.len() as u64;
    let mut reply = Reply::declaring(0, Vec::new());
    reply.framing = framing;
    reply.body = match size {
        0 => Vec::new(),
        1 => vec![Step::Send(Bytes::from_static(b"0"))],
        _ => {
            let (blocks, rest) = ((size - 2) / block_size, (size - 2) % block_size);
            let rest = "x".repeat(usize::try_from(rest).unwrap_or_default()) + "\"";
            let mut steps = vec![Step::Send(Bytes::from_static(b"\""))];
            if blocks == 0 {
                vec![Step::Send(format!("\"{rest}").into())]
            } else {
                steps.extend([Step::Repeat(block, blocks), Step::Send(rest.into())]);
                steps
            }
        }
    };
    reply
}

/// What is not one JSON document.
pub(super) fn broken_json(which: &str) -> Option<Bytes> {
    Some(match which.split_once('/').unwrap_or((which, "")) {
        ("bad", "") => Bytes::from_static(br#"{"time": "#),
        ("two", "") => Bytes::from_static(br#"{"time": 1} {"time": 2}"#),
        ("not-utf8", "") => Bytes::from_static(b"{\"name\": \"\xff\xfe\"}"),
        ("empty", "") => Bytes::new(),
        ("deep", depth) => {
            let depth = depth.parse().ok().filter(|depth| *depth <= 1_000_000)?;
            ("[".repeat(depth) + &"]".repeat(depth)).into()
        }
        _ => return None,
    })
}

/// The request as JSON: header names in lower case, repeated ones joined by commas (RFC 9110,
/// section 5.3), bytes that are not UTF-8 replaced.
pub(super) fn echo<'a>(
    asked: &Asked<'a>,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Reply {
    let mut fields = serde_json::Map::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value);
        match fields.entry(name.to_ascii_lowercase()) {
            serde_json::map::Entry::Vacant(vacant) => {
                vacant.insert(Value::String(value.into_owned()));
            }
            serde_json::map::Entry::Occupied(mut seen) => {
                if let Value::String(seen) = seen.get_mut() {
                    seen.push_str(", ");
                    seen.push_str(&value);
                }
            }
        }
    }
    let Asked {
        method,
        path,
        query,
    } = asked;
    let echo = json!({ "method": method, "path": path, "query": query, "headers": fields });
    Reply::json(200, echo.to_string().into())
}
