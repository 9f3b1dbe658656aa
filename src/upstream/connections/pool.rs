//! What connections there are, who waits for one, and who gets which.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::UpstreamSettings;
use crate::upstream::addresses::{Address, Addresses, CallOn};
use crate::upstream::dial::{Connection, Offer};
use crate::upstream::failure::Broken;
use crate::upstream::{http1, http2};

/// What one call may send its request on.
#[derive(Debug)]
pub(in crate::upstream) enum Lease {
    /// A connection of its own.
    Http1(http1::Connection, CallOn),
    /// A place on a connection of many.
    Http2(Arc<http2::Connection>, CallOn),
}

/// Which connections a call may have.
#[derive(Clone, Debug, Default)]
pub(in crate::upstream) struct Wish {
    /// None that was kept over HTTP/1.1: where one had died, the others may have too.
    pub(in crate::upstream) is_fresh: bool,
    /// Not this address, if there is another.
    pub(in crate::upstream) avoid: Option<Arc<Address>>,
    /// Not this connection.
    pub(in crate::upstream) except: Option<Arc<http2::Connection>>,
}

/// What the upstream spoke on the connection that was opened last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with so many calls on a connection.
    Http2(usize),
}

/// A call that waits for a connection.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Where the connection goes, or why there is none.
    pub(super) lease: oneshot::Sender<Result<Lease, Broken>>,
    /// Since when it waits.
    pub(super) since: Instant,
    /// Where one should go that is opened for it.
    pub(super) address: Option<Arc<Address>>,
    /// Which it may have.
    pub(super) wish: Wish,
}

/// The connections of one upstream that are known, and the calls that wait for more.
#[derive(Debug)]
pub(super) struct Pool {
    /// Where the upstream is.
    pub(super) addresses: Addresses,
    /// Connections without a call, those used last at the end.
    pub(super) idle: Vec<http1::Connection>,
    /// Connections that may carry more calls.
    pub(super) http2: Vec<Arc<http2::Connection>>,
    /// Calls that have none, first come first.
    pub(super) waiting: VecDeque<Waiting>,
    /// Connections that are being opened.
    pub(super) dials: usize,
    /// Whether a task looks after them.
    pub(super) is_watched: bool,
    spoken: Option<Spoken>,
    wants_http1: bool,
}

impl Pool {
    /// Empty, with what is known from the configuration of what the upstream speaks.
    pub(super) fn new(spoken: Option<Spoken>) -> Self {
        Self {
            addresses: Addresses::default(),
            idle: Vec::new(),
            http2: Vec::new(),
            waiting: VecDeque::new(),
            dials: 0,
            is_watched: false,
            spoken,
            wants_http1: false,
        }
    }

    /// A connection to `address` that is there; or to one that the upstream's names stand for no more, as
    /// long as it is young: a name may stand for others of many at each look-up.
    pub(super) fn take(
        &mut self,
        address: &Arc<Address>,
        wish: &Wish,
        settings: &UpstreamSettings,
    ) -> Option<Lease> {
        let chosen = self.take_if(wish, settings, |_, at| Arc::ptr_eq(at, address));
        chosen.or_else(|| self.take_if(wish, settings, |addresses, at| !addresses.has(at)))
    }

    fn take_if(
        &mut self,
        wish: &Wish,
        settings: &UpstreamSettings,
        may_be_at: impl Fn(&Addresses, &Arc<Address>) -> bool,
    ) -> Option<Lease> {
        let is_there = |it: &&Arc<http2::Connection>| {
            let is_excepted = wish
                .except
                .as_ref()
                .is_some_and(|except| Arc::ptr_eq(except, it));
            may_be_at(&self.addresses, &it.address) && !is_excepted && it.has_room(settings)
        };
        if let Some(connection) = self.http2.iter().find(is_there) {
            let call = CallOn::new(&connection.address);
            return Some(Lease::Http2(connection.clone(), call));
        }
        if wish.is_fresh {
            return None;
        }
        let now = Instant::now();
        while let Some(position) = self
            .idle
            .iter()
            .rposition(|it| may_be_at(&self.addresses, &it.address))
        {
            let mut connection = self.idle.remove(position);
            if connection.is_young(now, settings) && connection.is_quiet() {
                let call = CallOn::new(&connection.address);
                return Some(Lease::Http1(connection, call));
            }
        }
        None
    }

