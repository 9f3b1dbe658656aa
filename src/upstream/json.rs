//! Is a body one JSON document (RFC 8259), and where in it is what a pointer names (RFC 6901)?
//!
//! Bodies are embedded in answers as they came, so this is what keeps an answer valid. It is on the
//! path of every reply: no recursion, no allocation. Its parts: `structure` is the grammar of tokens,
//! `bits` finds bytes in a block, `scalar` knows numbers, literals and escapes.

mod bits;
mod scalar;
mod structure;

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::{Buf, Bytes};
use serde_json::value::RawValue;

use self::structure::Structure;

/// What some write before a text in UTF-8. A parser may ignore it (RFC 8259 section 8.1), and in the
/// middle of an answer it would be an error.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `body` if it [`is_document`], without the byte order mark that may stand before.
pub(super) fn document(mut body: Bytes) -> Option<Bytes> {
    if body.starts_with(BYTE_ORDER_MARK) {
        body.advance(BYTE_ORDER_MARK.len());
    }
    is_document(&body).then_some(body)
}

/// Whether `body` is one JSON document in UTF-8, nested at most 128 deep.
#[must_use]
pub fn is_document(body: &[u8]) -> bool {
    Structure::of(body).is_some_and(|structure| {
        // Only strings may have other than ASCII, and few have.
        structure.is_ascii() || simdutf8::basic::from_utf8(body).is_ok()
    })
}

/// The part of `body`, which [`is_document`], that `pointer` names.
pub(super) fn select(body: &Bytes, pointer: &str) -> Option<Bytes> {
    let mut value: &str = simdutf8::basic::from_utf8(body)
        .ok()?
        .trim_matches([' ', '\t', '\n', '\r']);
    for token in pointer.split('/').skip(1) {
        value = child(value, &token.replace("~1", "/").replace("~0", "~"))?;
    }
    Some(body.slice_ref(value.as_bytes()))
}

fn child<'a>(value: &'a str, token: &str) -> Option<&'a str> {
    if value.starts_with('{') {
        let members: HashMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(value).ok()?;
        members.get(token).map(|value| value.get())
    } else if value.starts_with('[') {
        let canonical = token == "0" || !token.starts_with(['0', '+']);
        let index: usize = token.parse().ok().filter(|_| canonical)?;
        let elements: Vec<&'a RawValue> = serde_json::from_str(value).ok()?;
        elements.get(index).map(|value| value.get())
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
