//! The body of a gathered answer: small ones as one piece, large ones without a copy.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use crate::http::in_flight::{GaveWay, Holding, Places};

/// Up to this many bytes, one copy is cheaper than several pieces to write.
const SMALL: usize = 16 * 1024;

/// The most of a body that is handed over at once: what a slow client must take within
/// `write_timeout`, since progress is noticed piece by piece.
const FRAME: usize = 16 * 1024;

/// The pieces of a body that is being put together.
pub(super) struct Segments {
    pieces: Vec<Bytes>,
    holdings: Vec<Holding>,
    has_elements: bool,
}

impl Segments {
    /// Without a piece, and with room for a reply of each branch.
    pub(super) fn new(branches: usize) -> Self {
        Self {
            // What stands before each, and the end.
            pieces: Vec::with_capacity(2 * branches + 1),
            holdings: Vec::with_capacity(branches),
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

    /// The body of a reply, as it came.
    pub(super) fn push_reply(&mut self, (body, holding): (Bytes, Holding)) {
        self.pieces.push(body);
        self.holdings.push(holding);
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
        places.gather.answer(pieces, self.holdings);
        AnswerBody {
            left: length as u64,
            places,
        }
    }
}

/// A body of known length. What it holds counts as held until it has been sent or dropped, or has
/// given way to others.
pub(super) struct AnswerBody {
    left: u64,
    places: Places,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = GaveWay;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GaveWay>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // No more at once than a connection may hold back, or a slow client looks like a fast one.
        let next = self.places.gather.next_bytes(FRAME);
        if let Ok(Some(bytes)) = &next {
            self.left -= bytes.len() as u64;
        }
        Poll::Ready(next.transpose().map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
