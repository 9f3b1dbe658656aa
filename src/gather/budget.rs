//! How many hedges a route may start: a token bucket that branches fill and hedges empty.

use std::sync::atomic::{AtomicU64, Ordering};

/// One token, in the bucket's fixed-point unit.
const TOKEN: u64 = 1_000_000;
/// The most tokens a bucket holds; it starts full, so that a rested route may hedge.
const MOST: u64 = 10 * TOKEN;

/// The hedge budget of one route.
#[derive(Debug)]
pub struct HedgeBudget {
    per_branch: u64,
    tokens: AtomicU64,
}

impl HedgeBudget {
    /// A full bucket that gains `per_branch` tokens (0 to 1) with each branch that starts; 0 never hedges.
    #[must_use]
    pub fn new(per_branch: f64) -> Self {
        // A float cast saturates; one token is the most a branch may add.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped"
        )]
        let per_branch = (per_branch.clamp(0.0, 1.0) * TOKEN as f64).round() as u64;
        let tokens = AtomicU64::new(if per_branch == 0 { 0 } else { MOST });
        Self { per_branch, tokens }
    }

    /// A branch starts.
    pub fn deposit(&self) {
        self.update(|tokens| Some((tokens + self.per_branch).min(MOST)));
    }

    /// Takes the token of one hedge; false when there is none, and the hedge must not start.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.update(|tokens| tokens.checked_sub(TOKEN))
    }

    fn update(&self, change: impl FnMut(u64) -> Option<u64>) -> bool {
        self.tokens
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_hedges_at_most_are_saved_up_and_then_one_for_every_ten_gathers() {
        let budget = HedgeBudget::new(0.10);
        for _ in 0..1000 {
            budget.deposit();
        }
        assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 10);
        for _ in 0..9 {
            budget.deposit();
        }
        assert!(!budget.withdraw());
        budget.deposit();
        assert!(budget.withdraw());
        assert!(!budget.withdraw());
    }

    #[test]
    fn no_budget_means_no_hedge_ever() {
        let budget = HedgeBudget::new(0.0);
        budget.deposit();
        assert!(!budget.withdraw());
    }
}
