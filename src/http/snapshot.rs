//! What one request uses from its start to its end, whatever is reloaded meanwhile.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;

use super::limiter::Limiter;
use super::route::Route;
use super::routes::router;
use crate::config::{Problems, ServerSettings, Settings};
use crate::upstream::{Common, Upstream};

/// The snapshot that new requests load.
pub type Current = Arc<ArcSwap<Snapshot>>;

/// Routes, upstreams and limits: one immutable value.
pub struct Snapshot {
    pub(super) server: ServerSettings,
    pub(super) limiter: Option<Limiter>,
    pub(super) router: Router,
    upstreams: Vec<Arc<Upstream>>,
}

impl Snapshot {
    /// A snapshot of these settings. What did not change since `before` is shared with it, so that
    /// connections and counts survive.
    ///
    /// # Errors
    /// When an upstream cannot be made.
    pub fn new(
        settings: &Settings,
        common: &Common,
        before: Option<&Self>,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut upstreams = Vec::new();
        for upstream in &settings.upstreams {
            let kept = before.and_then(|before| {
                before
                    .upstreams
                    .iter()
                    .find(|kept| kept.settings() == upstream)
                    .cloned()
            });
            match kept.map_or_else(|| Upstream::new(upstream, common.clone()), Ok) {
                Ok(upstream) => upstreams.push(upstream),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems.into_iter().collect());
        }
        let routes = settings.routes.iter();
        let failure_status = settings.server.failure_status;
        let routes = routes.map(|route| Arc::new(Route::new(route, &upstreams, failure_status)));
        let kept_limiter = before.and_then(|before| before.limiter.as_ref());
        Ok(Self {
            router: router(routes),
            limiter: settings
                .rate_limit
                .as_ref()
                .map(|limit| Limiter::new(limit, kept_limiter)),
            server: settings.server.clone(),
            upstreams,
        })
    }

    /// Forgets clients that have been quiet long enough to be like new.
    pub fn sweep(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.sweep();
        }
    }
}
