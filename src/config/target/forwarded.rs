//! Query parameters that are passed on as they came.

use super::{BadParameter, check_value, push_encoded};

/// A query parameter that is passed on.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// Its name, as `forward_query` says it.
    pub name: &'a str,
    /// Name and value as they came, between two `&`.
    pub raw: &'a str,
}

impl Forwarded<'_> {
    /// Refuses a value with control characters.
    pub(super) fn check(&self) -> Result<(), BadParameter> {
        let decoded = url::form_urlencoded::parse(self.raw.as_bytes());
        decoded
            .map(|(_, value)| value)
            .try_for_each(|value| check_value(self.name, &value))
    }

    /// As it came, but for what has no place in a query (RFC 3986 section 3.4): that is percent-encoded,
    /// so that it is decoded to the same bytes. So is `;`, since for some upstreams another parameter
    /// begins behind it (HTML 4.01, appendix B.2.2), and only this one was asked for.
    pub(super) fn encode(&self, into: &mut String) {
        for byte in self.raw.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@/?%".contains(&byte) {
                into.push(char::from(byte));
            } else {
                push_encoded(byte, into);
            }
        }
    }
}
