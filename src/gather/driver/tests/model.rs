//! What a gather must come to, from the contract alone: a walk through its milliseconds.
//!
//! It shares neither the tally nor the driver; it counts anew what every branch has come to.
//! Where the contract leaves open which of two things at one instant is heard first, so does this.

use super::scene::Scene;
use super::stage::{Gives, SECOND};
use crate::gather::{Outcome, Policy, Verdict};

/// What a gather must come to.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) ended: u64,
    /// One verdict, or two where one instant brought `first` a reply and a failure.
    pub(super) verdicts: Vec<Verdict>,
    /// Whether only the deadline ended it, so that every outcome there is was heard.
    pub(super) by_deadline: bool,
    pub(super) fates: Vec<Fate>,
}

/// What a branch comes to.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) started: Option<u64>,
    pub(super) hedged: bool,
    /// When its second attempt started.
    pub(super) second: Option<u64>,
    pub(super) done: Option<(u64, Outcome<usize, usize>)>,
    /// Whether it is not slow any more, since it has had its hedge.
    was_slow: bool,
    /// Which of its attempts has failed.
    failed: [bool; 2],
}

/// What the contract makes of a scene.
pub(super) fn expect(scene: &Scene) -> Expected {
    let mut walk = Walk {
        scene,
        now: 0,
        fates: scene.scripts.iter().map(|_| Fate::default()).collect(),
    };
    for _ in 0..scene.at_once() {
        walk.start_next();
    }
    loop {
        walk.hear_outcomes();
        if let Some(verdicts) = walk.verdicts() {
            return walk.expected(verdicts, false);
        }
        if walk.now == scene.deadline {
            let verdict = walk.verdict_at_deadline();
            return walk.expected(vec![verdict], true);
        }
        walk.end_times_of_their_own();
        walk.start_hedges();
        walk.hear_outcomes();
        if let Some(verdicts) = walk.verdicts() {
            return walk.expected(verdicts, false);
        }
        walk.now += 1;
    }
}

struct Walk<'a> {
    scene: &'a Scene,
    now: u64,
    fates: Vec<Fate>,
}

