//! What a gather is worth and when it is over: the policies, and the two parts each is made of.
//!
//! A policy is a [`Completion`] rule times a [`Launch`] plan. Nothing here knows a clock or a socket.

use std::time::Duration;

/// The rule that says when a gather is over and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Every branch must succeed; the answer is all bodies in branch order.
    All,
    /// The first branch that is done decides, whatever it gave.
    First,
    /// The first branch that succeeds is the answer.
    FirstSuccess,
    /// `need` branches must succeed; the answer is those.
    Quorum {
        /// How many, from 1 to the number of branches.
        need: usize,
    },
    /// Whatever succeeded when every branch is done or the deadline is there, if at least `need` did.
    Available {
        /// How many, from 1 to the number of branches.
        need: usize,
    },
}

impl Policy {
    /// The policy's word in `config.toml`, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::First => "first",
            Self::FirstSuccess => "first_success",
            Self::Quorum { .. } => "quorum",
            Self::Available { .. } => "available",
        }
    }

    /// Whether one body is the whole answer, not an array or object of bodies.
    #[must_use]
    pub fn answers_one(self) -> bool {
        matches!(self, Self::First | Self::FirstSuccess)
    }

    /// The completion rule for a gather of `total` branches.
    #[must_use]
    pub fn completion(self, total: usize) -> Completion {
        match self {
            Self::All => Completion::Successes { need: total },
            Self::First => Completion::FirstDone,
            Self::FirstSuccess => Completion::Successes { need: 1 },
            Self::Quorum { need } => Completion::Successes { need },
            Self::Available { need } => Completion::AllDone { need },
        }
    }
}

/// When a gather is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// When one branch is done, whatever it gave.
    FirstDone,
    /// When `need` branches have succeeded, or no longer can.
    Successes {
        /// How many.
        need: usize,
    },
    /// When every branch is done, or fewer than `need` can still succeed.
    AllDone {
        /// How many must have succeeded for the gather to be worth anything.
        need: usize,
    },
}

/// Which branches start when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// All branches start together.
    Together,
    /// `at_once` branches start, a failed one is replaced at once by the next, and the others start when
    /// those are slow.
    Staggered {
        /// How many start with the gather.
        at_once: usize,
    },
}

/// When a branch is slow, and gets a hedge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// When its patience is over, which the branches know ([`Branches::patience`](super::Branches::patience)).
    Patience,
    /// When most of the others have succeeded, and it has taken twice as long as the slowest of those.
    Siblings {
        /// It has taken so long at least.
        least: Duration,
    },
}
