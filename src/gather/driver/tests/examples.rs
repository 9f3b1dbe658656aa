//! Each promise once, by example.

use super::scene::{Scene, failure, reply, silence};
use super::stage::{Event, Gives, SECOND, Script};
use crate::gather::Outcome::{Failed, NotStarted, Succeeded, TimedOut, Unfinished};
use crate::gather::{Policy, Verdict};

const TWO_OF_THEM: Policy = Policy::Quorum { need: 2 };
const WHAT_THERE_IS: Policy = Policy::Available { need: 1 };

fn required(script: Script) -> Script {
    Script {
        required: true,
        ..script
    }
}

fn held_back(script: Script) -> Script {
    Script {
        held_back: true,
        ..script
    }
}

fn within(timeout: u64, script: Script) -> Script {
    Script {
        timeout: Some(timeout),
        ..script
    }
}

fn fidgeting(moment: u64, script: Script) -> Script {
    Script {
        fidgets_at: Some(moment),
        ..script
    }
}

#[test]
fn all_gives_every_reply_in_branch_order_whatever_order_they_came_in() {
    let played = Scene::new(Policy::All, 100, &[reply(30), reply(10), reply(20)]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 30));
    assert_eq!(
        played.outcomes(),
        [&Succeeded(0), &Succeeded(1), &Succeeded(2)]
    );
    assert_eq!([0, 1, 2].map(|branch| played.elapsed(branch)), [30, 10, 20]);
    assert!(played.log.lingers().is_empty());
}

#[test]
fn all_fails_with_the_first_failure_and_what_runs_lingers() {
    let played = Scene::new(Policy::All, 100, &[silence(), failure(10), reply(5)]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Failed, 10));
    assert_eq!(played.outcomes(), [&Unfinished, &Failed(1), &Succeeded(2)]);
    assert_eq!(played.log.lingers(), [0]);
}

#[test]
fn first_takes_whatever_comes_first_a_failure_too() {
    let played = Scene::new(Policy::First, 100, &[reply(20), failure(10)]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Failed, 10));
    let played = Scene::new(Policy::First, 100, &[reply(20), failure(30)]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 20));
    assert_eq!(played.log.lingers(), [1]);
}

#[test]
fn first_success_waits_past_failures_and_fails_with_the_last_of_them() {
    let played = Scene::new(Policy::FirstSuccess, 100, &[failure(10), reply(20)]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 20));
    let played = Scene::new(Policy::FirstSuccess, 100, &[failure(10), failure(20)]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Failed, 20));
}

#[test]
fn a_quorum_is_over_with_its_last_success_or_with_its_last_hope() {
    let played = Scene::new(TWO_OF_THEM, 100, &[reply(20), failure(5), reply(10)]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 20));
    let played = Scene::new(TWO_OF_THEM, 100, &[failure(10), failure(5), silence()]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Failed, 10));
    assert_eq!(played.log.lingers(), [2]);
}

#[test]
fn available_waits_for_every_branch_and_takes_what_there_is_at_the_deadline() {
    let played = Scene::new(WHAT_THERE_IS, 100, &[reply(10), failure(20)]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 20));
    let played = Scene::new(WHAT_THERE_IS, 100, &[reply(10), silence()]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 100));
    assert_eq!(played.outcomes(), [&Succeeded(0), &TimedOut]);
    let played = Scene::new(WHAT_THERE_IS, 100, &[failure(10), silence()]).play();
    assert_eq!(played.verdict, Verdict::DeadlineExceeded);
}

#[test]
fn a_required_branch_that_fails_or_is_late_leaves_nothing_available() {
    let played = Scene::new(
        WHAT_THERE_IS,
        100,
        &[reply(5), required(failure(10)), silence()],
    )
    .play();
    assert_eq!((played.verdict, played.ended), (Verdict::Failed, 10));
    let played = Scene::new(WHAT_THERE_IS, 100, &[reply(5), required(silence())]).play();
    assert_eq!(
        (played.verdict, played.ended),
        (Verdict::DeadlineExceeded, 100)
    );
}

