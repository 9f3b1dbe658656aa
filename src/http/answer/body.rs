//! The body of a gathered answer: small ones as one piece, large ones without a copy.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use crate::http::in_flight::Places;
use crate::upstream::{Reply, Reservation};

/// Up to this many bytes, one copy is cheaper than several pieces to write.
const SMALL: usize = 16 * 1024;

/// The most of a body that is handed over at once: what a slow client must take within
/// `write_timeout`, since progress is noticed piece by piece.
const FRAME: usize = 16 * 1024;

/// The pieces of a body that is being put together.
pub(super) struct Segments {
    pieces: Vec<Bytes>,
    reservations: Vec<Reservation>,
    has_elements: bool,
}

impl Segments {
    /// Without a piece, and with room for a reply of each branch.
    pub(super) fn new(branches: usize) -> Self {
        Self {
            // What stands before each, and the end.
            pieces: Vec::with_capacity(2 * branches + 1),
            reservations: Vec::with_capacity(branches),
            has_elements: false,
        }
    }

    /// Begins the next element of an array.
    pub(super) fn push_element(&mut self) {
        let separator: &[u8] = if self.has_elements { b"," } else { b"[" };
        self.pieces.push(Bytes::from_static(separator));
        self.has_elements = true;
    }

    /// Begins the next member of an object. Names are plain words and need no escaping.
    pub(super) fn push_member(&mut self, name: &str) {
        let separator = if self.has_elements { ',' } else { '{' };
        self.pieces
            .push(Bytes::from(format!("{separator}\"{name}\":")));
        self.has_elements = true;
    }

    /// A reply, as it came.
    pub(super) fn push_reply(&mut self, reply: Reply) {
        self.pieces.push(reply.body);
        self.reservations.push(reply.reservation);
    }

    /// Ends an array.
    pub(super) fn end_array(&mut self) {
        self.pieces.push(Bytes::from_static(if self.has_elements {
            b"]"
        } else {
            b"[]"
        }));
    }

    /// Ends an object.
    pub(super) fn end_object(&mut self) {
        self.pieces.push(Bytes::from_static(if self.has_elements {
            b"}"
        } else {
            b"{}"
        }));
    }

    /// The finished body.
    pub(super) fn into_body(self, places: Places) -> AnswerBody {
        let length: usize = self.pieces.iter().map(Bytes::len).sum();
        let pieces = if self.pieces.len() > 1 && length <= SMALL {
            let mut joined = BytesMut::with_capacity(length);
            self.pieces.into_iter().for_each(|piece| joined.put(piece));
            VecDeque::from([joined.freeze()])
        } else {
            self.pieces.into()
        };
        AnswerBody {
            pieces,
            left: length as u64,
            _reservations: self.reservations,
            _places: places,
        }
    }
}

/// A body of known length. What it holds counts as held until it has been sent or dropped.
pub(super) struct AnswerBody {
    pieces: VecDeque<Bytes>,
    left: u64,
    _reservations: Vec<Reservation>,
    _places: Places,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.pieces.front_mut() else {
            return Poll::Ready(None);
        };
        // No more at once than a connection may hold back, or a slow client looks like a fast one.
        let frame = piece.split_to(piece.len().min(FRAME));
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        self.left -= frame.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
