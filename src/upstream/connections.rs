//! The connections of one upstream, and how a call gets one.
//!
//! A call takes a connection that is there, or waits: for one that another call gives back, or for one that
//! is opened for it. Connections are opened in tasks of their own, so that none is lost when its call is,
//! and as many as the waiting calls need: one for each over HTTP/1.1, one for many over HTTP/2. While it is
//! not known what the upstream speaks, all wait for the first.

mod pool;

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

pub(super) use self::pool::{Lease, Wish};
use self::pool::{Pool, Spoken, Waiting};
use super::addresses::Address;
use super::dial::{Connection, Dialer, Offer};
use super::failure::{Broken, Kind};
use super::{http1, http2};
use crate::config::{Problem, UpstreamHttp, UpstreamSettings};
use crate::metrics::UpstreamMetrics;
use crate::names::Names;

/// The most connections that are being opened at once: half of what servers keep in the queue of their
/// listener (nginx: 511), and of `max_calls` as it is. Those behind wait, and most of a burst's find
/// another's connection free before it is their turn.
const MOST_DIALS: usize = 256;

/// How often connections without a call are looked at, so that one that the upstream closes is gone within
/// a second, and how often names are looked up.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// The connections of one upstream.
pub(super) struct Connections {
    settings: UpstreamSettings,
    dialer: Dialer,
    pool: Mutex<Pool>,
    metrics: Arc<UpstreamMetrics>,
}

impl Connections {
    /// None yet; they are opened when calls need them.
    ///
    /// # Errors
    /// When the certificate authorities of the upstream cannot be read.
    pub(super) fn new(
        settings: &UpstreamSettings,
        names: Names,
        metrics: Arc<UpstreamMetrics>,
    ) -> Result<Arc<Self>, Problem> {
        let spoken = settings.is_http1().then_some(Spoken::Http1);
        let connections = Self {
            settings: settings.clone(),
            dialer: Dialer::new(settings, names)?,
            pool: Mutex::new(Pool::new(spoken)),
            metrics,
        };
        // Without a name there is nothing to wait for.
        if !connections.dialer.has_names() {
            let _ = connections.resolve().now_or_never();
        }
        Ok(Arc::new(connections))
    }

    /// A connection for one call.
    ///
    /// # Errors
    /// When none can be opened.
    pub(super) async fn get(self: &Arc<Self>, wish: &Wish) -> Result<Lease, Broken> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut pool = self.pool.lock();
            let address = pool.addresses.choose(wish.avoid.as_ref());
            if let Some(address) = &address
                && let Some(lease) = pool.take(address, wish, &self.settings)
            {
                return Ok(lease);
            }
            pool.waiting.push_back(Waiting {
                lease: sender,
                since: Instant::now(),
                address,
                wish: wish.clone(),
            });
            self.dial_for_waiting(&mut pool);
        }
        let gone = |_| Err(Broken::new(Kind::Connect, "the upstream was taken away"));
        receiver.await.unwrap_or_else(gone)
    }

    /// Takes back a connection that may carry another request.
    pub(super) fn give(&self, connection: http1::Connection) {
        if connection.is_young(connection.idle_since, &self.settings) {
            self.pool.lock().give(connection);
        }
    }

    /// A call on `connection` is over: its place is for the first that waits.
    pub(super) fn give_place(&self, connection: &Arc<http2::Connection>) {
        let mut pool = self.pool.lock();
        if !pool.waiting.is_empty() && connection.has_room(&self.settings) {
            pool.share(connection, 1);
        }
    }

    /// A call to `address` broke, or its connection did.
    pub(super) fn broke(&self, address: &Arc<Address>) {
        let pool = self.pool.lock();
        pool.addresses.broke(address);
        self.show(&pool);
    }

    /// The upstream wants HTTP/1.1 (RFC 9113 section 7): it gets nothing else from now on.
    pub(super) fn wants_http1(&self) {
        if self.settings.http == UpstreamHttp::Auto {
            self.pool.lock().want_http1();
        }
    }

    /// Opens as many connections as the waiting calls need.
    fn dial_for_waiting(self: &Arc<Self>, pool: &mut Pool) {
        while pool.dials < MOST_DIALS
            && let Some(waiting) = pool.waiting.get(pool.waiting_for_dials())
        {
            let address = waiting.address.clone();
            let offer = pool.offer();
            pool.dials += 1;
            tokio::spawn(self.clone().dial(address, offer));
        }
    }

    async fn dial(self: Arc<Self>, first: Option<Arc<Address>>, offer: Offer) {
        let opened = self.open(first.as_ref(), offer).await;
        let mut pool = self.pool.lock();
        let served = pool.calls_per_dial();
        pool.dials -= 1;
        pool.forget_those_who_left();
        match opened {
            Ok(connection) => {
                pool.opened(connection, &self.settings);
                self.watch(&mut pool);
            }
            Err(broken) => pool.failed(served, self.settings.connect_timeout, &broken),
        }
        self.dial_for_waiting(&mut pool);
    }

    /// Opens one connection, at `first` if it can be.
    async fn open(&self, first: Option<&Arc<Address>>, offer: Offer) -> Result<Connection, Broken> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        let resolved = tokio::time::timeout_at(deadline, self.resolve()).await;
        let late = |_| {
            Err(Broken::new(
                Kind::Connect,
                "the name servers did not answer within connect_timeout",
            ))
        };
        resolved.unwrap_or_else(late)?;
        let order = self.pool.lock().addresses.in_order(first);
        let failed = |address: &Arc<Address>| {
            let pool = self.pool.lock();
            pool.addresses.cannot_connect(address);
            self.show(&pool);
        };
        self.dialer.connect(&order, offer, deadline, failed).await
    }

    /// Looks up where the upstream is now. What was known before goes on where that fails.
    async fn resolve(&self) -> Result<(), Broken> {
        let found = self.dialer.addresses().await;
        let mut pool = self.pool.lock();
        match found {
            Ok(found) => pool.addresses.update(&found),
            Err(broken) if pool.addresses.all().is_empty() => return Err(broken),
            Err(_) => {}
        }
        self.show(&pool);
        Ok(())
    }

    /// Looks after the connections from now on, until there is none.
    fn watch(self: &Arc<Self>, pool: &mut Pool) {
        if !std::mem::replace(&mut pool.is_watched, true) {
            let connections = Arc::downgrade(self);
            tokio::spawn(async move {
                // A name server that does not answer holds up the look-up only.
                tokio::select! {
                    () = sweep(&connections) => {}
                    () = resolve(&connections) => {}
                }
            });
        }
    }

    /// Shows the addresses as they are now.
    fn show(&self, pool: &Pool) {
        let counts = pool.addresses.counts();
        self.metrics.addresses(&counts, self.dialer.has_names());
    }
}

/// Closes connections that are too old or that the upstream has closed, again and again.
async fn sweep(connections: &Weak<Connections>) {
    let mut interval = interval(WATCH_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(connections) = connections.upgrade() else {
            return;
        };
        // Each look takes of what a task may do in one turn.
        let sweep = async {
            let mut pool = connections.pool.lock();
            let is_over = pool.sweep(&connections.settings);
            connections.show(&pool);
            is_over
        };
        if unconstrained(sweep).await {
            return;
        }
    }
}

/// Looks up where the upstream is, again and again.
async fn resolve(connections: &Weak<Connections>) {
    loop {
        sleep(WATCH_INTERVAL).await;
        let Some(connections) = connections.upgrade() else {
            return;
        };
        // The call that meets a failure reports it.
        let _ = connections.resolve().await;
    }
}
