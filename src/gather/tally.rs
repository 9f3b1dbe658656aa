//! Outcome in, verdict out: a state machine without clock or I/O.

use super::Completion;

/// What a gather is worth, once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The policy is met.
    Met,
    /// Branches failed, and the policy cannot be met any more.
    Failed,
    /// The deadline came before the policy was met.
    DeadlineExceeded,
}

/// Counts the outcomes of one gather.
#[derive(Debug)]
pub struct Tally {
    completion: Completion,
    total: usize,
    succeeded: usize,
    failed: usize,
    /// Required branches that have not succeeded yet.
    required: usize,
}

impl Tally {
    /// A tally of `total` branches, `required` of which must succeed whatever the others do.
    #[must_use]
    pub fn new(completion: Completion, total: usize, required: usize) -> Self {
        Self {
            completion,
            total,
            succeeded: 0,
            failed: 0,
            required,
        }
    }

    /// One branch succeeded. Gives the verdict as soon as there is one.
    pub fn success(&mut self, required: bool) -> Option<Verdict> {
        self.succeeded += 1;
        self.required -= usize::from(required);
        match self.completion {
            Completion::FirstDone => Some(Verdict::Met),
            Completion::Successes { need } => (self.succeeded >= need).then_some(Verdict::Met),
            Completion::AllDone { .. } => self.all_done(),
        }
    }

    /// One branch failed. Gives the verdict at the first moment it is certain.
    pub fn failure(&mut self, required: bool) -> Option<Verdict> {
        self.failed += 1;
        match self.completion {
            Completion::FirstDone => Some(Verdict::Failed),
            _ if required => Some(Verdict::Failed),
            Completion::Successes { need } => self.hopeless(need).then_some(Verdict::Failed),
            Completion::AllDone { need } if self.hopeless(need) => Some(Verdict::Failed),
            Completion::AllDone { .. } => self.all_done(),
        }
    }

    /// The deadline came: what is not done by now does not count.
    #[must_use]
    pub fn deadline(&self) -> Verdict {
        match self.completion {
            Completion::AllDone { need } if self.succeeded >= need && self.required == 0 => {
                Verdict::Met
            }
            _ => Verdict::DeadlineExceeded,
        }
    }

    /// Whether fewer than `need` branches can still succeed.
    fn hopeless(&self, need: usize) -> bool {
        self.total - self.failed < need
    }

    fn all_done(&self) -> Option<Verdict> {
        (self.succeeded + self.failed == self.total).then_some(Verdict::Met)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(completion: Completion, outcomes: &[bool]) -> (usize, Option<Verdict>) {
        let mut tally = Tally::new(completion, outcomes.len(), 0);
        for (index, succeeded) in outcomes.iter().enumerate() {
            let verdict = if *succeeded {
                tally.success(false)
            } else {
                tally.failure(false)
            };
            if verdict.is_some() {
                return (index + 1, verdict);
            }
        }
        (outcomes.len(), None)
    }

    #[test]
    fn all_needs_every_branch_and_fails_with_the_first_failure() {
        let all = Completion::Successes { need: 3 };
        assert_eq!(tally(all, &[true, true, true]), (3, Some(Verdict::Met)));
        assert_eq!(tally(all, &[true, false, true]), (2, Some(Verdict::Failed)));
    }

    #[test]
    fn the_first_done_decides_whatever_it_gave() {
        assert_eq!(
            tally(Completion::FirstDone, &[true, false]),
            (1, Some(Verdict::Met))
        );
        assert_eq!(
            tally(Completion::FirstDone, &[false, true]),
            (1, Some(Verdict::Failed))
        );
    }

    #[test]
    fn a_quorum_that_cannot_be_reached_fails_at_once() {
        let two = Completion::Successes { need: 2 };
        assert_eq!(tally(two, &[false, true, true]), (3, Some(Verdict::Met)));
        assert_eq!(
            tally(two, &[false, false, true]),
            (2, Some(Verdict::Failed))
        );
    }

    #[test]
    fn available_waits_for_every_branch_and_fails_when_too_few_are_left() {
        let one = Completion::AllDone { need: 1 };
        assert_eq!(tally(one, &[true, false, false]), (3, Some(Verdict::Met)));
        assert_eq!(
            tally(one, &[false, false, false]),
            (3, Some(Verdict::Failed))
        );
        let two = Completion::AllDone { need: 2 };
        assert_eq!(
            tally(two, &[false, false, true]),
            (2, Some(Verdict::Failed))
        );
    }

    #[test]
    fn a_required_branch_that_fails_ends_the_gather_at_once() {
        let mut tally = Tally::new(Completion::AllDone { need: 1 }, 3, 1);
        assert_eq!(tally.success(false), None);
        assert_eq!(tally.failure(true), Some(Verdict::Failed));
    }

    #[test]
    fn at_the_deadline_available_is_worth_what_is_there_unless_a_required_branch_is_not() {
        let mut tally = Tally::new(Completion::AllDone { need: 1 }, 3, 1);
        assert_eq!(tally.deadline(), Verdict::DeadlineExceeded);
        assert_eq!(tally.success(false), None);
        assert_eq!(tally.deadline(), Verdict::DeadlineExceeded);
        assert_eq!(tally.success(true), None);
        assert_eq!(tally.deadline(), Verdict::Met);
    }

    #[test]
    fn at_the_deadline_the_other_policies_have_failed() {
        let mut quorum = Tally::new(Completion::Successes { need: 2 }, 3, 0);
        assert_eq!(quorum.success(false), None);
        assert_eq!(quorum.deadline(), Verdict::DeadlineExceeded);
        assert_eq!(
            Tally::new(Completion::FirstDone, 2, 0).deadline(),
            Verdict::DeadlineExceeded
        );
    }
}
