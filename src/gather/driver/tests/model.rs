//! What a gather must come to, from the contract alone: a walk through its milliseconds.
//!
//! It shares neither the tally nor the driver; it counts anew what every branch has come to.
//! Where the contract leaves open which of two things at one instant is heard first, so does this.

use super::scene::Scene;
use super::stage::Gives;
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
    pub(super) done: Option<(u64, Outcome<usize, usize>)>,
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
        // At the deadline the gather is over: a call begun then would serve nobody.
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
        while let Some((branch, _)) = self
            .running()
            .into_iter()
            .find(|(branch, started)| started + self.scene.scripts[*branch].after == self.now)
        {
            match self.scene.scripts[branch].gives {
                Gives::Reply => self.done(branch, Outcome::Succeeded(branch)),
                Gives::Failure | Gives::Panic => self.done(branch, Outcome::Failed(branch)),
            }
        }
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
        if self.scene.hedge_after != Some(self.now) {
            return;
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
