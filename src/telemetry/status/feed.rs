//! The newest status and the last hour, for all who follow them.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{History, Point, Status, Timeline};

/// What the admin thread publishes, and those who follow.
#[derive(Debug)]
pub struct Feed {
    status: watch::Sender<Option<Arc<Status>>>,
    timeline: Mutex<Timeline>,
}

impl Feed {
    /// A feed that has no status yet.
    #[must_use]
    pub fn new(timeline: Timeline) -> Self {
        Self {
            status: watch::Sender::new(None),
            timeline: Mutex::new(timeline),
        }
    }

    /// This is how it is now.
    pub fn publish(&self, status: Status) {
        self.status.send_replace(Some(Arc::new(status)));
    }

    /// One more step of the last hour; followers see it with the next status.
    pub fn add(&self, point: Point) {
        self.timeline.lock().add(point);
    }

    /// The newest status; none in the first second.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Status>> {
        self.status.borrow().clone()
    }

    /// The last hour.
    #[must_use]
    pub fn history(&self) -> History {
        self.timeline.lock().history()
    }

    /// The points later than an instant.
    pub(in crate::telemetry) fn after(&self, at: f64) -> Vec<Point> {
        self.timeline.lock().after(at).collect()
    }

    /// What changes with every [`Self::publish`].
    pub(in crate::telemetry) fn follow(&self) -> watch::Receiver<Option<Arc<Status>>> {
        self.status.subscribe()
    }

    /// Writes the last hour where it outlasts the process.
    pub fn save(&self) {
        if let Err(error) = self.timeline.lock().save() {
            tracing::warn!(%error, "the last hour could not be written to the state directory");
        }
    }
}
