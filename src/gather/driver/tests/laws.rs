//! The promises as laws over random gathers, on a grid of few milliseconds so that ties are common.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::model::{Expected, Fate, expect};
use super::scene::{NEVER, Played, Scene, reply};
use super::stage::{Event, Gives, SECOND, Script};
use crate::gather::{Branch, Outcome, Policy};

type Checked = Result<(), TestCaseError>;

/// The last millisecond at which anything is planned to happen.
const LAST: u64 = 12;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3_000,
        max_shrink_time: 5_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_gather_comes_to_what_the_contract_says_when_it_says(scene in scenes()) {
        let played = scene.play();
        let expected = expect(&scene);
        prop_assert_eq!(played.ended, expected.ended);
        prop_assert!(played.ended <= scene.deadline);
        prop_assert!(expected.verdicts.contains(&played.verdict));
        prop_assert_eq!(played.branches.len(), scene.scripts.len());
        for number in 0..scene.scripts.len() {
            came_to(&scene, &played, &expected, number)?;
        }
    }

    #[test]
    fn the_driver_starts_and_hands_over_only_what_it_may(scene in scenes()) {
        let played = scene.play();
        let events = played.log.events();
        every_call_that_started_ended_or_lingers(&events)?;
        starts_have_their_reasons(&scene, &events)?;
        calls_linger_when_their_time_is_over(&scene, &played)?;
        someone_is_at_work_until_the_end(&scene, &events, played.ended)?;
    }

    #[test]
    fn a_client_that_leaves_changes_nothing_before_and_leaves_no_call_behind(
        scene in scenes(),
        leaves in 0..=LAST + 1,
        driver_first in any::<bool>(),
    ) {
        let undisturbed = scene.play();
        let (log, finished) = scene.play_until(leaves, driver_first);
        let events = log.events();
        every_call_that_started_ended_or_lingers(&events)?;
        let before = |(moment, _): &&(u64, Event)| *moment < leaves;
        let undisturbed_events = undisturbed.log.events();
        prop_assert!(events.iter().filter(before).eq(undisturbed_events.iter().filter(before)));
        prop_assert!(events.iter().all(|(moment, _)| *moment <= leaves));
        prop_assert!(!finished || undisturbed.ended <= leaves);
        prop_assert!(finished || undisturbed.ended >= leaves);
    }

    #[test]
    fn a_call_that_panics_takes_no_other_with_it(
        scene in scenes(),
        panics in any::<prop::sample::Index>(),
    ) {
        let mut scene = scene;
        let panics = panics.index(scene.scripts.len());
        scene.scripts[panics].gives = Gives::Panic;
        let (log, panicked) = scene.play_with_panics();
        let events = log.events();
        every_call_that_started_ended_or_lingers(&events)?;
        let scripted = events.iter().any(|(_, event)| *event == Event::Panicked(panics));
        prop_assert_eq!(panicked, scripted);
    }

    #[test]
    fn a_process_that_slept_starts_nothing_past_the_deadline(
        scene in scenes(),
        from in 0..=LAST,
        stall in 1..=2 * LAST,
    ) {
        let played = scene.play_stalled(from, stall);
        let events = played.log.events();
        every_call_that_started_ended_or_lingers(&events)?;
        prop_assert!(played.ended <= scene.deadline.max(from + stall));
        for (moment, event) in events {
            let starts = matches!(event, Event::Started(_) | Event::Hedged(_) | Event::Again(_));
            prop_assert!(!starts || moment < scene.deadline, "{event:?} at {moment}");
        }
    }
}

