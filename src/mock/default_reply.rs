//! What the mock answers when no fault is asked for.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::script::{Reply, Step};
use crate::config::{MockDelay, MockSettings};

const NO_DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::ZERO;
const FAILED: &[u8] = br#"{"error":"the mock fails this share of its replies"}"#;

/// The settings, in the form that answers fastest.
#[derive(Debug)]
pub(super) struct DefaultReply {
    body: Bytes,
    delay: MockDelay,
    failure_rate: f64,
    /// The whole 200 as HTTP/1.1 writes it, when there never is another reply nor a delay.
    written: Option<Bytes>,
}

impl DefaultReply {
    /// Prepares what `settings` say.
    pub(super) fn new(settings: &MockSettings) -> Self {
        let body = Bytes::from(settings.body.clone());
        let head = Reply::json(200, body.clone()).head();
        Self {
            written: (settings.delay == NO_DELAY.into() && settings.failure_rate <= 0.0)
                .then(|| [head.as_ref(), body.as_ref()].concat().into()),
            body,
            delay: settings.delay.clone(),
            failure_rate: settings.failure_rate,
        }
    }

    /// The configured body.
    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// The reply after its delay, for both protocols.
    pub(super) fn reply(&self) -> Reply {
        let mut reply = if self.fails() {
            Reply::json(500, Bytes::from_static(FAILED))
        } else {
            Reply::json(200, self.body())
        };
        reply.before.extend(pause(&self.delay));
        reply
    }

    /// The reply as HTTP/1.1 writes it, when nothing is to be drawn: the common case of load tests,
    /// without any allocation.
    pub(super) fn at_once(&self) -> Option<Bytes> {
        self.written.clone()
    }

    fn fails(&self) -> bool {
        fastrand::f64() < self.failure_rate
    }
}

/// A pause as long as a reply takes; none when that is no time.
pub(super) fn pause(delay: &MockDelay) -> Option<Step> {
    let mut left = fastrand::f64();
    let is_drawn = |(share, _): &&(f64, _)| {
        left -= share;
        left < 0.0
    };
    let drawn = delay.shares.iter().find(is_drawn);
    let range = drawn.map_or(&delay.most, |(_, range)| range);
    let nanos = |duration: &Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let low = nanos(range.start());
    let drawn = fastrand::u64(low..=nanos(range.end()).max(low));
    (drawn > 0).then(|| Step::Pause(Duration::from_nanos(drawn)))
}

#[cfg(test)]
mod tests {
    use super::super::script::Framing;
    use super::*;

    fn default_reply(failure_rate: f64, delay: RangeInclusive<Duration>) -> DefaultReply {
        DefaultReply::new(&MockSettings {
            listen: ([127, 0, 0, 1], 0).into(),
            body: "{}".into(),
            delay: delay.into(),
            failure_rate,
        })
    }

    #[test]
    fn a_rate_of_one_always_fails_and_of_zero_never() {
        let none = Duration::ZERO..=Duration::ZERO;
        assert_eq!(default_reply(1.0, none.clone()).reply().status, 500);
        assert_eq!(default_reply(0.0, none.clone()).reply().status, 200);
        assert_eq!(
            default_reply(0.0, none.clone()).reply().framing,
            Framing::Length(2)
        );
        assert!(default_reply(0.0, none.clone()).at_once().is_some());
        assert!(default_reply(1.0, none).at_once().is_none());
    }

    #[test]
    fn a_pause_is_drawn_from_the_range() {
        let range = Duration::from_millis(3)..=Duration::from_millis(5);
        let delay = range.clone().into();
        for _ in 0..100 {
            let Some(Step::Pause(drawn)) = pause(&delay) else {
                panic!("no pause");
            };
            assert!(range.contains(&drawn));
        }
    }

    #[test]
    fn a_share_of_the_pauses_is_another() {
        let [usual, rare] = [5, 100].map(Duration::from_millis);
        let delay = MockDelay {
            most: usual..=usual,
            shares: vec![(0.1, rare..=rare)],
        };
        let drawn = (0..10_000).filter(|_| match pause(&delay) {
            Some(Step::Pause(drawn)) => drawn == rare,
            _ => false,
        });
        assert!((700..1300).contains(&drawn.count()));
    }
}
