//! How many gathers there are at once: in all, and of one client.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::StatusCode;
use parking_lot::Mutex;

use super::limiter::{RATELIMIT, RATELIMIT_POLICY, header};
use super::problem::{ProblemDetails, ProblemKind};
use crate::client::ClientKey;
use crate::metrics::Held;
use crate::upstream::Share;

/// The gathers of the process; outlives snapshots.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    gathers: AtomicUsize,
    clients: Mutex<HashMap<ClientKey, Arc<Share>>>,
}

impl InFlight {
    /// A place among `most` gathers, held until the response has left.
    ///
    /// # Errors
    /// 503 when there are as many.
    pub(super) fn enter(self: &Arc<Self>, most: usize) -> Result<GatherHold, ProblemDetails> {
        let one_more = |gathers: usize| (gathers < most).then_some(gathers + 1);
        match self
            .gathers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
        {
            Ok(_) => Ok(GatherHold {
                in_flight: self.clone(),
            }),
            Err(_) => {
                let detail = "the service has as many gathers as it may have at once";
                Err(ProblemDetails::overloaded(detail))
            }
        }
    }

    /// A place among `most` gathers of a client, held until its last branch is over.
    ///
    /// # Errors
    /// 429 when the client has as many.
    pub(super) fn enter_client(
        self: &Arc<Self>,
        client: ClientKey,
        most: usize,
    ) -> Result<ClientHold, ProblemDetails> {
        let mut clients = self.clients.lock();
        let share = clients.entry(client).or_default();
        if !share.enter(most) {
            let detail = "this client has as many gathers as it may have at once";
            let status = StatusCode::TOO_MANY_REQUESTS;
            // draft-ietf-httpapi-ratelimit-headers-10 section 3.1.2.
            let policy = format!("\"in-flight\";q={most};qu=\"concurrent-requests\"");
            return Err(
                ProblemDetails::new(ProblemKind::RateLimited, status, detail)
                    .with_retry_after(1)
                    .with_header(RATELIMIT_POLICY, header(&policy))
                    .with_header(RATELIMIT, header("\"in-flight\";r=0;t=1")),
            );
        }
        Ok(ClientHold {
            in_flight: self.clone(),
            share: share.clone(),
            client,
        })
    }
}

/// The places of one gather: an extension of its request, until the handler takes them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Held until the response has left.
    pub(super) _gather: Arc<(GatherHold, Held)>,
    /// Held until the last call is over; none where no limit of one client holds.
    pub(super) client: Option<Arc<ClientHold>>,
}

/// One gather; over when dropped.
#[derive(Debug)]
pub(super) struct GatherHold {
    in_flight: Arc<InFlight>,
}

impl Drop for GatherHold {
    fn drop(&mut self) {
        self.in_flight.gathers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One gather of a client; over when dropped.
#[derive(Debug)]
pub(super) struct ClientHold {
    in_flight: Arc<InFlight>,
    share: Arc<Share>,
    client: ClientKey,
}

impl ClientHold {
    /// What the client holds.
    pub(super) fn share(&self) -> &Arc<Share> {
        &self.share
    }
}

impl Drop for ClientHold {
    fn drop(&mut self) {
        let mut clients = self.in_flight.clients.lock();
        if self.share.leave() {
            clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_gathers_as_there_may_be_and_places_are_given_back() {
        let in_flight = Arc::new(InFlight::default());
        let holds: Vec<_> = (0..3).map(|_| in_flight.enter(3).unwrap()).collect();
        assert!(in_flight.enter(3).is_err());
        drop(holds);
        assert!(in_flight.enter(1).is_ok());
    }

    #[test]
    fn a_client_has_its_own_count_and_is_forgotten_at_zero() {
        let in_flight = Arc::new(InFlight::default());
        let key = |address: &str| ClientKey::new(address.parse().unwrap(), 64);
        let one = in_flight.enter_client(key("192.0.2.1"), 1).unwrap();
        assert!(in_flight.enter_client(key("192.0.2.1"), 1).is_err());
        assert!(in_flight.enter_client(key("192.0.2.2"), 1).is_ok());
        drop(one);
        assert!(in_flight.clients.lock().is_empty());
    }
}
