//! Chunks (RFC 9112 section 7.1): takes the framing out of a body, however its bytes are cut.

use httparse::EMPTY_HEADER;

/// Bytes of extensions, and of digits beyond those of the largest size, in all chunks of a body.
const MOST_OVERHEAD: usize = 16 * 1024;
/// Bytes of trailers.
const MOST_TRAILERS: usize = 16 * 1024;
/// Digits of the largest size.
const DIGITS: usize = 16;
/// Fields that trailers may have.
const TRAILER_FIELDS: usize = 128;

/// Where in its chunks a body is.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    digits: usize,
    overhead: usize,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Start,
    /// Among the digits; so large is the chunk by those that came.
    Size(u64),
    /// White space behind the digits.
    Space(u64),
    /// In an extension.
    Extension(u64),
    /// Before the line feed behind a size.
    SizeEnd(u64),
    /// So much of the chunk is left.
    Data(u64),
    /// Behind the data, before the carriage return.
    DataEnd,
    /// Before the line feed.
    DataLineEnd,
    /// In the trailers: at the start of a line or within it.
    Trailers,
    /// All has come.
    Over,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes of framing.
    Framing(usize),
    /// So many bytes of the body.
    Data(usize),
    /// So many bytes of framing, and with them the body is whole.
    End(usize),
}

impl Chunks {
    /// What the first of these bytes are, which are the next of the connection and at least one.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Piece, &'static str> {
        if let State::Data(left) = self.state {
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let left = left - taken as u64;
            self.state = if left == 0 {
                State::DataEnd
            } else {
                State::Data(left)
            };
            return Ok(Piece::Data(taken));
        }
        for (position, byte) in bytes.iter().enumerate() {
            self.state = self.after(*byte)?;
            match self.state {
                State::Data(_) => return Ok(Piece::Framing(position + 1)),
                State::Over => return Ok(Piece::End(position + 1)),
                _ => {}
            }
        }
        Ok(Piece::Framing(bytes.len()))
    }

    /// The state after one byte of framing.
    fn after(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::Start, _) => {
                self.digits = 0;
                self.digit(0, byte)
            }
            (State::Size(size), b' ' | b'\t') => Ok(State::Space(size)),
            (State::Space(size), b' ' | b'\t') => self.beyond(State::Space(size)),
            (State::Size(size) | State::Space(size), b';') => Ok(State::Extension(size)),
            (State::Size(size) | State::Space(size) | State::Extension(size), b'\r') => {
                Ok(State::SizeEnd(size))
            }
            (State::Size(size), _) => self.digit(size, byte),
            (State::Extension(_), b'\n') => Err("a chunk extension holds a line feed"),
            (State::Extension(size), _) => self.beyond(State::Extension(size)),
            (State::SizeEnd(0), b'\n') => Ok(State::Trailers),
            (State::SizeEnd(size), b'\n') => Ok(State::Data(size)),
            (State::DataEnd, b'\r') => Ok(State::DataLineEnd),
            (State::DataLineEnd, b'\n') => Ok(State::Start),
            (State::Trailers, _) => self.trailer(byte),
            _ => Err("a chunk is malformed"),
        }
    }

    fn digit(&mut self, size: u64, byte: u8) -> Result<State, &'static str> {
        let digit = char::from(byte).to_digit(16);
        let digit = digit.ok_or("the size of a chunk is malformed")?;
        self.digits += 1;
        if size >> 60 != 0 {
            return Err("the size of a chunk is too large");
        }
        let state = State::Size(size << 4 | u64::from(digit));
        if self.digits > DIGITS {
            return self.beyond(state);
        }
        Ok(state)
    }

    /// One more byte that brings nothing.
    fn beyond(&mut self, state: State) -> Result<State, &'static str> {
        self.overhead += 1;
        if self.overhead > MOST_OVERHEAD {
            return Err("the sizes and extensions of chunks are too long");
        }
        Ok(state)
    }

    /// One byte of the trailers, which end with an empty line.
    fn trailer(&mut self, byte: u8) -> Result<State, &'static str> {
        self.trailers.push(byte);
        if self.trailers.len() > MOST_TRAILERS {
            return Err("the trailers are too long");
        }
        if self.trailers != b"\r\n" && !self.trailers.ends_with(b"\r\n\r\n") {
            return Ok(State::Trailers);
        }
        // What they say is of no use, but a body with malformed ones is not whole.
        let mut fields = [EMPTY_HEADER; TRAILER_FIELDS];
        match httparse::parse_headers(&self.trailers, &mut fields) {
            // An empty line that ends with a line feed alone would hide what follows it.
            Ok(httparse::Status::Complete((length, _))) if length == self.trailers.len() => {
                Ok(State::Over)
            }
            _ => Err("the trailers are malformed"),
        }
    }
}
