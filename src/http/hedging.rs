//! When the branches of one route are slow, and whether they may have a hedge.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{HedgeAfter, HedgeSettings};
use crate::gather::{HedgeBudget, Slow};
use crate::metrics::{RouteMetrics, Tail, Unhedged};
use crate::upstream::{Latencies, Permit, Upstream};

/// The hedges of one route.
pub(super) struct Hedging {
    settings: HedgeSettings,
    budget: HedgeBudget,
    /// Of each branch, where they say when it is slow.
    latencies: Vec<Arc<Latencies>>,
    tail: Arc<Tail>,
}

impl Hedging {
    /// A full budget. What `before` knows of the times of as many branches is kept.
    pub(super) fn new(
        settings: &HedgeSettings,
        branches: usize,
        tail: Arc<Tail>,
        before: Option<&Self>,
    ) -> Self {
        let kept = before.filter(|it| it.settings.after == settings.after);
        let kept = kept.filter(|it| it.latencies.len() == branches);
        let latencies = match settings.after {
            HedgeAfter::Quantile(quantile) => kept.map_or_else(
                || {
                    (0..branches)
                        .map(|_| Arc::new(Latencies::new(quantile)))
                        .collect()
                },
                |kept| kept.latencies.clone(),
            ),
            HedgeAfter::Duration(_) | HedgeAfter::Siblings => Vec::new(),
        };
        Self {
            settings: settings.clone(),
            budget: HedgeBudget::new(settings.budget),
            latencies,
            tail,
        }
    }

    /// What the driver goes by.
    pub(super) fn slow(&self) -> Slow {
        match self.settings.after {
            HedgeAfter::Duration(_) | HedgeAfter::Quantile(_) => Slow::Patience,
            HedgeAfter::Siblings => Slow::Siblings {
                least: self.settings.min,
            },
        }
    }

    /// How long a branch may run until it is slow, if that is known.
    pub(super) fn patience(&self, branch: usize) -> Option<Duration> {
        match self.settings.after {
            HedgeAfter::Duration(duration) => Some(duration),
            HedgeAfter::Quantile(_) => {
                let quantile = self.latencies.get(branch)?.quantile()?;
                Some(quantile.max(self.settings.min))
            }
            HedgeAfter::Siblings => None,
        }
    }

    /// Where the times of a branch's replies are noted.
    pub(super) fn latencies(&self, branch: usize) -> Option<Arc<Latencies>> {
        self.latencies.get(branch).cloned()
    }

    /// A gather begins.
    pub(super) fn gather(&self) -> Unhedged {
        self.tail.gather()
    }

    /// A branch starts.
    pub(super) fn deposit(&self) {
        self.budget.deposit();
        self.tail.branch();
    }

    /// What one hedge takes of the budget and of the upstream's calls; counted, if there is none too.
    pub(super) fn permit(&self, upstream: &Upstream, metrics: &RouteMetrics) -> Option<Permit> {
        let held_back = match upstream.permit_for_hedge() {
            Ok(permit) if self.budget.withdraw() => {
                metrics.hedges_started.inc();
                return Some(permit);
            }
            Ok(_) => "budget",
            Err(held_back) => held_back.name(),
        };
        metrics.hedge_held_back(held_back);
        None
    }
}