    /// A call has given a connection back: the first that waits has it.
    pub(super) fn give(&mut self, connection: http1::Connection) {
        self.hand_out(connection, |wish| !wish.is_fresh);
    }

    /// A connection was opened.
    pub(super) fn opened(&mut self, connection: Connection, settings: &UpstreamSettings) {
        match connection {
            Connection::Http1(connection) => {
                self.spoken = Some(Spoken::Http1);
                self.hand_out(connection, |_| true);
            }
            Connection::Http2(connection) => {
                self.spoken = Some(Spoken::Http2(connection.most_calls()));
                self.http2.retain(|it| it.is_good(settings));
                self.http2.push(connection.clone());
                self.share(&connection, connection.most_calls());
            }
        }
    }

    /// Gives so many places on a connection to calls that wait.
    pub(super) fn share(&mut self, connection: &Arc<http2::Connection>, mut places: usize) {
        while places > 0
            && let Some(waiting) = self.waiting.pop_front()
        {
            let call = CallOn::new(&connection.address);
            let lease = Lease::Http2(connection.clone(), call);
            places -= usize::from(waiting.lease.send(Ok(lease)).is_ok());
        }
    }

    /// None could be opened. Those hear of it who wait for it, so many of them, and those who have waited
    /// for longer than opening one may take.
    pub(super) fn failed(&mut self, served: usize, longest: Duration, broken: &Broken) {
        let mut left = served;
        while let Some(first) = self.waiting.front()
            && (left > 0 || first.since.elapsed() >= longest)
        {
            left = left.saturating_sub(1);
            if let Some(waiting) = self.waiting.pop_front() {
                let _ = waiting.lease.send(Err(broken.clone()));
            }
        }
    }

    /// Forgets calls that do not wait any more.
    pub(super) fn forget_those_who_left(&mut self) {
        self.waiting.retain(|waiting| !waiting.lease.is_closed());
    }

    /// Nothing but HTTP/1.1 from now on.
    pub(super) fn want_http1(&mut self) {
        self.wants_http1 = true;
        self.spoken = Some(Spoken::Http1);
        self.http2.clear();
    }

    /// What is offered to an upstream.
    pub(super) fn offer(&self) -> Offer {
        if self.wants_http1 {
            Offer::Http1
        } else {
            Offer::Configured
        }
    }

    /// How many waiting calls a connection is opened for.
    pub(super) fn calls_per_dial(&self) -> usize {
        match self.spoken {
            None => usize::MAX,
            Some(Spoken::Http1) => 1,
            Some(Spoken::Http2(calls)) => calls.max(1),
        }
    }

    /// How many waiting calls those connections are for that are being opened.
    pub(super) fn waiting_for_dials(&self) -> usize {
        self.dials.saturating_mul(self.calls_per_dial())
    }

    /// Closes what is of no use. Says whether there is nothing left to look after.
    pub(super) fn sweep(&mut self, settings: &UpstreamSettings) -> bool {
        let Self {
            addresses,
            idle,
            http2,
            ..
        } = self;
        let now = Instant::now();
        idle.retain_mut(|it| it.is_young(now, settings) && it.is_open());
        http2.retain(|it| it.is_good(settings) && !it.is_overdue(settings));
        let is_unused = addresses.all().iter().all(|address| address.calls() == 0);
        let is_over = is_unused && idle.is_empty() && http2.is_empty();
        self.is_watched = !is_over;
        is_over
    }

    /// Gives a connection to the first that waits and may have it; keeps it when there is none.
    fn hand_out(&mut self, mut connection: http1::Connection, may_have: impl Fn(&Wish) -> bool) {
        while let Some(position) = self.waiting.iter().position(|it| may_have(&it.wish)) {
            if !connection.is_quiet() {
                return;
            }
            let Some(waiting) = self.waiting.remove(position) else {
                return;
            };
            let call = CallOn::new(&connection.address);
            match waiting.lease.send(Ok(Lease::Http1(connection, call))) {
                Err(Ok(Lease::Http1(unsent, _))) => connection = unsent,
                _ => return,
            }
        }
        self.idle.push(connection);
    }
}
