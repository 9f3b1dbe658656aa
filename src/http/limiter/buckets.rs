//! Token buckets: one for each client, and coarser ones when there are too many clients.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::Request;
use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::middleware::NoOpMiddleware;
use parking_lot::Mutex;
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use super::refusals::Refusals;
use super::tracked::{Room, Tracked};
use crate::client::ClientKey;
use crate::config::RateLimitSettings;

/// How often at most the log tells of clients that a dry run would refuse.
const DRY_RUN_LOGGED: Duration = Duration::from_secs(1);
/// How many clients there are place for, for each network that late ones share buckets by.
const CLIENTS_PER_NETWORK: usize = 16;
/// Networks that new clients share buckets by when there are too many clients (bits).
const COARSE_IPV4: u8 = 24;
const COARSE_IPV6: u8 = 48;

/// The places of all limiters together, so that `max_clients` bounds the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Rooms {
    clients: Arc<Room>,
    networks: Arc<Room>,
}

impl Rooms {
    /// How many clients and networks have a place.
    pub(super) fn taken(&self) -> usize {
        self.clients.taken() + self.networks.taken()
    }
}

/// What one quota has counted.
pub(super) struct Buckets {
    governor: Governor,
    tracked: Tracked<ClientKey>,
    /// For networks, when there are too many clients.
    coarse: Governor,
    tracked_networks: Tracked<ClientKey>,
    clock: DefaultClock,
    by_client: ByClient,
    /// Tokens of a full bucket.
    burst: u32,
    /// By Redis.
    pub(super) refusals: Refusals<Bucket>,
    /// Admitted by a dry run since the log last said so, and when that was.
    dry_run: Mutex<(u64, Option<Instant>)>,
}

/// Whose tokens a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Bucket {
    /// The client's own.
    Client(ClientKey),
    /// Those of its network, since there are too many clients.
    Network(ClientKey),
}

/// What is said of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A token was taken.
    Admitted,
    /// There is none before this has passed.
    Refused(Duration),
}

impl Buckets {
    /// Full buckets of this quota, with places in `rooms`.
    pub(super) fn new(settings: &RateLimitSettings, rooms: &Rooms) -> Self {
        // By then an empty bucket is full.
        let (rate, burst) = settings.of_this_host();
        let period = Duration::from_secs_f64(f64::from(burst) / rate);
        Self {
            governor: governor(settings),
            tracked: Tracked::new(period, rooms.clients.clone()),
            coarse: governor(settings),
            tracked_networks: Tracked::new(period, rooms.networks.clone()),
            clock: DefaultClock::default(),
            by_client: ByClient {
                ipv6_prefix: settings.ipv6_prefix,
            },
            burst,
            refusals: Refusals::default(),
            dry_run: Mutex::default(),
        }
    }

    /// The bucket of `client`. Above `most` clients new ones share what their network has.
    pub(super) fn of(&self, client: IpAddr, most: usize) -> Bucket {
        let key = self.by_client.key(client);
        if self.tracked.admit(key, most) {
            return Bucket::Client(key);
        }
        let network = ClientKey::network(client, COARSE_IPV4, COARSE_IPV6);
        let known = self
            .tracked_networks
            .admit(network, most.div_ceil(CLIENTS_PER_NETWORK));
        // With as many networks as clients too, those that are left over are one.
        Bucket::Network(if known {
            network
        } else {
            ClientKey::network(client, 0, 0)
        })
    }

    /// Takes a token, or says how long to wait for one.
    pub(super) fn take(&self, bucket: Bucket) -> Verdict {
        let taken = match bucket {
            Bucket::Client(key) => self.governor.limiter().check_key(&key),
            Bucket::Network(key) => self.coarse.limiter().check_key(&key),
        };
        match taken {
            Ok(()) => Verdict::Admitted,
            Err(refused) => Verdict::Refused(refused.wait_time_from(self.clock.now())),
        }
    }

    /// Takes every token there is.
    pub(super) fn empty(&self, bucket: Bucket) {
        let (governor, key) = match bucket {
            Bucket::Client(key) => (&self.governor, key),
            Bucket::Network(key) => (&self.coarse, key),
        };
        let mut part = NonZeroU32::new(self.burst);
        while let Some(tokens) = part {
            if !matches!(governor.limiter().check_key_n(&key, tokens), Ok(Ok(()))) {
                part = NonZeroU32::new(tokens.get() / 2);
            }
        }
    }

    /// Notes that `client` was admitted over its rate.
    pub(super) fn log_dry_run(&self, client: IpAddr, limiter: &str) {
        let key = self.by_client.key(client);
        let mut dry_run = self.dry_run.lock();
        dry_run.0 += 1;
        if dry_run
            .1
            .is_none_or(|logged| logged.elapsed() >= DRY_RUN_LOGGED)
        {
            let requests = std::mem::take(&mut dry_run.0);
            dry_run.1 = Some(Instant::now());
            tracing::warn!(client.key = %key, limiter, requests, "over their rate, admitted by dry_run");
        }
    }

    /// Forgets clients whose bucket is full again.
    pub(super) fn sweep(&self) {
        self.refusals.sweep();
        if self.tracked.turn() {
            self.governor.limiter().retain_recent();
            self.governor.limiter().shrink_to_fit();
        }
        if self.tracked_networks.turn() {
            self.coarse.limiter().retain_recent();
            self.coarse.limiter().shrink_to_fit();
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(key) => key.fmt(f),
            Self::Network(key) => write!(f, "network:{key}"),
        }
    }
}

type Governor = GovernorConfig<ByClient, NoOpMiddleware<QuantaInstant>>;

/// The key of the client that the outermost layer found.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ByClient {
    ipv6_prefix: u8,
}

impl KeyExtractor for ByClient {
    type Key = ClientKey;

    /// Never called: the limiter is asked by key, since a request does not say who its client is.
    fn extract<T>(&self, _: &Request<T>) -> Result<Self::Key, GovernorError> {
        Err(GovernorError::UnableToExtractKey)
    }
}

impl ByClient {
    fn key(self, client: IpAddr) -> ClientKey {
        ClientKey::new(client, self.ipv6_prefix)
    }
}

fn governor(settings: &RateLimitSettings) -> Governor {
    let key = ByClient {
        ipv6_prefix: settings.ipv6_prefix,
    };
    // The builder's own `per_second(n)` means one token every n seconds.
    let (rate, burst) = settings.of_this_host();
    let period = Duration::from_secs_f64(1.0 / rate);
    GovernorConfigBuilder::default()
        .period(period)
        .burst_size(burst)
        .key_extractor(key)
        .finish()
        .expect("settings have a burst of at least 1 and a rate of at most a million")
}
