//! Is a body one JSON document (RFC 8259), and where in it is what a pointer names (RFC 6901)?
//!
//! Bodies are embedded in answers as they came, so this is what keeps an answer valid. It is on the
//! path of every reply: one loop over the bytes, no recursion, no allocation.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::{Buf, Bytes};
use serde_json::value::RawValue;

/// How deep arrays and objects may be nested; one bit of [`Nesting`] each.
const MAX_DEPTH: u32 = u128::BITS;

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
    std::str::from_utf8(body).is_ok() && Scanner { rest: body }.document().is_some()
}

/// The part of `body`, which [`is_document`], that `pointer` names.
pub(super) fn select(body: &Bytes, pointer: &str) -> Option<Bytes> {
    let mut value: &str = std::str::from_utf8(body)
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

/// The arrays and objects that are open: one bit each, set for an object.
#[derive(Default)]
struct Nesting {
    objects: u128,
    depth: u32,
}

impl Nesting {
    fn open(&mut self, object: bool) -> Option<()> {
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        (self.depth <= MAX_DEPTH).then_some(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// What is left of a text. Every method consumes what it is named after, or gives nothing.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn document(&mut self) -> Option<()> {
        let mut nesting = Nesting::default();
        loop {
            // A value begins here.
            let opened = match self.token()? {
                b'{' => self.open(&mut nesting, true, b'}')?,
                b'[' => self.open(&mut nesting, false, b']')?,
                first => {
                    self.scalar(first)?;
                    false
                }
            };
            if opened {
                continue;
            }
            // A value has ended here: close what ends with it, up to the next value.
            loop {
                if nesting.depth == 0 {
                    return self.token().is_none().then_some(());
                }
                match (self.token()?, nesting.in_object()) {
                    (b',', false) => break,
                    (b',', true) => {
                        self.key()?;
                        break;
                    }
                    (b'}', true) | (b']', false) => nesting.close(),
                    _ => return None,
                }
            }
        }
    }

    /// After an opening bracket. True when a value follows, false when the bracket is closed already.
    fn open(&mut self, nesting: &mut Nesting, object: bool, closing: u8) -> Option<bool> {
        nesting.open(object)?;
        self.space();
        if self.rest.first() == Some(&closing) {
            self.rest = &self.rest[1..];
            nesting.close();
            return Some(false);
        }
        if object {
            self.key()?;
        }
        Some(true)
    }

    fn key(&mut self) -> Option<()> {
        if self.token()? != b'"' {
            return None;
        }
        self.string()?;
        (self.token()? == b':').then_some(())
    }

    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.string(),
            b't' => self.literal(b"rue"),
            b'f' => self.literal(b"alse"),
            b'n' => self.literal(b"ull"),
            b'-' | b'0'..=b'9' => self.number(first),
            _ => None,
        }
    }

    /// The next byte that is not white space.
    fn token(&mut self) -> Option<u8> {
        self.space();
        self.byte()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn space(&mut self) {
        // There is none between most tokens.
        if self.rest.first().is_some_and(|byte| *byte <= b' ') {
            self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        }
    }

    fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) -> usize {
        let end = self
            .rest
            .iter()
            .position(|byte| !belongs(*byte))
            .unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
        end
    }

    fn literal(&mut self, rest: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(rest)?;
        Some(())
    }

    /// The rest of a string, after its opening quote.
    fn string(&mut self) -> Option<()> {
        loop {
            self.plain_text();
            match self.byte()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// What of a string stands for itself. Most strings end soon; of the others, whole blocks are passed
    /// over, without a branch per byte.
    fn plain_text(&mut self) {
        while let Some(block) = self.rest.first_chunk() {
            let ends = ends_of_plain_text(u64::from_le_bytes(*block));
            if ends != 0 {
                self.rest = &self.rest[ends.trailing_zeros() as usize / 8..];
                return;
            }
            self.rest = &self.rest[block.len()..];
            while let Some((block, rest)) = self.rest.split_first_chunk::<32>()
                && block
                    .iter()
                    .fold(true, |plain, byte| plain & is_plain(*byte))
            {
                self.rest = rest;
            }
        }
        self.skip_while(is_plain);
    }

    fn escape(&mut self) -> Option<()> {
        match self.byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let (digits, rest) = self.rest.split_at_checked(4)?;
                self.rest = rest;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn number(&mut self, first: u8) -> Option<()> {
        let leading = if first == b'-' { self.byte()? } else { first };
        match leading {
            b'0' => {}
            b'1'..=b'9' => {
                self.skip_while(|byte| byte.is_ascii_digit());
            }
            _ => return None,
        }
        if self.rest.first() == Some(&b'.') {
            self.rest = &self.rest[1..];
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.rest.first() {
            self.rest = &self.rest[1..];
            if let Some(b'+' | b'-') = self.rest.first() {
                self.rest = &self.rest[1..];
            }
            self.digits()?;
        }
        Some(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<()> {
        (self.skip_while(|byte| byte.is_ascii_digit()) > 0).then_some(())
    }
}

/// Whether a byte of a string stands for itself.
fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

/// The same of eight bytes, the first of them the lowest: the lowest bit that is set is the highest of the
/// first byte that does not stand for itself. Above that one, bits may be set for others too.
fn ends_of_plain_text(block: u64) -> u64 {
    const ONE_EACH: u64 = u64::from_ne_bytes([1; 8]);
    let below = |bytes: u64, limit: u8| {
        // A byte that is less borrows from the next, and so sets its own highest bit.
        bytes.wrapping_sub(ONE_EACH * u64::from(limit)) & !bytes
    };
    let is = |byte: u8| below(block ^ (ONE_EACH * u64::from(byte)), 1);
    (below(block, b' ') | is(b'"') | is(b'\\')) & (ONE_EACH << 7)
}

#[cfg(test)]
mod tests;
