//! The certificate from an authority that speaks ACME (RFC 8555): got, kept and renewed.
//!
//! What is got is written to the state directory, where it is found like any other pair of files; the
//! authority is needed neither for a start nor for serving.
//!
//! | file | holds |
//! |---|---|
//! | `acme.rs` | when something is to be done, and what follows from how it went |
//! | `order` | one certificate, from the account to the chain |
//! | `challenges` | the answers that prove the names (TLS-ALPN-01, RFC 8737) |
//! | `state` | what is kept on disk |
//! | `client` | HTTPS to the authority |

mod challenges;
mod client;
mod order;
mod state;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::challenges::Challenges;
use self::order::Failure;
use self::state::Backoff;
pub(super) use self::state::State;
use super::leaf::{Leaf, now, show};
use crate::config::{AcmeSettings, Problem};
use crate::metrics::Metrics;
use crate::names::Names;
use crate::trust::client_config_with;
use crate::trust::pem::chain;

/// How long at most until the clock is looked at again, which may have been set.
const GLANCE: Duration = Duration::from_secs(60);
/// How long an order may take in all.
const ORDER_LIMIT: Duration = Duration::from_secs(300);

/// Who gets and renews the certificate.
pub(super) struct Keeper {
    pub(super) settings: AcmeSettings,
    pub(super) challenges: Challenges,
    pub(super) names: Names,
    pub(super) metrics: Arc<Metrics>,
}

impl Keeper {
    /// Does so for ever.
    pub(super) async fn run(self) {
        let state = State::of(&self.settings);
        let mut told = 0;
        loop {
            let due = due(&state, &self.settings);
            let backoff = state.backoff(&self.settings.domains);
            let at = due.max(backoff.until);
            let left = u64::try_from(at.saturating_sub(now())).unwrap_or(0);
            if left == 0 {
                self.attempt(&state, &backoff).await;
                continue;
            }
            if told != at && backoff.until > due {
                told = at;
                tracing::warn!(until = %show(at), "waiting before the authority is asked for a certificate");
            }
            tokio::time::sleep(Duration::from_secs(left).min(GLANCE)).await;
        }
    }

    async fn attempt(&self, state: &State, backoff: &Backoff) {
        let directory = &self.settings.directory;
        // Written before: whatever ends the process in between counts as a failure.
        let failed = backoff.after_failure(&self.settings.domains, now());
        if let Err(error) = state.write_backoff(&failed) {
            tracing::error!(%error, "cannot write the state of tls.acme, so that no certificate is asked for");
            self.metrics.service.certificates.ordered(false);
            tokio::time::sleep(GLANCE).await;
            return;
        }
        tracing::info!(acme.directory = %directory, "asking for a certificate");
        let order = order::place(&self.settings, state, &self.challenges, &self.names);
        let ordered = tokio::time::timeout(ORDER_LIMIT, order).await;
        self.challenges.clear();
        let ordered = ordered.unwrap_or(Err(Failure::Late));
        let kept = ordered.and_then(|pem| state.write_certificate(&pem).map_err(Failure::State));
        self.metrics.service.certificates.ordered(kept.is_ok());
        let Err(failure) = kept else {
            state.forget_backoff();
            tracing::info!(acme.directory = %directory, "got a certificate");
            return;
        };
        // What the authority has not counted may be tried again soon.
        let uncounted = matches!(failure, Failure::Unreachable(_));
        let failed = if uncounted {
            failed.soon(now())
        } else {
            failed
        };
        tracing::warn!(reason = %failure, again = %show(failed.until), "no certificate from the authority");
        if let Err(error) = state.write_backoff(&failed) {
            tracing::error!(%error, "cannot write the state of tls.acme");
        }
    }
}

/// What keeps the settings from being of use later, when the authority is asked.
pub(super) fn check(settings: &AcmeSettings) -> Option<Problem> {
    client_config_with("tls.acme.ca", settings.ca.as_deref()).err()
}

/// When the certificate is to be asked for: with a third of its life left, or at once when there is
/// none for these names.
fn due(state: &State, settings: &AcmeSettings) -> i64 {
    let kept = state.certificate().ok();
    let leaf = kept.and_then(|pem| Leaf::of(&chain(&pem).ok()?).ok());
    match leaf.filter(|leaf| is_for(leaf, &settings.domains)) {
        Some(leaf) => leaf.not_after - (leaf.not_after - leaf.not_before) / 3,
        None => 0,
    }
}

fn is_for(leaf: &Leaf, domains: &[String]) -> bool {
    leaf.names.len() == domains.len() && domains.iter().all(|name| leaf.names.contains(name))
}
