//! The breaker by itself, on a paused clock.

use tokio::time::advance;

use super::*;
use crate::metrics::Metrics;

const EXPECTED: Duration = Duration::from_secs(1);

fn breaker() -> Arc<Breaker> {
    let settings = BreakerSettings {
        failures: 0.5,
        window: Duration::from_secs(10),
        min_calls: 4,
        open_for: Duration::from_secs(5),
    };
    Breaker::new(&settings, Metrics::new().upstream("work", &["connect"]))
}

fn call(breaker: &Arc<Breaker>, ended: Ended) {
    let mut passage = breaker.pass(EXPECTED).expect("it is not open");
    passage.ended(ended);
}

#[tokio::test(start_paused = true)]
async fn it_opens_at_its_share_of_failures_and_not_before_enough_calls() {
    let breaker = breaker();
    for ended in [Ended::Badly, Ended::Badly, Ended::Badly] {
        call(&breaker, ended);
    }
    assert!(breaker.pass(EXPECTED).is_some(), "three calls are too few");
    call(&breaker, Ended::Well);
    assert!(breaker.pass(EXPECTED).is_none());
    assert_eq!(breaker.is_open_for(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn fewer_failures_leave_it_closed() {
    let breaker = breaker();
    for _ in 0..100 {
        call(&breaker, Ended::Well);
        call(&breaker, Ended::Well);
        call(&breaker, Ended::Badly);
    }
    assert!(breaker.pass(EXPECTED).is_some());
}

#[tokio::test(start_paused = true)]
async fn failures_are_forgotten_with_the_window() {
    let breaker = breaker();
    for _ in 0..3 {
        call(&breaker, Ended::Badly);
    }
    advance(Duration::from_secs(11)).await;
    for _ in 0..3 {
        call(&breaker, Ended::Well);
        call(&breaker, Ended::Well);
        call(&breaker, Ended::Badly);
    }
    assert!(breaker.pass(EXPECTED).is_some());
    advance(Duration::from_secs(3600)).await;
    call(&breaker, Ended::Badly);
    assert!(breaker.pass(EXPECTED).is_some(), "one call is too few");
}

#[tokio::test(start_paused = true)]
async fn calls_that_say_nothing_of_the_upstream_do_not_count() {
    let breaker = breaker();
    for _ in 0..100 {
        call(&breaker, Ended::Unknown);
    }
    for _ in 0..3 {
        call(&breaker, Ended::Badly);
    }
    assert!(breaker.pass(EXPECTED).is_some());
}

#[tokio::test(start_paused = true)]
async fn after_its_time_one_call_at_a_time_tries_the_upstream() {
    let breaker = breaker();
    let before = breaker.pass(EXPECTED).unwrap();
    for _ in 0..4 {
        call(&breaker, Ended::Badly);
    }
    advance(Duration::from_secs(5)).await;
    let mut probe = breaker.pass(EXPECTED).unwrap();
    assert!(breaker.pass(EXPECTED).is_none());
    assert_eq!(breaker.is_open_for(), Duration::ZERO);
    // One from before it opened changes nothing.
    drop(before);
    assert!(breaker.pass(EXPECTED).is_none());
    probe.ended(Ended::Badly);
    drop(probe);
    assert!(breaker.pass(EXPECTED).is_none());
    assert_eq!(breaker.is_open_for(), Duration::from_secs(5));
    advance(Duration::from_secs(5)).await;
    drop(breaker.pass(EXPECTED).unwrap());
    let mut probe = breaker.pass(EXPECTED).expect("the one before told nothing");
    probe.ended(Ended::Well);
    drop(probe);
    call(&breaker, Ended::Badly);
    assert!(
        breaker.pass(EXPECTED).is_some(),
        "what was before is forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_longer_than_expected_is_a_failure_and_one_cut_off_before_is_none() {
    let breaker = breaker();
    for _ in 0..100 {
        drop(breaker.pass(EXPECTED));
    }
    for _ in 0..4 {
        let late = breaker.pass(EXPECTED).expect("it is closed");
        advance(EXPECTED).await;
        drop(late);
    }
    assert!(breaker.pass(EXPECTED).is_none());
}
