use super::*;
use crate::metrics::Metrics;

const TIMEOUTS: Timeouts = Timeouts {
    handshake: Duration::from_secs(10),
    header: Duration::from_secs(5),
    idle: Duration::from_secs(75),
    write: Duration::from_secs(15),
};

fn accepted() -> Activity {
    Activity::new(0, Metrics::new().edge.connection())
}

fn due(activity: &Activity) -> Option<(u64, Overdue)> {
    let (due, overdue) = activity.due(&TIMEOUTS)?;
    Some((due.duration_since(Instant::now()).as_secs(), overdue))
}

#[tokio::test(start_paused = true)]
async fn each_phase_has_the_limit_that_names_it() {
    let activity = accepted();
    assert_eq!(due(&activity), Some((10, Overdue::Head)));
    activity.connected(Protocol::Http1);
    assert_eq!(due(&activity), Some((5, Overdue::Idle)));
    assert!(activity.received(1, 0));
    assert_eq!(due(&activity), Some((5, Overdue::Head)));
    activity.begin(Protocol::Http1);
    assert_eq!(due(&activity), None);
    assert!(activity.blocks());
    assert!(!activity.blocks());
    assert_eq!(due(&activity), Some((15, Overdue::Write)));
    activity.sent();
    let response = activity.respond();
    assert_eq!(due(&activity), Some((15, Overdue::Write)));
    activity.end(Some(response));
    assert_eq!(due(&activity), Some((75, Overdue::Idle)));
}

#[tokio::test(start_paused = true)]
async fn a_drain_awaits_what_was_begun_and_what_may_be_on_its_way() {
    let activity = accepted();
    let awaited = |activity: &Activity| activity.awaited().map(|(_, what)| what);
    assert_eq!(awaited(&activity), Some(Awaited::End));
    activity.connected(Protocol::Http1);
    assert_eq!(awaited(&activity), Some(Awaited::Request));
    assert!(activity.received(1, 0));
    assert_eq!(awaited(&activity), Some(Awaited::End));
    activity.begin(Protocol::Http1);
    assert_eq!(awaited(&activity), None);
    assert_eq!(activity.unused_since(), None);
    assert!(!activity.is_last_response());
    activity.end_soon();
    assert!(activity.is_last_response());
    let http2 = accepted();
    http2.connected(Protocol::Http2);
    assert_eq!(awaited(&http2), Some(Awaited::Request));
    http2.begin(Protocol::Http2);
    http2.end(None);
    assert_eq!(awaited(&http2), None);
    http2.end_soon();
    assert!(!http2.is_last_response());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_in_has_one_limit_from_its_first_byte() {
    let activity = accepted();
    activity.connected(Protocol::Http1);
    assert!(activity.received(1, 0));
    tokio::time::advance(Duration::from_secs(4)).await;
    assert!(activity.received(1, 0));
    assert_eq!(due(&activity), Some((1, Overdue::Head)));
}

#[tokio::test(start_paused = true)]
async fn frames_that_make_no_request_are_a_flood_in_the_end() {
    let activity = accepted();
    activity.connected(Protocol::Http2);
    for _ in 0..100 {
        assert!(activity.received(64 * 1024, IDLE_OF_A_REQUEST));
        activity.begin(Protocol::Http2);
    }
    assert!(activity.received(MOST_UNCLAIMED, 0));
    assert!(!activity.received(1, 0));
    // A request now and then does not make them good.
    activity.begin(Protocol::Http2);
    assert!(activity.received(1, MOST_IDLE));
    activity.begin(Protocol::Http2);
    assert!(!activity.received(1, 2 * IDLE_OF_A_REQUEST));
}

#[tokio::test(start_paused = true)]
async fn bytes_of_the_next_head_that_came_early_count_from_when_they_came() {
    let activity = accepted();
    activity.connected(Protocol::Http1);
    activity.begin(Protocol::Http1);
    assert!(activity.received(1, 0));
    activity.end(None);
    assert_eq!(due(&activity), Some((5, Overdue::Head)));
}

#[tokio::test(start_paused = true)]
async fn pings_keep_no_idle_http2_connection_and_a_stuck_response_ends_one() {
    let activity = accepted();
    activity.connected(Protocol::Http2);
    activity.begin(Protocol::Http2);
    activity.begin(Protocol::Http2);
    let (stuck, moving) = (activity.respond(), activity.respond());
    tokio::time::advance(Duration::from_secs(10)).await;
    activity.progress(moving);
    assert_eq!(due(&activity), Some((5, Overdue::Write)));
    activity.end(Some(stuck));
    assert_eq!(due(&activity), Some((15, Overdue::Write)));
    activity.end(Some(moving));
    tokio::time::advance(Duration::from_secs(70)).await;
    assert!(activity.received(1, 0));
    assert_eq!(due(&activity), Some((5, Overdue::Idle)));
}
