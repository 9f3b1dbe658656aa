//! Numbers, the three literals, and what follows a backslash.

use super::bits::low_first;

/// Whether `rest` begins with a number or a literal that ends where another token may begin.
#[inline]
pub(super) fn begins(rest: &[u8]) -> Option<()> {
    let rest = match rest.first()? {
        b't' => rest.strip_prefix(b"true")?,
        b'f' => rest.strip_prefix(b"false")?,
        b'n' => rest.strip_prefix(b"null")?,
        _ => {
            let rest = after_integer(rest)?;
            if is_end(rest) {
                return Some(());
            }
            after_exponent(after_fraction(rest)?)?
        }
    };
    is_end(rest).then_some(())
}

#[inline]
fn is_end(rest: &[u8]) -> bool {
    rest.first().is_none_or(|byte| ENDS[usize::from(*byte)])
}

/// The bytes that are white space or belong to another token.
const ENDS: [bool; 256] = {
    let mut ends = [false; 256];
    let mut bytes: &[u8] = b" \t\n\r,:[]{}\"";
    while let [byte, rest @ ..] = bytes {
        ends[*byte as usize] = true;
        bytes = rest;
    }
    ends
};

#[inline]
fn after_integer(rest: &[u8]) -> Option<&[u8]> {
    match rest.strip_prefix(b"-").unwrap_or(rest) {
        [b'0', rest @ ..] => Some(rest),
        rest => after_digits(rest),
    }
}

#[inline]
fn after_fraction(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'.', digits @ ..] => after_digits(digits),
        _ => Some(rest),
    }
}

#[inline]
fn after_exponent(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'e' | b'E', b'+' | b'-', digits @ ..] | [b'e' | b'E', digits @ ..] => {
            after_digits(digits)
        }
        _ => Some(rest),
    }
}

/// After at least one digit. Eight bytes are looked at as one number.
#[inline]
fn after_digits(mut rest: &[u8]) -> Option<&[u8]> {
    let mut ends = ends_of_digits(rest);
    if ends & 0xff != 0 {
        return None;
    }
    while ends == 0 {
        rest = rest.get(8..)?;
        ends = ends_of_digits(rest);
    }
    rest.get(ends.trailing_zeros() as usize / 8..)
}

/// The lowest bit that is set is the highest of the first byte of `rest` that is no digit. Above that
/// one, bits may be set for others too. There is such a byte where less than eight are left.
#[inline]
fn ends_of_digits(rest: &[u8]) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let bytes = match rest.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => low_first(rest),
    };
    // Digits are 0 to 9 now; any other byte has its highest bit already, or gets it from the sum.
    let values = bytes ^ (EACH * u64::from(b'0'));
    (values.wrapping_add(EACH * (0x80 - 10)) | values) & (EACH << 7)
}

/// Whether `rest`, which follows a backslash, makes an escape with it.
#[inline]
pub(super) fn is_escape(rest: &[u8]) -> bool {
    match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => true,
        [b'u', digits @ ..] => digits
            .first_chunk::<4>()
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        _ => false,
    }
}