#[test]
fn an_outcome_that_is_there_in_the_same_wake_as_the_deadline_counts() {
    let played = Scene::new(Policy::All, 100, &[reply(100); 64]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 100));
    let played = Scene::new(Policy::All, 100, &[reply(101); 64]).play();
    assert_eq!(
        (played.verdict, played.ended),
        (Verdict::DeadlineExceeded, 100)
    );
    assert_eq!(played.log.lingers().len(), 64);
}

#[test]
fn calls_that_wake_themselves_do_not_hide_an_outcome_at_the_deadline() {
    let mut scripts = [fidgeting(100, silence()); 64];
    scripts[63] = reply(100);
    let played = Scene::new(WHAT_THERE_IS, 100, &scripts).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 100));
}

#[test]
fn a_branch_that_is_late_for_itself_has_failed_and_lingers() {
    let played = Scene::new(Policy::All, 100, &[within(20, silence()), reply(5)]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Failed, 20));
    assert_eq!(played.outcomes(), [&TimedOut, &Succeeded(1)]);
    let lingers_once = [(20, Event::Lingers(0))];
    assert!(played.log.events().ends_with(&lingers_once));
    assert_eq!(played.log.lingers(), [0]);
}

#[test]
fn a_branch_that_is_just_in_time_has_succeeded() {
    let played = Scene::new(Policy::All, 100, &[within(20, reply(20))]).play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 20));
}

#[test]
fn hedges_start_together_when_their_time_has_come() {
    let scripts = [silence(), reply(10), silence()];
    let played = Scene::new(Policy::FirstSuccess, 100, &scripts)
        .hedged_after(30)
        .play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 40));
    assert_eq!(
        [0, 1, 2].map(|branch| played.started(branch)),
        [Some(0), Some(30), Some(30)]
    );
    assert_eq!(
        played
            .branches
            .iter()
            .map(|branch| branch.hedged)
            .collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(played.log.lingers(), [0, 2]);
}

#[test]
fn a_quick_reply_needs_no_hedge() {
    let played = Scene::new(TWO_OF_THEM, 100, &[reply(10), reply(30), reply(0)])
        .hedged_after(30)
        .play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 30));
    assert_eq!(
        played.outcomes(),
        [&Succeeded(0), &Succeeded(1), &NotStarted]
    );
}

#[test]
fn a_failure_is_made_good_at_once_even_by_a_branch_that_may_not_hedge() {
    let scripts = [failure(10), held_back(failure(35)), held_back(reply(5))];
    let played = Scene::new(Policy::FirstSuccess, 100, &scripts)
        .hedged_after(30)
        .play();
    assert_eq!(
        [0, 1, 2].map(|branch| played.started(branch)),
        [Some(0), Some(10), Some(45)]
    );
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 50));
    assert!(played.branches.iter().all(|branch| !branch.hedged));
}

#[test]
fn a_hedge_that_is_held_back_holds_back_no_other() {
    let scripts = [silence(), held_back(silence()), reply(10)];
    let played = Scene::new(Policy::FirstSuccess, 100, &scripts)
        .hedged_after(30)
        .play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 40));
    assert_eq!(played.outcomes(), [&Unfinished, &NotStarted, &Succeeded(2)]);
}

#[test]
fn a_failure_is_not_made_good_when_the_deadline_is_there() {
    let played = Scene::new(Policy::FirstSuccess, 100, &[failure(100), reply(0)])
        .hedged_after(200)
        .play();
    assert_eq!(
        (played.verdict, played.ended),
        (Verdict::DeadlineExceeded, 100)
    );
    assert_eq!(played.outcomes(), [&Failed(0), &NotStarted]);
}

#[test]
fn a_gather_that_is_heard_of_too_late_starts_no_hedges_and_still_counts_what_is_there() {
    let scene = Scene::new(TWO_OF_THEM, 100, &[reply(40), silence(), silence()]).hedged_after(30);
    let played = scene.play_stalled(20, 200);
    assert_eq!(
        (played.verdict, played.ended),
        (Verdict::DeadlineExceeded, 220)
    );
    assert_eq!(played.outcomes(), [&Succeeded(0), &TimedOut, &NotStarted]);
}

