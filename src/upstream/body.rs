//! Reads the body of one reply: counted while it streams, discarded once nobody wants it.

use bytes::{Bytes, BytesMut};

use super::call::Progress;
use super::clients::Response;
use super::{Failure, Kind, Reservation};

/// A chunk shares the buffer that its connection reads into, which has 8 KB and more. One of so few bytes
/// is copied, so that while a gather waits for others, it holds about what it is counted to hold.
const SMALL: usize = 4 * 1024;

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
            self.first = if chunk.len() > SMALL {
                chunk
            } else {
                Bytes::copy_from_slice(&chunk)
            };
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

#[cfg(test)]
mod tests {
    use super::super::buffers::Buffers;
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_small_body_leaves_the_buffer_it_came_in_and_a_large_one_is_not_copied() {
        let buffers = Buffers::new(1 << 20, Metrics::new().load.clone());
        for (length, is_copied) in [(1, true), (SMALL, true), (SMALL + 1, false)] {
            let came = Bytes::from(vec![b'1'; length]);
            let mut held = Held::new(Reservation::new(&buffers, None));
            assert!(held.push(came.clone(), 0));
            let body = held.body();
            assert_eq!(body, came);
            assert_eq!(body.as_ptr() != came.as_ptr(), is_copied, "{length}");
            assert_eq!(buffers.held(), length);
        }
    }
}
