//! The body of one reply as it comes in: counted, bounded, and discarded once it is not wanted.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::buffers::Reservation;
use super::failure::Kind;
use super::progress::Progress;

/// The most that is read of a body that counts for nothing, so that its connection survives.
const MOST_REFUSED: usize = 64 * 1024;

/// The body of a reply. Holds exactly the bytes that its reservation counts.
#[derive(Debug)]
pub(super) struct ReplyBody {
    bytes: Vec<u8>,
    /// Bytes that came, those that were discarded included.
    came: usize,
    /// Bytes that the reservation holds, of which not all need have come.
    held: usize,
    most: usize,
    is_refused: bool,
    reservation: Reservation,
    progress: Arc<Progress>,
}

impl ReplyBody {
    /// A body of at most `most` bytes, of which none have come, with an account that holds nothing.
    pub(super) fn new(most: usize, reservation: Reservation, progress: Arc<Progress>) -> Self {
        Self {
            bytes: Vec::new(),
            came: 0,
            held: 0,
            most,
            is_refused: false,
            reservation,
            progress,
        }
    }

    /// What comes from now on counts for nothing; 64 KiB of it are read.
    pub(super) fn refuse(&mut self) {
        self.is_refused = true;
        self.most = MOST_REFUSED;
        self.discard();
    }

    /// Its head announces `length` bytes.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] when those are too many, [`Kind::Overloaded`] when there is no room for them:
    /// before the first has come, since those of a reply that does not fit at its end were for nothing.
    pub(super) fn expect(&mut self, length: u64) -> Result<(), Kind> {
        // What is refused is read as far as it may be, and no further.
        if self.is_refused {
            return Ok(());
        }
        let length = usize::try_from(length).ok();
        let length = length.filter(|length| *length <= self.most);
        let length = length.ok_or(Kind::TooLarge)?;
        if self.is_wanted() {
            self.hold(length)?;
            self.bytes.reserve_exact(length);
        }
        Ok(())
    }

    /// The next bytes.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] over the most, [`Kind::Overloaded`] when there is no room for them.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Kind> {
        self.account(bytes.len())?;
        if self.is_wanted() {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Room for the next `length` bytes at most, to be read into; [`Self::filled`] says how many came.
    pub(super) fn room(&mut self, length: usize) -> impl BufMut + '_ {
        (&mut self.bytes).limit(length)
    }

    /// So many bytes came into the room.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn filled(&mut self, length: usize) -> Result<(), Kind> {
        self.account(length)
    }

    fn account(&mut self, more: usize) -> Result<(), Kind> {
        self.came = self.came.saturating_add(more);
        if self.came > self.most {
            return Err(Kind::TooLarge);
        }
        if !self.is_wanted() {
            self.discard();
        } else if self.came > self.held {
            self.hold(self.came - self.held)?;
        }
        Ok(())
    }

    fn hold(&mut self, more: usize) -> Result<(), Kind> {
        if !self.reservation.grow(more) {
            return Err(Kind::Overloaded);
        }
        self.held += more;
        Ok(())
    }

    /// Whether its bytes are wanted.
    pub(super) fn is_wanted(&self) -> bool {
        !self.is_refused && !self.progress.is_unwanted()
    }

    fn discard(&mut self) {
        self.bytes = Vec::new();
        self.reservation.clear();
    }

    /// The whole body, and the account of its bytes.
    pub(super) fn into_parts(self) -> (Bytes, Reservation) {
        // Without what a body of unknown length has reserved for more.
        (Bytes::from(self.bytes.into_boxed_slice()), self.reservation)
    }
}
