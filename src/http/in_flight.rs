//! How many gathers there are at once, in all and of one client, and whose answer gives way when
//! the service holds as much as it may.
//!
//! A client may leave its answers lying until `write_timeout`. From few addresses that would be
//! enough to keep everybody else out, so the last part of each limit is for those who hold little,
//! and an answer that is not taken ends as soon as another client needs its place or its bytes.

mod gather;
mod yielding;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::StatusCode;
use parking_lot::Mutex;

pub(super) use self::gather::{Gather, GaveWay, Holding};
use self::gather::{GatherHold, Place};
use self::yielding::{Gathers, Short};
use super::problem::{ProblemDetails, ProblemKind, RATELIMIT, RATELIMIT_POLICY, header};
use crate::client::{ClientKey, Cut};
use crate::metrics::{Held, Limit};
use crate::upstream::{Buffers, Share, for_every_client};

/// A client has one of this many shares of the last part of `max_in_flight`: few addresses do not fill
/// it either.
const SHARES_OF_THE_LAST: usize = 128;

/// The gathers of the process; outlives snapshots.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    places: Arc<AtomicUsize>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    clients: HashMap<ClientKey, Arc<Share>>,
    gathers: Gathers,
}

/// Who asks for a place.
pub(super) struct Newcomer {
    /// None of a client that is free of the limits of one client.
    pub(super) client: Option<ClientKey>,
    /// None where answers to other clients come by the same connection.
    pub(super) cut: Option<Arc<Cut>>,
}

/// The limits of the service.
#[derive(Clone, Copy)]
pub(super) struct Most {
    /// `max_in_flight`.
    pub(super) gathers: usize,
    /// `max_in_flight_per_client`.
    pub(super) of_client: usize,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// That of the service.
    Service,
    /// That of the client.
    Client,
}

impl InFlight {
    /// No gathers, of which answers give way when `buffers` are full.
    pub(super) fn new(buffers: &Buffers) -> Arc<Self> {
        let in_flight = Arc::new(Self::default());
        let weak = Arc::downgrade(&in_flight);
        buffers.relieved_by(move |share| {
            let in_flight = weak.upgrade();
            in_flight.is_some_and(|in_flight| in_flight.make_room(Short::Bytes, share))
        });
        in_flight
    }

    /// A place for a gather.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(super) fn enter(
        self: &Arc<Self>,
        newcomer: Newcomer,
        most: Most,
        counted: impl FnOnce() -> Held,
    ) -> Result<Places, Full> {
        let (places, is_alone) = self.enter_client(newcomer, most.of_client)?;
        let share = places.client.share().map(|share| &**share);
        let most = match share {
            Some(share) if !is_alone && !is_small(share, most.gathers) => {
                for_every_client(most.gathers)
            }
            _ => most.gathers,
        };
        loop {
            if let Some(hold) = self.take_place(most) {
                places.gather.begin(Place::new(hold, counted()));
                return Ok(places);
            }
            if !self.make_room(Short::Places, share) {
                return Err(Full::Service);
            }
        }
    }

    /// A place among those of the client alone, and whether there are no other clients.
    fn enter_client(
        self: &Arc<Self>,
        Newcomer { client, cut }: Newcomer,
        most: usize,
    ) -> Result<(Places, bool), Full> {
        let mut table = self.table.lock();
        let share = client.map(|client| table.clients.entry(client).or_default().clone());
        if share.as_ref().is_some_and(|share| !share.enter(most)) {
            return Err(Full::Client);
        }
        let gather = Arc::new(Gather::new(share.clone(), cut));
        let number = table.gathers.insert(&gather);
        let is_alone = table.clients.len() == 1;
        drop(table);
        let hold = ClientHold {
            in_flight: self.clone(),
            client: client.zip(share),
            number,
        };
        let client = Arc::new(hold);
        Ok((Places { gather, client }, is_alone))
    }

    fn take_place(self: &Arc<Self>, most: usize) -> Option<GatherHold> {
        let one_more = |places: usize| (places < most).then_some(places + 1);
        self.places
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(GatherHold::new(&self.places))
    }

    /// Has an answer that is not taken give way to a client of this share; false when there is none.
    fn make_room(&self, short: Short, share: Option<&Share>) -> bool {
        let gathers = share.map_or(0, Share::gathers);
        // What it holds is dropped when the table is not locked any more.
        let next = self.table.lock().gathers.next_to_yield(short, gathers);
        next.map(|gather| gather.give_way()).is_some()
    }
}

/// Whether the last part of `max_in_flight` is kept for a client like this.
fn is_small(share: &Share, most: usize) -> bool {
    let kept = most - for_every_client(most);
    share.gathers() <= (kept / SHARES_OF_THE_LAST).max(1)
}

impl Full {
    /// What it is counted as.
    pub(super) fn limit(self) -> Limit {
        match self {
            Self::Service => Limit::MaxInFlight,
            Self::Client => Limit::MaxInFlightPerClient,
        }
    }

    /// The answer to a gather for which there is no place among `most`.
    pub(super) fn problem(self, most: Most) -> ProblemDetails {
        if self == Self::Service {
            let detail = "the service has as many gathers as it may have at once";
            return ProblemDetails::overloaded(detail);
        }
        let detail = "this client has as many gathers as it may have at once";
        let status = StatusCode::TOO_MANY_REQUESTS;
        // draft-ietf-httpapi-ratelimit-headers-10 section 3.1.2.
        let most = most.of_client;
        let policy = format!("\"in-flight\";q={most};qu=\"concurrent-requests\"");
        ProblemDetails::new(ProblemKind::RateLimited, status, detail)
            .with_retry_after(1)
            .with_header(RATELIMIT_POLICY, header(&policy))
            .with_header(RATELIMIT, header("\"in-flight\";r=0;t=1"))
    }
}

/// The places of one gather: an extension of its request, until the handler takes them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Held until the response has left, or has given way.
    pub(super) gather: Arc<Gather>,
    /// Held until the response is over and the last call too.
    pub(super) client: Arc<ClientHold>,
}

/// One gather of a client; over when dropped.
#[derive(Debug)]
pub(super) struct ClientHold {
    in_flight: Arc<InFlight>,
    /// None of a client that is free of the limits of one client.
    client: Option<(ClientKey, Arc<Share>)>,
    number: u64,
}

impl ClientHold {
    /// What the client holds.
    pub(super) fn share(&self) -> Option<&Arc<Share>> {
        self.client.as_ref().map(|(_, share)| share)
    }
}

impl Drop for ClientHold {
    fn drop(&mut self) {
        let mut table = self.in_flight.table.lock();
        table.gathers.remove(self.number);
        if let Some((client, share)) = &self.client
            && share.leave()
        {
            table.clients.remove(client);
        }
    }
}

#[cfg(test)]
mod tests;
