//! A gather as a test writes it down, and the ways to play it.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{FutureExt, join};
use tokio::time::{Instant, advance, sleep_until};

use super::stage::{Gives, Log, Script, Stage, at, millis, since};
use crate::gather::{
    Branch, BranchPlan, Gathered, Launch, Outcome, Plan, Policy, Slow, Verdict, run,
};

/// A delay that outlasts every gather.
pub(super) const NEVER: u64 = 1_000;

/// A gather, and how each of its branches would behave.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) policy: Policy,
    /// How long a branch may run until it is slow; none when there are no hedges.
    pub(super) hedge_after: Option<u64>,
    /// Instead, branches are slow beside their siblings.
    pub(super) beside_siblings: bool,
    pub(super) deadline: u64,
    pub(super) scripts: Vec<Script>,
}

/// A gather that was played to its end.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) verdict: Verdict,
    pub(super) branches: Vec<Branch<usize, usize>>,
    pub(super) ended: u64,
    pub(super) log: Log,
    opened: Instant,
}

/// A branch that replies after a time.
pub(super) fn reply(after: u64) -> Script {
    Script {
        gives: Gives::Reply,
        after,
        timeout: None,
        required: false,
        held_back: false,
        second: (Gives::Reply, NEVER),
        fidgets_at: None,
    }
}

/// A branch that fails after a time.
pub(super) fn failure(after: u64) -> Script {
    Script {
        gives: Gives::Failure,
        ..reply(after)
    }
}

/// A branch that is never done.
pub(super) fn silence() -> Script {
    reply(NEVER)
}

impl Scene {
    pub(super) fn new(policy: Policy, deadline: u64, scripts: &[Script]) -> Self {
        Self {
            policy,
            hedge_after: None,
            beside_siblings: false,
            deadline,
            scripts: scripts.to_vec(),
        }
    }

    pub(super) fn hedged_after(mut self, hedge_after: u64) -> Self {
        self.hedge_after = Some(hedge_after);
        self
    }

    pub(super) fn hedged_beside_siblings(mut self) -> Self {
        self.beside_siblings = true;
        self
    }

    /// Whether branches are left for later.
    pub(super) fn staggers(&self) -> bool {
        let hedges = self.hedge_after.is_some() || self.beside_siblings;
        hedges && matches!(self.policy, Policy::FirstSuccess | Policy::Quorum { .. })
    }

    /// How many branches the policy needs at the least.
    pub(super) fn need(&self) -> usize {
        match self.policy {
            Policy::All => self.scripts.len(),
            Policy::First | Policy::FirstSuccess => 1,
            Policy::Quorum { need } | Policy::Available { need } => need,
        }
    }

    /// How many branches start with the gather.
    pub(super) fn at_once(&self) -> usize {
        if self.staggers() {
            self.need()
        } else {
            self.scripts.len()
        }
    }

    fn plan(&self) -> Plan {
        Plan {
            completion: self.policy.completion(self.scripts.len()),
            launch: if self.staggers() {
                Launch::Staggered {
                    at_once: self.at_once(),
                }
            } else {
                Launch::Together
            },
            slow: if self.beside_siblings {
                let least = Duration::from_millis(1);
                Some(Slow::Siblings { least })
            } else {
                self.hedge_after.map(|_| Slow::Patience)
            },
            branches: self
                .scripts
                .iter()
                .map(|script| BranchPlan {
                    required: script.required,
                    timeout: script.timeout.map(Duration::from_millis),
                })
                .collect(),
        }
    }

    /// Plays the gather to its end.
    pub(super) fn play(&self) -> Played {
        self.play_stalled(0, 0)
    }

    /// Plays it in a process that sleeps for `stall` from `from` on.
    pub(super) fn play_stalled(&self, from: u64, stall: u64) -> Played {
        on_a_paused_clock(async {
            let (opened, log) = (Instant::now(), Log::default());
            let plan = self.plan();
            let gather = run(
                &plan,
                at(opened, self.deadline),
                Stage::new(&self.scripts, self.hedge_after, &log),
            );
            let gather = async { (gather.await, since(opened)) };
            let stalls = async {
                if stall > 0 {
                    sleep_until(at(opened, from)).await;
                    advance(Duration::from_millis(stall)).await;
                }
            };
            let ((Gathered { verdict, branches }, ended), ()) = join(gather, stalls).await;
            Played {
                verdict,
                branches,
                ended,
                log,
                opened,
            }
        })
    }

    /// Plays it until its client leaves, before or after the driver had its turn at that moment.
    /// Gives the log, and whether the client was too late.
    pub(super) fn play_until(&self, leaves: u64, driver_first: bool) -> (Log, bool) {
        on_a_paused_clock(async {
            let (opened, log) = (Instant::now(), Log::default());
            let plan = self.plan();
            let gather = run(
                &plan,
                at(opened, self.deadline),
                Stage::new(&self.scripts, self.hedge_after, &log),
            );
            let leaves = sleep_until(at(opened, leaves));
            let finished = if driver_first {
                tokio::select! { biased; _ = gather => true, () = leaves => false }
            } else {
                tokio::select! { biased; () = leaves => false, _ = gather => true }
            };
            (log, finished)
        })
    }

    /// Plays it where a panic is caught. Gives the log, and whether there was one.
    pub(super) fn play_with_panics(&self) -> (Log, bool) {
        on_a_paused_clock(async {
            let log = Log::default();
            let plan = self.plan();
            let deadline = at(Instant::now(), self.deadline);
            let gather = run(
                &plan,
                deadline,
                Stage::new(&self.scripts, self.hedge_after, &log),
            );
            let panicked = AssertUnwindSafe(gather).catch_unwind().await.is_err();
            (log, panicked)
        })
    }
}

impl Played {
    /// The outcomes, in branch order.
    pub(super) fn outcomes(&self) -> Vec<&Outcome<usize, usize>> {
        self.branches.iter().map(|branch| &branch.outcome).collect()
    }

    /// When a branch started.
    pub(super) fn started(&self, branch: usize) -> Option<u64> {
        let started = self.branches[branch].started?;
        Some(millis(started.duration_since(self.opened)))
    }

    /// How long a branch took.
    pub(super) fn elapsed(&self, branch: usize) -> u64 {
        millis(self.branches[branch].elapsed)
    }
}

fn on_a_paused_clock<T>(play: impl Future<Output = T>) -> T {
    let mut play = pin!(play);
    let mut turns = 0;
    let counted = poll_fn(|context| {
        turns += 1;
        assert!(turns < 1_000, "the driver turns on the spot");
        play.as_mut().poll(context)
    });
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(counted)
}
