//! The head of an HTTP/1 reply, and how it says that its body is framed (RFC 9112 section 6.3).

use ::http::StatusCode;
use httparse::{EMPTY_HEADER, Header, Response, Status};

/// Fields of a head that are parsed without memory of their own.
const USUAL_FIELDS: usize = 48;
/// So many bytes of empty lines before a head are too many.
const TOO_MANY_EMPTY: usize = 16;

/// What of a head matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The status; 1xx among them.
    pub(super) status: StatusCode,
    /// How long the body is.
    pub(super) framing: Framing,
    /// Whether the connection may carry another request when the reply is whole.
    pub(super) keeps_alive: bool,
    /// When the upstream wants to be asked again, in seconds; 1 where it names a date.
    pub(super) retry_after: Option<u32>,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; 0 for a status that has no body.
    Length(u64),
    /// By its last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// The head at the beginning of `bytes`, and its length; none while it is not whole.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, &'static str> {
    // No server sends any; some send one behind a body. Others have no end.
    let beginning = bytes.first_chunk::<TOO_MANY_EMPTY>();
    if beginning.is_some_and(|bytes| bytes.iter().all(|byte| b"\r\n".contains(byte))) {
        return Err("empty lines come without end");
    }
    let parsed = match parse_with(bytes, &mut [EMPTY_HEADER; USUAL_FIELDS]) {
        Err(Malformed::Syntax(httparse::Error::TooManyHeaders)) => {
            // A head is bounded by its bytes, not by its lines.
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            parse_with(bytes, &mut vec![EMPTY_HEADER; lines + 1])
        }
        Err(Malformed::Syntax(httparse::Error::Version)) => {
            // A later minor version is read as the latest that is known (RFC 9110 section 2.5).
            let bytes = as_1_1(bytes).ok_or("it does not begin with HTTP/1")?;
            return parse(&bytes);
        }
        parsed => parsed,
    };
    parsed.map_err(Malformed::in_words)
}

/// Why a head cannot be used.
enum Malformed {
    Syntax(httparse::Error),
    Framing(&'static str),
}

impl Malformed {
    fn in_words(self) -> &'static str {
        match self {
            Self::Framing(words) => words,
            Self::Syntax(httparse::Error::HeaderName) => "a field name of the head is malformed",
            Self::Syntax(httparse::Error::HeaderValue) => "a field value of the head is malformed",
            Self::Syntax(httparse::Error::NewLine) => "a line of the head ends wrongly",
            Self::Syntax(_) => "the status line is malformed",
        }
    }
}

fn parse_with<'a>(
    bytes: &'a [u8],
    fields: &mut [Header<'a>],
) -> Result<Option<(Head, usize)>, Malformed> {
    let mut response = Response::new(fields);
    let Status::Complete(length) = response.parse(bytes).map_err(Malformed::Syntax)? else {
        return Ok(None);
    };
    let code = response.code.unwrap_or_default();
    let status = StatusCode::from_u16(code)
        .map_err(|_| Malformed::Framing("the status is no number from 100"))?;
    let fields = Fields::read(response.headers).map_err(Malformed::Framing)?;
    let is_1_1 = response.version == Some(1);
    Ok(Some((fields.head(status, is_1_1), length)))
}

/// The same head with version 1.1, where it has a later one that is compatible.
fn as_1_1(bytes: &[u8]) -> Option<Vec<u8>> {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte))?;
    let minor = start + b"HTTP/1.".len();
    let is_later =
        bytes[start..].starts_with(b"HTTP/1.") && matches!(bytes.get(minor), Some(b'2'..=b'9'));
    is_later.then(|| {
        let mut copy = bytes.to_vec();
        copy[minor] = b'1';
        copy
    })
}

/// What the fields say of the body and the connection.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    is_encoded: bool,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
    retry_after: Option<u32>,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Self, &'static str> {
        let mut fields = Self::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                fields.content_length(header.value)?;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                fields.is_encoded = true;
                fields.transfer_encoding(header.value)?;
            } else if header.name.eq_ignore_ascii_case("retry-after") {
                let seconds = std::str::from_utf8(header.value).ok();
                let seconds = seconds.and_then(|text| text.trim().parse().ok());
                fields.retry_after = Some(seconds.unwrap_or(1));
            } else if header.name.eq_ignore_ascii_case("connection") {
                for option in elements(header.value) {
                    fields.close |= option.eq_ignore_ascii_case(b"close");
                    fields.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(fields)
    }

    /// One number, or the same number several times (RFC 9112 section 6.3, item 5).
    fn content_length(&mut self, value: &[u8]) -> Result<(), &'static str> {
        const MALFORMED: &str = "content-length is no number, or several";
        for element in value.split(|byte| *byte == b',') {
            let digits = element.trim_ascii();
            let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(digits).ok().filter(|_| is_number);
            let length = number.and_then(|number| number.parse().ok());
            match (length, self.length) {
                (Some(length), None) => self.length = Some(length),
                (Some(length), Some(before)) if length == before => {}
                _ => return Err(MALFORMED),
            }
        }
        Ok(())
    }

    /// Chunked, once, is what was asked for. `identity` is no coding any more, and says nothing
    /// (RFC 7230 appendix A.2).
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), &'static str> {
        for coding in elements(value) {
            if coding.eq_ignore_ascii_case(b"chunked") && !self.is_chunked {
                self.is_chunked = true;
            } else if !coding.eq_ignore_ascii_case(b"identity") || self.is_chunked {
                return Err("transfer-encoding is something else than chunked");
            }
        }
        Ok(())
    }

    fn head(&self, status: StatusCode, is_1_1: bool) -> Head {
        let has_no_body = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        let framing = match self.length {
            _ if has_no_body => Framing::Length(0),
            _ if self.is_chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        };
        // A coding beside a length or in a reply of HTTP/1.0, and a body announced where there is none, are
        // signs of a faulty peer: what is behind such a reply is not believed (RFC 9112 section 6.1,
        // RFC 9110 section 8.6).
        let has_length = self.length.is_some_and(|length| length > 0);
        let is_certain = match status {
            StatusCode::NO_CONTENT => !self.is_encoded && !has_length,
            _ => !self.is_encoded || (self.length.is_none() && is_1_1),
        };
        let is_kept = !self.close && (is_1_1 || self.keep_alive);
        Head {
            status,
            framing,
            retry_after: self.retry_after,
            keeps_alive: is_kept
                && is_certain
                && framing != Framing::UntilClose
                && status != StatusCode::SWITCHING_PROTOCOLS,
        }
    }
}

/// The elements of a list, the empty ones left out (RFC 9110 section 5.6.1.2).
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}
