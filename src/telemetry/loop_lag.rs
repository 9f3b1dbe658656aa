//! How late the serving runtime is: the one figure that says whether its core is full.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::metrics::Metrics;

/// How often it is measured.
const PERIOD: Duration = Duration::from_millis(250);

/// Measures until dropped; to be run by the runtime that serves.
pub async fn watch_loop_lag(metrics: Arc<Metrics>) -> Infallible {
    loop {
        let due = Instant::now() + PERIOD;
        sleep_until(due).await;
        metrics.service.loop_lag(due.elapsed());
    }
}
