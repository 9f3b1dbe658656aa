//! W3C Trace Context: which trace a request and its calls belong to.

use ::http::{HeaderMap, HeaderName, HeaderValue};

/// The header (W3C Trace Context, section 3.2).
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A trace, begun here or continued from a trusted peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// Its id in hexadecimal digits, which are needed more often than the number.
    digits: [u8; 32],
    sampled: bool,
}

impl Trace {
    /// A trace of our own.
    pub(super) fn begun() -> Self {
        // All zeroes would not be valid (section 3.2.2.3).
        Self::of(fastrand::u128(1..), true)
    }

    /// The trace that `headers` continue, if they hold one valid `traceparent`.
    pub(super) fn continued(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let value = lines.next()?.to_str().ok()?;
        let fields: Vec<&str> = value.split('-').collect();
        let [version, id, parent, flags, rest @ ..] = fields.as_slice() else {
            return None;
        };
        let known = *version != "ff" && (*version != "00" || rest.is_empty());
        if lines.next().is_some() || !known || hex(version, 2).is_none() {
            return None;
        }
        let id = hex(id, 32).filter(|id| *id != 0)?;
        hex(parent, 16).filter(|parent| *parent != 0)?;
        Some(Self::of(id, hex(flags, 2)? & 1 == 1))
    }

    fn of(id: u128, sampled: bool) -> Self {
        let mut digits = [0; 32];
        write_hex(&mut digits, &id.to_be_bytes());
        Self { digits, sampled }
    }

    /// The trace's id as a header.
    pub(super) fn id(self) -> HeaderValue {
        header(&self.digits)
    }

    /// The trace's id in 32 hexadecimal digits.
    pub(super) fn digits(&self) -> &str {
        str::from_utf8(&self.digits).unwrap_or_default()
    }

    /// The first of as many new spans as a gather has branches; the others' numbers follow it.
    pub(super) fn new_spans() -> u64 {
        fastrand::u64(1..u64::from(u32::MAX) << 32)
    }

    /// The header of one call: the trace, with its span as the parent.
    pub(super) fn header(self, span: u64) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&self.digits);
        text[36..52].copy_from_slice(&span_digits(span));
        text[54] = if self.sampled { b'1' } else { b'0' };
        header(&text)
    }
}

/// A span's id in 16 hexadecimal digits.
pub(super) fn span_digits(span: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    write_hex(&mut digits, &span.to_be_bytes());
    digits
}

/// Writes `bytes` as hexadecimal digits; `fmt` takes several times as long, and each call has 32.
fn write_hex(digits: &mut [u8], bytes: &[u8]) {
    let (pairs, _) = digits.as_chunks_mut();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(*byte)];
    }
}

/// Each byte in hexadecimal digits.
const PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// `digits` lower-case hexadecimal digits as a number.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(lower))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

fn header(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).expect("hexadecimal digits and dashes are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn continued(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, value.parse().unwrap());
        let header = Trace::continued(&headers)?.header(Trace::new_spans());
        Some(header.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_valid_trace_is_continued_with_a_span_of_our_own() {
        let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let ours = continued(theirs).unwrap();
        assert_eq!(ours[..36], theirs[..36]);
        assert_eq!(ours[52..], theirs[52..]);
        assert_ne!(ours, theirs);
        assert!(continued(&ours).is_some());
    }

    #[test]
    fn nonsense_begins_a_new_trace() {
        for nonsense in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(continued(nonsense), None, "{nonsense}");
        }
    }
}
