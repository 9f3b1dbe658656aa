//! What the edge counts: connections, handshakes, and who is refused by which limit.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::labels::{ConnectionState, Ending, Handshake, Limit};
use super::register;

/// A gauge that counts one more for as long as this lives.
#[derive(Debug)]
pub struct Held(IntGauge);

impl Held {
    /// One more in `gauge`.
    #[must_use]
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Connections and refusals.
#[derive(Debug)]
pub struct EdgeMetrics {
    states: Vec<IntGauge>,
    handshakes: Vec<IntCounter>,
    endings: Vec<IntCounter>,
    refusals: Vec<IntCounter>,
    /// Connections that were given a place.
    pub accepted: IntCounter,
    /// `max_connections`.
    pub max_connections: IntGauge,
    /// Requests so malformed that the HTTP library answered or ended them.
    pub malformed: IntCounter,
}

impl EdgeMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| register::gauge(registry, name, help);
        let counter = |name, help| register::counter(registry, name, help);
        let counters = |name, help, label| register::counters(registry, name, help, &[label]);
        let states = register::gauges(
            registry,
            "gatherd_connections",
            "Connections of clients by what they do: handshaking, idle, active.",
            &["state"],
        );
        let state = |state: &ConnectionState| states.with_label_values(&[state.name()]);
        Self {
            states: ConnectionState::ALL.iter().map(state).collect(),
            handshakes: each(
                &counters(
                    "gatherd_handshakes_total",
                    "Handshakes of clients, TLS or a PROXY header, by how they went; plain HTTP completes at once.",
                    "result",
                ),
                Handshake::ALL.iter().map(|one| one.name()),
            ),
            endings: each(
                &counters(
                    "gatherd_connections_ended_total",
                    "Connections that the service ended, by the reason.",
                    "reason",
                ),
                Ending::ALL.iter().map(|one| one.name()),
            ),
            refusals: each(
                &counters(
                    "gatherd_refusals_total",
                    "Connections, requests and branches refused, by the limit that refused them.",
                    "limit",
                ),
                Limit::ALL.iter().map(|one| one.name()),
            ),
            accepted: counter(
                "gatherd_connections_accepted_total",
                "Connections of clients that were given a place.",
            ),
            max_connections: gauge(
                "gatherd_max_connections",
                "Connections of clients that there may be at once.",
            ),
            malformed: counter(
                "gatherd_malformed_requests_total",
                "Requests so malformed that the HTTP library answered or ended them.",
            ),
        }
    }

    /// A connection begins, in the handshake; it is counted until the value is dropped.
    #[must_use]
    pub fn connection(self: &Arc<Self>) -> CountedConnection {
        self.accepted.inc();
        self.states[ConnectionState::Handshaking as usize].inc();
        CountedConnection {
            metrics: self.clone(),
            state: ConnectionState::Handshaking,
            has_ending: false,
        }
    }

    /// A handshake is over.
    pub fn handshake(&self, result: Handshake) {
        self.handshakes[result as usize].inc();
    }

    /// Refusals, in the order of [`Limit::ALL`].
    pub(super) fn refusals(&self) -> Vec<u64> {
        self.refusals.iter().map(IntCounter::get).collect()
    }

    /// Handshakes, in the order of [`Handshake::ALL`].
    pub(super) fn handshakes(&self) -> Vec<u64> {
        self.handshakes.iter().map(IntCounter::get).collect()
    }

    /// Connections, in the order of [`ConnectionState::ALL`].
    pub(super) fn connections(&self) -> Vec<i64> {
        self.states.iter().map(IntGauge::get).collect()
    }

    /// A limit refuses something.
    pub fn refused(&self, limit: Limit) {
        self.refusals[limit as usize].inc();
    }
}

/// A handle for each of some words.
fn each<'a>(vector: &IntCounterVec, words: impl Iterator<Item = &'a str>) -> Vec<IntCounter> {
    words
        .map(|word| vector.with_label_values(&[word]))
        .collect()
}

/// One connection, counted by its state.
#[derive(Debug)]
pub struct CountedConnection {
    metrics: Arc<EdgeMetrics>,
    state: ConnectionState,
    has_ending: bool,
}

impl CountedConnection {
    /// The connection is now in another state.
    pub fn enter(&mut self, state: ConnectionState) {
        if self.state != state {
            self.metrics.states[self.state as usize].dec();
            self.metrics.states[state as usize].inc();
            self.state = state;
        }
    }

    /// The service ends it; only the first reason counts.
    pub fn ends(&mut self, reason: Ending) {
        if !std::mem::replace(&mut self.has_ending, true) {
            self.metrics.endings[reason as usize].inc();
        }
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.metrics.states[self.state as usize].dec();
    }
}
