//! Reads the body of one reply: counted while it streams, discarded once nobody wants it.

use bytes::{Bytes, BytesMut};

use super::call::Progress;
use super::clients::Response;
use super::{Failure, Kind, Reservation};

/// Reads a body to its end, at most `most` bytes of it, into an account that holds nothing yet.
pub(super) async fn read(
    response: &mut Response,
    most: usize,
    reservation: Reservation,
    progress: &Progress,
) -> Result<(Bytes, Reservation), Failure> {
    let status = response.status().as_u16();
    let fail = |kind| Failure::after(kind, status);
    let announced = response.content_length().unwrap_or(0);
    if announced > most as u64 {
        return Err(fail(Kind::TooLarge));
    }
    let mut held = Held::new(reservation);
    let mut total = 0;
    while let Some(chunk) = response.chunk().await.map_err(fail)? {
        total += chunk.len();
        if total > most {
            return Err(fail(Kind::TooLarge));
        }
        if progress.is_unwanted() {
            held.clear();
        } else if !held.push(chunk, announced) {
            return Err(fail(Kind::Overloaded));
        }
    }
    Ok((held.body(), held.reservation))
}

/// Bytes read so far: one chunk as it came, or several put together.
struct Held {
    first: Bytes,
    joined: BytesMut,
    reservation: Reservation,
}

impl Held {
    fn new(reservation: Reservation) -> Self {
        Self {
            first: Bytes::new(),
            joined: BytesMut::new(),
            reservation,
        }
    }

    /// False when there is no room for the chunk.
    fn push(&mut self, chunk: Bytes, announced: u64) -> bool {
        if !self.reservation.grow(chunk.len()) {
            return false;
        }
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = chunk;
        } else {
            if self.joined.is_empty() {
                self.joined.reserve(usize::try_from(announced).unwrap_or(0));
                self.joined
                    .extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.joined.extend_from_slice(&chunk);
        }
        true
    }

    fn clear(&mut self) {
        self.first = Bytes::new();
        self.joined = BytesMut::new();
        self.reservation.clear();
    }

    fn body(&mut self) -> Bytes {
        if self.joined.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            std::mem::take(&mut self.joined).freeze()
        }
    }
}
