//! One HTTP/1 reply as its bytes come in: its interim heads, its head, its body (RFC 9112).
//!
//! No I/O and no clock: bytes in, however they are cut, and what they are worth out.

use ::http::StatusCode;

use super::chunked::{Chunks, Piece};
use super::head::{self, Framing, Head};
use crate::upstream::body::ReplyBody;
use crate::upstream::failure::{Kind, is_success};
use crate::upstream::head_limits::{MAX_HEAD, MAX_INTERIM};

/// Up to this length an incomplete head is parsed whenever bytes of it come, so that what is no HTTP at
/// all is seen at once.
const BEGINNING: usize = 16;

/// A reply that is being read.
#[derive(Debug, Default)]
pub(super) struct Reply {
    state: State,
    head: Option<Head>,
    /// Interim heads (1xx) before the head.
    interim: usize,
    /// Whether any byte of it has come.
    has_begun: bool,
    /// Whether bytes came behind its end.
    has_excess: bool,
}

#[derive(Debug)]
enum State {
    /// A head that is not whole.
    Head(Unfinished),
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Over,
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Unfinished::default())
    }
}

/// What came of a head that is not whole.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    pub(super) bytes: Vec<u8>,
    /// So many of them were parsed in vain.
    pub(super) parsed: usize,
}

impl Unfinished {
    /// Whether to parse it, now that bytes came behind the `before` of before: when it may be whole, or has
    /// doubled. A head that comes in many small pieces must not be parsed as often.
    pub(super) fn is_due(&self, before: usize) -> bool {
        let new = &self.bytes[before.saturating_sub(2)..];
        let ends_in = |end: &[u8]| new.windows(end.len()).any(|window| window == end);
        before < BEGINNING
            || self.bytes.len() >= 2 * self.parsed
            || ends_in(b"\n\n")
            || ends_in(b"\n\r\n")
    }
}

/// What is wrong with a reply: where it falls, and the cause in words.
pub(super) type Malformed = (Kind, &'static str);

impl Reply {
    /// The head, once it is whole.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Whether any byte of it has come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether all of it has come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether its connection may carry another request: it ended exactly at the last byte that came.
    pub(super) fn leaves_connection(&self) -> bool {
        self.is_over() && !self.has_excess && self.head.is_some_and(|head| head.keeps_alive)
    }

    /// Bytes that are left of a body of known length.
    pub(super) fn left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// The next bytes of the connection. Those of the body go to `body`, which refuses them when the
    /// status says that they count for nothing: then what is wrong with them only ends the connection.
    ///
    /// # Errors
    /// When they are no HTTP/1 reply, or more than `body` takes.
    pub(super) fn read(&mut self, bytes: &[u8], body: &mut ReplyBody) -> Result<(), Malformed> {
        let result = self.read_all(bytes, body);
        if result.is_err() && self.head.is_some_and(|head| !is_success(head.status)) {
            self.has_excess = true;
            self.state = State::Over;
            return Ok(());
        }
        result
    }

    fn read_all(&mut self, mut bytes: &[u8], body: &mut ReplyBody) -> Result<(), Malformed> {
        self.has_begun |= !bytes.is_empty();
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::Head(_) => self.read_head(bytes, body)?,
                State::Length(left) => {
                    let taken = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    push(body, &bytes[..taken])?;
                    self.took(taken);
                    taken
                }
                State::Chunked(chunks) => {
                    let piece = chunks
                        .next(bytes)
                        .map_err(|words| (Kind::Protocol, words))?;
                    match piece {
                        Piece::Framing(taken) => taken,
                        Piece::Data(taken) => {
                            push(body, &bytes[..taken])?;
                            taken
                        }
                        Piece::End(taken) => {
                            self.state = State::Over;
                            taken
                        }
                    }
                }
                State::UntilClose => {
                    push(body, bytes)?;
                    bytes.len()
                }
                State::Over => {
                    self.has_excess = true;
                    return Ok(());
                }
            };
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// So many bytes of a body of known length went where they belong.
    pub(super) fn took(&mut self, taken: usize) {
        if let State::Length(left) = &mut self.state {
            *left = left.saturating_sub(taken as u64);
            if *left == 0 {
                self.state = State::Over;
            }
        }
    }

    /// The connection ended in good order.
    ///
    /// # Errors
    /// When the reply is not whole by that.
    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        if matches!(self.state, State::UntilClose) {
            self.state = State::Over;
        }
        match &self.state {
            State::Over => return Ok(()),
            // What is no HTTP is not said to have ended early.
            State::Head(head) if head.parsed < head.bytes.len() => {
                parse(&head.bytes)?;
            }
            _ => {}
        }
        Err((Kind::Reset, "the connection ended before the reply did"))
    }

    /// Reads a head from what has come of it and `bytes`. Gives how many of these it took.
    fn read_head(&mut self, bytes: &[u8], body: &mut ReplyBody) -> Result<usize, Malformed> {
        let State::Head(head) = &mut self.state else {
            return Ok(0);
        };
        let before = head.bytes.len();
        if before > 0 {
            head.bytes.extend_from_slice(bytes);
        }
        let all = if before > 0 { &head.bytes[..] } else { bytes };
        let is_due = before == 0 || head.is_due(before);
        let parsed = if is_due { parse(all)? } else { None };
        let length = parsed.map_or(all.len(), |(_, length)| length);
        if length > MAX_HEAD {
            return Err((Kind::Protocol, "the head is too large"));
        }
        let Some((parsed, length)) = parsed else {
            if before == 0 {
                head.bytes.extend_from_slice(bytes);
            }
            if is_due {
                head.parsed = head.bytes.len();
            }
            return Ok(bytes.len());
        };
        self.begin_body(parsed, body)?;
        // What came before was not whole, so the end is among the new bytes.
        Ok(length.saturating_sub(before))
    }

    fn begin_body(&mut self, head: Head, body: &mut ReplyBody) -> Result<(), Malformed> {
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err((Kind::Protocol, "interim replies come without end"));
            }
            self.state = State::default();
            return Ok(());
        }
        self.head = Some(head);
        if !is_success(head.status) {
            body.refuse();
        }
        self.state = match head.framing {
            Framing::Length(0) => State::Over,
            Framing::Length(length) => {
                body.expect(length).map_err(too_much)?;
                State::Length(length)
            }
            Framing::Chunked => State::Chunked(Chunks::default()),
            Framing::UntilClose => State::UntilClose,
        };
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    head::parse(bytes).map_err(|words| (Kind::Protocol, words))
}

fn push(body: &mut ReplyBody, bytes: &[u8]) -> Result<(), Malformed> {
    body.push(bytes).map_err(too_much)
}

/// Why a body did not take its bytes.
pub(super) fn too_much(kind: Kind) -> Malformed {
    match kind {
        Kind::TooLarge => (kind, "the body is larger than max_response"),
        _ => (kind, "max_buffered is used up"),
    }
}