#[test]
fn a_client_that_leaves_leaves_running_calls_to_linger_and_the_others_unstarted() {
    let scene = Scene::new(Policy::FirstSuccess, 100, &[silence(), silence()]).hedged_after(30);
    assert_eq!(scene.play_until(29, true).0.lingers(), [0]);
    assert_eq!(scene.play_until(30, false).0.lingers(), [0]);
    assert_eq!(scene.play_until(30, true).0.lingers(), [0, 1]);
    assert!(scene.play_until(0, false).0.events().is_empty());
}

#[test]
fn a_call_that_panics_is_over_and_the_others_linger() {
    let panic = Script {
        gives: Gives::Panic,
        ..reply(10)
    };
    let (log, panicked) =
        Scene::new(Policy::All, 100, &[silence(), panic, silence()]).play_with_panics();
    assert!(panicked);
    assert_eq!(log.lingers(), [0, 2]);
}

/// A branch that is slow, and whose second attempt replies after a time.
fn slow_then(after: u64) -> Script {
    Script {
        second: (Gives::Reply, after),
        ..silence()
    }
}

#[test]
fn the_straggler_of_all_gets_a_second_attempt_and_the_loser_lingers() {
    let scripts = [reply(5), slow_then(7), reply(6)];
    let played = Scene::new(Policy::All, 100, &scripts)
        .hedged_after(20)
        .play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 27));
    let outcomes = [&Succeeded(0), &Succeeded(1 + SECOND), &Succeeded(2)];
    assert_eq!(played.outcomes(), outcomes);
    assert_eq!(played.elapsed(1), 27);
    let hedges = played.branches.iter().map(|it| (it.hedged, it.hedge_won));
    assert!(hedges.eq([(false, false), (true, true), (false, false)]));
    assert_eq!(played.log.events().last(), Some(&(27, Event::Lingers(1))));
}

#[test]
fn a_failed_attempt_is_no_outcome_while_the_other_runs() {
    let first_fails = Script {
        second: (Gives::Reply, 15),
        ..failure(25)
    };
    let played = Scene::new(Policy::All, 100, &[first_fails])
        .hedged_after(20)
        .play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 35));
    let second_fails = Script {
        second: (Gives::Failure, 5),
        ..reply(40)
    };
    let played = Scene::new(Policy::All, 100, &[second_fails])
        .hedged_after(20)
        .play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 40));
    assert!(!played.branches[0].hedge_won);
    let both_fail = Script {
        second: (Gives::Failure, 5),
        ..failure(40)
    };
    let played = Scene::new(Policy::All, 100, &[both_fail])
        .hedged_after(20)
        .play();
    assert_eq!((played.verdict, played.ended), (Verdict::Failed, 40));
}

#[test]
fn a_branch_has_one_hedge_at_most() {
    let played = Scene::new(WHAT_THERE_IS, 100, &[silence(), reply(1)])
        .hedged_after(20)
        .play();
    let again = (20, Event::Again(0));
    let events = played.log.events();
    assert_eq!(events.iter().filter(|it| **it == again).count(), 1);
    assert_eq!(played.log.lingers(), [0, 0]);
}

#[test]
fn a_branch_is_slow_when_it_takes_twice_as_long_as_most_of_its_siblings() {
    let scripts = [reply(10), slow_then(3), reply(12), reply(11), reply(8)];
    let played = Scene::new(Policy::All, 100, &scripts)
        .hedged_beside_siblings()
        .play();
    assert!(played.log.events().contains(&(24, Event::Again(1))));
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 27));
    // Half of the siblings are not most of them.
    let scripts = [reply(10), slow_then(3), silence()];
    let played = Scene::new(Policy::All, 100, &scripts)
        .hedged_beside_siblings()
        .play();
    assert_eq!(played.verdict, Verdict::DeadlineExceeded);
    let is_again = |(_, event): &(u64, Event)| matches!(event, Event::Again(_));
    assert!(!played.log.events().iter().any(is_again));
}

#[test]
fn a_second_attempt_that_is_held_back_is_asked_for_again() {
    let played = Scene::new(Policy::All, 100, &[held_back(reply(70))])
        .hedged_after(20)
        .play();
    assert_eq!((played.verdict, played.ended), (Verdict::Met, 70));
    let held = |(moment, event)| (event == Event::HeldBack(0)).then_some(moment);
    let held: Vec<u64> = played.log.events().into_iter().filter_map(held).collect();
    assert_eq!(held, [20, 40, 60]);
}