/// A branch is in its place with the outcome, the start and the time that the contract says.
fn came_to(scene: &Scene, played: &Played, expected: &Expected, number: usize) -> Checked {
    let Branch {
        outcome,
        hedged,
        hedge_won,
        ..
    } = &played.branches[number];
    let Fate {
        started,
        hedged: expected_hedged,
        second,
        done,
        ..
    } = &expected.fates[number];
    let over_at_once = *started == Some(played.ended) && !expected.by_deadline;
    let (Some(began), false) = (*started, over_at_once && *outcome == Outcome::NotStarted) else {
        prop_assert_eq!(outcome, &Outcome::NotStarted);
        prop_assert_eq!((played.started(number), played.elapsed(number)), (None, 0));
        return Ok(());
    };
    prop_assert_eq!(played.started(number), Some(began));
    let second_at_once = *second == Some(played.ended) && !expected.by_deadline;
    prop_assert!(hedged == expected_hedged || second_at_once);
    let unheard = if played.ended == scene.deadline {
        Outcome::TimedOut
    } else {
        Outcome::Unfinished
    };
    let (moment, heard) = done
        .as_ref()
        .map_or((played.ended, &unheard), |(at, what)| (*at, what));
    prop_assert_eq!(played.elapsed(number), moment - began);
    // What is done in the very instant of another's verdict may be heard or not.
    let in_time = moment < played.ended || expected.by_deadline;
    // Where both attempts end in one instant, either may be heard first.
    let script = &scene.scripts[number];
    let both = second.map(|second| second + script.second.1) == Some(began + script.after);
    let is_heard = outcome == heard || (both && branch_of(outcome) == branch_of(heard));
    prop_assert!(
        is_heard || (!in_time && *outcome == unheard),
        "{outcome:?}, not {heard:?}"
    );
    if let (Outcome::Succeeded(number), false) = (outcome, both) {
        let is_second = *number >= SECOND;
        let won = is_second || (*expected_hedged && second.is_none());
        prop_assert_eq!(*hedge_won, won);
    }
    Ok(())
}

/// The outcome, of whichever attempt it is.
fn branch_of(outcome: &Outcome<usize, usize>) -> Option<(bool, usize)> {
    match outcome {
        Outcome::Succeeded(number) => Some((true, number % SECOND)),
        Outcome::Failed(number) => Some((false, number % SECOND)),
        _ => None,
    }
}

/// Each call starts once, or twice with its second attempt, and then either ends or is handed over, once.
fn every_call_that_started_ended_or_lingers(events: &[(u64, Event)]) -> Checked {
    for branch in 0..64 {
        let (mut starts, mut again, mut ends, mut lingers) = (0, 0, 0, 0);
        for (_, event) in events {
            match *event {
                Event::Started(it) | Event::Hedged(it) if it == branch => starts += 1,
                Event::Again(it) if it == branch => again += 1,
                Event::Succeeded(it) | Event::Failed(it) | Event::Panicked(it) if it == branch => {
                    ends += 1;
                }
                Event::Lingers(it) if it == branch => lingers += 1,
                _ => {}
            }
            prop_assert!(
                ends + lingers <= starts + again,
                "{event:?} of a call that does not run"
            );
        }
        prop_assert!(starts <= 1, "branch {branch} is started twice");
        prop_assert!(again <= starts, "branch {branch} has two hedges");
        prop_assert_eq!(ends + lingers, starts + again, "branch {}", branch);
    }
    Ok(())
}

/// The first start with the gather, a hedge by its time alone, any other for a branch that failed.
fn starts_have_their_reasons(scene: &Scene, events: &[(u64, Event)]) -> Checked {
    let (mut starts, mut failures) = (0, 0);
    for (moment, event) in events {
        match event {
            Event::Started(branch) => {
                starts += 1;
                prop_assert!(
                    starts <= scene.at_once() + failures,
                    "branch {branch} replaces none"
                );
                prop_assert!(starts > scene.at_once() || (*branch, *moment) == (starts - 1, 0));
            }
            Event::Hedged(_) => prop_assert_eq!(Some(*moment), scene.hedge_after),
            Event::Again(_) | Event::HeldBack(_) => {
                prop_assert!(scene.hedge_after.is_some_and(|after| after <= *moment));
            }
            // Before the end, only a branch whose own time is over is handed over.
            Event::Failed(_) | Event::Lingers(_) => failures += 1,
            Event::Succeeded(_) | Event::Panicked(_) => {}
        }
    }
    Ok(())
}

