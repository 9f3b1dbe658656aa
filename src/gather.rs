//! Gathering: several branches at once, one verdict before the deadline.
//!
//! A [`Policy`] is a [`Completion`] rule times a [`Launch`] plan; the rule is applied by a tally
//! without clock or I/O, the plan by the driver, [`run`], which owns the one timer of a gather.
//!
//! Nothing here knows HTTP, a socket or a log: a branch is a future that gives a reply or a failure.

mod budget;
mod driver;
mod policy;
mod tally;

pub use budget::HedgeBudget;
pub use driver::{Attempt, Branch, BranchPlan, Branches, Gathered, Outcome, Plan, run};
pub use policy::{Completion, Launch, Policy, Slow};
pub use tally::{Tally, Verdict};
