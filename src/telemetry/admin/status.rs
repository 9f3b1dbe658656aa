//! The status: as text, as JSON, and as it goes on (server-sent events).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Extension, State as Shared};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::routes::{json_response, problem};
use crate::telemetry::status::{self, Feed, Shown, Status};

/// A follower ends when this many have come after it: each holds one of the few connections, and one
/// whose machine sleeps, or that reads nothing, would hold it for long. A browser comes back by itself.
const MAX_FOLLOWERS: u64 = 16;

/// When a browser whose stream ended should come back.
const RETRY: Duration = Duration::from_secs(1);

/// What the handlers here share.
#[derive(Clone, Debug)]
pub(super) struct Following {
    feed: Arc<Feed>,
    /// Followers that have come.
    arrivals: Arc<AtomicU64>,
}

impl Following {
    /// No client follows yet.
    pub(super) fn new(feed: Arc<Feed>) -> Self {
        Self {
            feed,
            arrivals: Arc::default(),
        }
    }
}

/// Whether a response that has no end moves on: its peer still takes what there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicBool>);

impl Progress {
    /// Whether it moved since this was last asked.
    pub(super) fn moved(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `/status`.
pub(super) async fn text(Shared(Following { feed, .. }): Shared<Following>) -> Response {
    match feed.latest() {
        Some(status) => status::text(&status).into_response(),
        None => unavailable("nothing has been measured yet"),
    }
}

/// `/status.json`.
pub(super) async fn json(Shared(Following { feed, .. }): Shared<Following>) -> Response {
    match feed.latest() {
        Some(status) => json_response(
            StatusCode::OK,
            &json!({ "status": Shown::new(&status), "history": feed.history() }),
        ),
        None => unavailable("nothing has been measured yet"),
    }
}

/// `/events`.
pub(super) async fn events(
    Shared(following): Shared<Following>,
    Extension(progress): Extension<Progress>,
) -> Response {
    let follower = Follower::new(following, progress);
    Sse::new(stream::unfold(follower, Follower::next)).into_response()
}

fn unavailable(detail: &'static str) -> Response {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "urn:gatherd:overloaded",
        detail,
    )
}

/// One stream of events.
struct Follower {
    feed: Arc<Feed>,
    changes: watch::Receiver<Option<Arc<Status>>>,
    queue: VecDeque<Event>,
    /// The instant of the last point that was queued.
    upto: f64,
    progress: Progress,
    arrivals: Arc<AtomicU64>,
    /// How many come before it ends.
    last_arrival: u64,
}

impl Follower {
    fn new(Following { feed, arrivals }: Following, progress: Progress) -> Self {
        let mut changes = feed.follow();
        // The status there is counts as news.
        changes.mark_changed();
        let history = feed.history();
        let queue = [event("history", &history).retry(RETRY)].into();
        Self {
            last_arrival: arrivals.fetch_add(1, Ordering::Relaxed) + MAX_FOLLOWERS,
            arrivals,
            feed,
            changes,
            queue,
            upto: history.points.last().map_or(0.0, |point| point.at),
            progress,
        }
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            // Asked for more, so the peer has taken what came before.
            self.progress.note();
            if let Some(event) = self.queue.pop_front() {
                return Some((Ok(event), self));
            }
            self.changes.changed().await.ok()?;
            if self.arrivals.load(Ordering::Relaxed) > self.last_arrival {
                return None;
            }
            let status = self.changes.borrow_and_update().clone();
            for point in self.feed.after(self.upto) {
                self.upto = point.at;
                self.queue.push_back(event("point", &point));
            }
            self.queue
                .extend(status.map(|status| event("status", &Shown::new(&status))));
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let text = serde_json::to_string(data).expect("numbers and strings");
    Event::default().event(name).data(text)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;

    use super::*;
    use crate::telemetry::status::{Point, Timeline};

    fn point(at: f64) -> Point {
        Point {
            at,
            ..Point::default()
        }
    }

    fn status(at: f64) -> Status {
        Status {
            at,
            ..Status::default()
        }
    }

    fn following() -> Following {
        Following::new(Arc::new(Feed::new(Timeline::open(None, 0.0))))
    }

    async fn follow(following: &Following) -> Response {
        let progress = Extension(Progress::default());
        events(Shared(following.clone()), progress).await
    }

    /// The name and the data of the next event.
    async fn next(body: &mut Body) -> (String, serde_json::Value) {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let frame = std::str::from_utf8(&frame).unwrap();
        let field = |name: &str| {
            let mut lines = frame.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().unwrap().trim_start().to_owned()
        };
        let data = serde_json::from_str(&field("data:")).unwrap();
        (field("event:"), data)
    }

    #[tokio::test]
    async fn a_follower_gets_the_hour_the_status_and_then_what_is_new() {
        let following = following();
        let feed = &following.feed;
        feed.add(point(10.0));
        feed.publish(status(11.0));
        let response = follow(&following).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        let (name, history) = next(&mut body).await;
        assert_eq!(
            (name.as_str(), &history["points"][0]["at"]),
            ("history", &10.0.into())
        );
        assert_eq!(history["step_seconds"], Timeline::STEP);
        let (name, told) = next(&mut body).await;
        assert_eq!((name.as_str(), &told["at"]), ("status", &11.0.into()));
        feed.add(point(20.0));
        feed.publish(status(21.0));
        let (name, told) = next(&mut body).await;
        assert_eq!((name.as_str(), &told["at"]), ("point", &20.0.into()));
        let (name, told) = next(&mut body).await;
        assert_eq!((name.as_str(), &told["at"]), ("status", &21.0.into()));
        // One that is slow misses what is old by then, and no point.
        feed.publish(status(22.0));
        feed.add(point(30.0));
        feed.publish(status(31.0));
        assert_eq!(next(&mut body).await.0, "point");
        assert_eq!(next(&mut body).await.1["at"], 31.0);
    }

    #[tokio::test]
    async fn who_comes_always_follows_and_the_oldest_of_too_many_ends() {
        let following = following();
        following.feed.publish(status(1.0));
        let mut followers = Vec::new();
        for _ in 0..=MAX_FOLLOWERS {
            let mut body = follow(&following).await.into_body();
            assert_eq!(next(&mut body).await.0, "history");
            assert_eq!(next(&mut body).await.0, "status");
            followers.push(body);
        }
        following.feed.publish(status(2.0));
        let oldest = followers.remove(0).frame().await;
        assert!(oldest.is_none(), "{oldest:?}");
        for body in &mut followers {
            assert_eq!(next(body).await.1["at"], 2.0);
        }
    }

    #[tokio::test]
    async fn there_is_no_status_before_the_first() {
        let following = following();
        let ask = || json(Shared(following.clone()));
        assert_eq!(ask().await.status(), 503);
        assert_eq!(text(Shared(following.clone())).await.status(), 503);
        following.feed.publish(status(1.0));
        let body = ask().await.into_body().collect().await.unwrap().to_bytes();
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(told["status"]["at"], 1.0);
        assert_eq!(told["history"]["points"], json!([]));
        let response = text(Shared(following)).await;
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; charset=utf-8"
        );
    }
}