/// A call is handed over with the end of the gather, or with the end of its branch's own time.
fn calls_linger_when_their_time_is_over(scene: &Scene, played: &Played) -> Checked {
    for (moment, event) in played.log.events() {
        if let Event::Lingers(branch) = event {
            let timeout = scene.scripts[branch].timeout;
            let own = played
                .started(branch)
                .zip(timeout)
                .map(|(start, time)| start + time);
            let ended = own.unwrap_or(played.ended).min(played.ended);
            // Or the other attempt was quicker.
            let events = played.log.events();
            let is_outrun = events.contains(&(moment, Event::Succeeded(branch)))
                && events
                    .iter()
                    .any(|(_, event)| *event == Event::Again(branch));
            prop_assert!(moment == ended || is_outrun);
        }
    }
    Ok(())
}

/// While the gather is open a branch is running or the hedge timer is armed; and while a branch is
/// left to start, as many run as are still needed.
fn someone_is_at_work_until_the_end(scene: &Scene, events: &[(u64, Event)], end: u64) -> Checked {
    for now in 0..end {
        let (mut running, mut succeeded, mut started) = (0, 0, 0);
        for (_, event) in events.iter().filter(|(moment, _)| *moment <= now) {
            match event {
                Event::Started(_) | Event::Hedged(_) => {
                    (running, started) = (running + 1, started + 1)
                }
                Event::Again(_) => running += 1,
                Event::Succeeded(_) => (running, succeeded) = (running - 1, succeeded + 1),
                Event::Failed(_) | Event::Panicked(_) | Event::Lingers(_) => running -= 1,
                Event::HeldBack(_) => {}
            }
        }
        let left = started < scene.scripts.len();
        let armed = left && scene.hedge_after.is_some_and(|after| now < after);
        prop_assert!(running > 0 || armed, "nothing is going on at {now}");
        prop_assert!(
            !left || running + succeeded >= scene.at_once(),
            "a failure was not replaced"
        );
    }
    Ok(())
}

fn scenes() -> impl Strategy<Value = Scene> {
    let total = prop_oneof![12 => 1..=6_usize, 1 => Just(64)];
    (total, any::<bool>()).prop_flat_map(|(total, fidgety)| {
        let scripts = prop::collection::vec(scripts(fidgety), total);
        let hedge_after = prop::option::of(1..=LAST);
        (policies(total), hedge_after, 0..=LAST, scripts).prop_map(
            |(policy, hedge_after, deadline, mut scripts)| {
                let hedges = policy != Policy::First;
                if !matches!(policy, Policy::Available { .. }) {
                    scripts
                        .iter_mut()
                        .for_each(|script| script.required = false);
                }
                Scene {
                    policy,
                    hedge_after: hedge_after.filter(|_| hedges),
                    beside_siblings: false,
                    deadline,
                    scripts,
                }
            },
        )
    })
}

fn policies(total: usize) -> impl Strategy<Value = Policy> {
    prop_oneof![
        1 => Just(Policy::All),
        1 => Just(Policy::First),
        2 => Just(Policy::FirstSuccess),
        2 => (1..=total).prop_map(|need| Policy::Quorum { need }),
        2 => (1..=total).prop_map(|need| Policy::Available { need }),
    ]
}

/// Fidgety calls take some time, or it would be open whether their failure or a hedge comes first.
fn scripts(fidgety: bool) -> impl Strategy<Value = Script> {
    let gives = prop_oneof![Just(Gives::Reply), Just(Gives::Failure)];
    let after = prop_oneof![8 => u64::from(fidgety)..=LAST, 1 => Just(NEVER)];
    let timeout = prop::option::weighted(0.3, 1..=LAST);
    let fidgets_at = prop::option::of(0..=LAST);
    let second = (gives.clone(), after.clone());
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    (gives, after, timeout, fidgets_at, second, flags).prop_map(
        move |(gives, after, timeout, fidgets_at, second, (required, held_back))| Script {
            gives,
            timeout,
            required,
            held_back,
            second,
            fidgets_at: fidgets_at.filter(|_| fidgety),
            ..reply(after)
        },
    )
}
