//! One gather: its place, and its answer as far as it has not left.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::client::Cut;
use crate::metrics::Held;
use crate::upstream::{Reply, Reservation, Share};

/// A gather that has its place until its response has left, or has given way.
#[derive(Debug)]
pub(in crate::http) struct Gather {
    share: Option<Arc<Share>>,
    cut: Option<Arc<Cut>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    place: Option<Place>,
    answer: Option<Answer>,
}

/// One of the gathers of the service; over when dropped.
#[derive(Debug)]
pub(super) struct GatherHold {
    places: Arc<AtomicUsize>,
}

impl GatherHold {
    /// One that is counted in `places` already.
    pub(super) fn new(places: &Arc<AtomicUsize>) -> Self {
        Self {
            places: places.clone(),
        }
    }
}

impl Drop for GatherHold {
    fn drop(&mut self) {
        self.places.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among `max_in_flight`.
#[derive(Debug)]
pub(super) struct Place {
    _hold: GatherHold,
    _counted: Held,
}

/// A whole answer, as far as its connection has not asked for it.
#[derive(Debug)]
struct Answer {
    pieces: VecDeque<Bytes>,
    _holdings: Vec<Holding>,
    /// When the connection last asked for some of it.
    asked: Instant,
}

/// The account of a reply's bytes, for as long as an answer has them.
#[derive(Debug)]
pub(in crate::http) enum Holding {
    /// They are this answer's.
    Own { _reservation: Reservation },
    /// Other answers have them too, or the cache.
    Shared { _reply: Arc<Reply> },
}

/// An answer was taken back: its client did not take it, and others needed its place.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct GaveWay;

impl fmt::Display for GaveWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer gave way to others")
    }
}

impl Error for GaveWay {}

impl Place {
    /// The place of a gather that is counted.
    pub(super) fn new(hold: GatherHold, counted: Held) -> Self {
        Self {
            _hold: hold,
            _counted: counted,
        }
    }
}

impl Gather {
    /// One that has no place yet, of a client with this share, over a connection that `cut` ends.
    pub(super) fn new(share: Option<Arc<Share>>, cut: Option<Arc<Cut>>) -> Self {
        Self {
            share,
            cut,
            state: Mutex::default(),
        }
    }

    /// It has its place.
    pub(super) fn begin(&self, place: Place) {
        self.state.lock().place = Some(place);
    }

    /// It is over, and this is the answer, of which nothing has left.
    pub(in crate::http) fn answer(&self, pieces: VecDeque<Bytes>, holdings: Vec<Holding>) {
        self.state.lock().answer = Some(Answer {
            pieces,
            _holdings: holdings,
            asked: Instant::now(),
        });
    }

    /// The next bytes of the answer, `most` of them; none after the last.
    ///
    /// # Errors
    /// When it gave way.
    pub(in crate::http) fn next_bytes(&self, most: usize) -> Result<Option<Bytes>, GaveWay> {
        let mut state = self.state.lock();
        let answer = state.answer.as_mut().ok_or(GaveWay)?;
        answer.asked = Instant::now();
        let Some(piece) = answer.pieces.front_mut() else {
            return Ok(None);
        };
        let next = piece.split_to(piece.len().min(most));
        if piece.is_empty() {
            answer.pieces.pop_front();
        }
        Ok(Some(match self.cut {
            Some(_) => next,
            // It stays in the connection when the answer gives way, and must not keep the whole reply.
            None => Bytes::copy_from_slice(&next),
        }))
    }

    /// Since when nothing was asked of the answer, if there is one.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.state.lock().answer.as_ref().map(|answer| answer.asked)
    }

    /// What its client holds; none of one that is free of the limits of one client.
    pub(super) fn share(&self) -> Option<&Share> {
        self.share.as_deref()
    }

    /// Gives up its place, its bytes, and the connection if no other client has answers there.
    pub(super) fn give_way(&self) {
        let state = std::mem::take(&mut *self.state.lock());
        drop(state);
        if let Some(cut) = &self.cut {
            cut.cut();
        }
    }
}