impl Walk<'_> {
    fn start_next(&mut self) {
        // At the deadline the gather is over: a call begun then would be of no use.
        let next = self.fates.iter().position(|fate| fate.started.is_none());
        if let Some(branch) = next.filter(|_| self.now < self.scene.deadline) {
            self.fates[branch].started = Some(self.now);
        }
    }

    /// The running branches, with their starts.
    fn running(&self) -> Vec<(usize, u64)> {
        let running = |(branch, fate): (usize, &Fate)| match fate {
            Fate {
                started: Some(started),
                done: None,
                ..
            } => Some((branch, *started)),
            _ => None,
        };
        self.fates.iter().enumerate().filter_map(running).collect()
    }

    fn hear_outcomes(&mut self) {
        while let Some((branch, attempt)) = self.next_end() {
            let script = self.scene.scripts[branch];
            let (number, gives) =
                [(branch, script.gives), (branch + SECOND, script.second.0)][attempt];
            let fate = &mut self.fates[branch];
            match gives {
                Gives::Reply => self.done(branch, Outcome::Succeeded(number)),
                Gives::Failure | Gives::Panic => {
                    fate.failed[attempt] = true;
                    // While the other attempt runs, it is no outcome.
                    if fate.second.is_none() || fate.failed == [true; 2] {
                        self.done(branch, Outcome::Failed(number));
                    }
                }
            }
        }
    }

    /// A branch and an attempt of it that ends now.
    fn next_end(&self) -> Option<(usize, usize)> {
        self.running().into_iter().find_map(|(branch, started)| {
            let (fate, script) = (&self.fates[branch], &self.scene.scripts[branch]);
            let first = started + script.after;
            let second = fate.second.map(|second| second + script.second.1);
            let ends = [Some(first), second];
            let attempt = (0..2).find(|it| ends[*it] == Some(self.now) && !fate.failed[*it]);
            Some((branch, attempt?))
        })
    }

    fn end_times_of_their_own(&mut self) {
        for (branch, started) in self.running() {
            let timeout = self.scene.scripts[branch].timeout;
            if timeout.is_some_and(|timeout| started + timeout == self.now) {
                self.done(branch, Outcome::TimedOut);
            }
        }
    }

    /// A branch is done; one that failed is replaced at once.
    fn done(&mut self, branch: usize, outcome: Outcome<usize, usize>) {
        let succeeded = matches!(outcome, Outcome::Succeeded(_));
        self.fates[branch].done = Some((self.now, outcome));
        if !succeeded {
            self.start_next();
        }
    }

    fn start_hedges(&mut self) {
        let Some(hedge_after) = self.scene.hedge_after else {
            return;
        };
        let has_waiting = self.fates.iter().any(|fate| fate.started.is_none());
        if has_waiting && hedge_after != self.now {
            return;
        }
        for (branch, started) in self.running() {
            let (fate, script) = (&mut self.fates[branch], &self.scene.scripts[branch]);
            let is_slow = started + hedge_after <= self.now && !fate.was_slow;
            fate.was_slow |= is_slow || has_waiting;
            if is_slow && !has_waiting && !script.held_back {
                fate.second = Some(self.now);
                fate.hedged = true;
            }
        }
        for (fate, script) in self.fates.iter_mut().zip(&self.scene.scripts) {
            if fate.started.is_none() && !script.held_back {
                fate.started = Some(self.now);
                fate.hedged = true;
            }
        }
    }

    /// Which branches have succeeded, and which have failed.
    fn succeeded_and_failed(&self) -> (Vec<usize>, Vec<usize>) {
        let done = |branch: &usize| self.fates[*branch].done.is_some();
        (0..self.fates.len()).filter(done).partition(|branch| {
            matches!(self.fates[*branch].done, Some((_, Outcome::Succeeded(_))))
        })
    }

    /// The table of the contract: "over when" and "fails when", but for the deadline.
    fn verdicts(&self) -> Option<Vec<Verdict>> {
        let (succeeded, failed) = self.succeeded_and_failed();
        let total = self.fates.len();
        let can_still = total - failed.len();
        let (met, hopeless) = match self.scene.policy {
            Policy::All => (succeeded.len() == total, !failed.is_empty()),
            Policy::First => (!succeeded.is_empty(), !failed.is_empty()),
            Policy::FirstSuccess => (!succeeded.is_empty(), failed.len() == total),
            Policy::Quorum { need } => (succeeded.len() >= need, can_still < need),
            Policy::Available { need } => {
                let required = failed.iter().any(|one| self.scene.scripts[*one].required);
                let hopeless = can_still < need || required;
                (
                    succeeded.len() + failed.len() == total && !hopeless,
                    hopeless,
                )
            }
        };
        let verdicts: Vec<_> = [(met, Verdict::Met), (hopeless, Verdict::Failed)]
            .into_iter()
            .filter_map(|(holds, verdict)| holds.then_some(verdict))
            .collect();
        (!verdicts.is_empty()).then_some(verdicts)
    }

    fn verdict_at_deadline(&self) -> Verdict {
        let (succeeded, _) = self.succeeded_and_failed();
        let mut scripts = self.scene.scripts.iter().enumerate();
        let required = scripts.all(|(one, script)| !script.required || succeeded.contains(&one));
        match self.scene.policy {
            Policy::Available { need } if succeeded.len() >= need && required => Verdict::Met,
            _ => Verdict::DeadlineExceeded,
        }
    }

    fn expected(self, verdicts: Vec<Verdict>, by_deadline: bool) -> Expected {
        Expected {
            ended: self.now,
            verdicts,
            by_deadline,
            fates: self.fates,
        }
    }
}
