//! What happens at the edge more often than a log can bear: counted, and told once a second for each
//! kind, with one example.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::IpAddr;

use parking_lot::Mutex;

use crate::metrics::Handshake;

/// What has happened since it was last told.
#[derive(Default)]
pub(super) struct Incidents(Mutex<BTreeMap<(What, &'static str), Seen>>);

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A connection has no place.
    Refused,
    /// A connection ends before it is one for requests.
    HandshakeFailed,
    /// The HTTP library answers or ends it by itself.
    Malformed,
}

struct Seen {
    count: u64,
    client: IpAddr,
    because: String,
}

impl Incidents {
    /// One more of a `kind`, from a closed set. The first of a second is its example.
    pub(super) fn note(
        &self,
        what: What,
        kind: &'static str,
        client: IpAddr,
        because: impl Display,
    ) {
        let mut incidents = self.0.lock();
        let seen = incidents.entry((what, kind)).or_insert_with(|| Seen {
            count: 0,
            client: client.to_canonical(),
            because: because.to_string(),
        });
        seen.count += 1;
    }

    /// Tells what has happened; to be called once a second.
    pub(super) fn tell(&self) {
        let incidents = std::mem::take(&mut *self.0.lock());
        for ((what, kind), seen) in incidents {
            let Seen {
                count,
                client,
                because,
            } = seen;
            match what {
                What::Refused => tracing::info!(
                    limit = kind, count, client.address = %client, "connections were refused"
                ),
                What::HandshakeFailed => tracing::info!(
                    kind, count, client.address = %client, because, "handshakes failed"
                ),
                What::Malformed => tracing::info!(
                    kind, count, client.address = %client, "malformed requests were refused"
                ),
            }
        }
    }
}

/// What a handshake that failed is counted as.
pub(super) fn handshake(error: &io::Error) -> Handshake {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::TimedOut => Handshake::TimedOut,
        // As the reader of the PROXY header says it.
        Io::PermissionDenied => Handshake::ProxyHeader,
        Io::UnexpectedEof | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe => {
            Handshake::Ended
        }
        _ => Handshake::Failed,
    }
}
