//! A new configuration for a process that runs: all of it, or nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::bind::Live;
use super::limits::limits;
use super::systemd;
use crate::config::{self, Changes, Config, Environment, Problem, Problems};
use crate::http::Snapshot;
use crate::server::within_descriptors;

/// The pause after a reload, so that a storm of signals costs little.
const PAUSE: Duration = Duration::from_millis(200);

/// What is needed to read the configuration again.
pub(super) struct Reload {
    /// The config file.
    file: PathBuf,
    /// What the process was started with, and what of it needs a restart still goes by.
    started: Config,
    /// What everything else goes by.
    config: Config,
    /// What goes by it.
    live: Live,
}

impl Reload {
    /// Of a process that was started with `config`, read from `file`.
    pub(super) fn new(file: PathBuf, config: Config, live: Live) -> Self {
        Self {
            file,
            started: config.clone(),
            config,
            live,
        }
    }

    /// Reads the configuration again whenever it is told to.
    pub(super) async fn whenever(self, told: Arc<Notify>) {
        let mut reload = self;
        loop {
            told.notified().await;
            systemd::reloading();
            // Files are read, and TLS is made: that would hold up requests.
            let again = tokio::task::spawn_blocking(move || {
                let outcome = reload.again();
                (reload, outcome)
            });
            let Ok((kept, outcome)) = again.await else {
                // A panic has been told; without its settings nothing can be compared any more.
                return systemd::ready("reload is broken, see the log");
            };
            reload = kept;
            tell(&outcome);
            reload.live.metrics.service.reloaded(outcome.is_ok());
            systemd::ready(match outcome {
                Ok(_) => "serving",
                Err(_) => "serving; the last reload was refused, see the log",
            });
            sleep(PAUSE).await;
        }
    }

    /// Everything is read and made before anything is changed. Names are looked up anew in any case.
    fn again(&mut self) -> Result<Changes, Problems> {
        self.live.common.names.reread();
        let config = config::load(&self.file, &Environment::of_process())?;
        let Live {
            current,
            connections,
            common,
            tls,
            metrics,
        } = &self.live;
        let before = current.load();
        let settings = &within_descriptors(&config.settings);
        let snapshot = Snapshot::new(settings, common, Some(&before));
        let tls = tls.as_ref().zip(settings.tls.as_ref());
        let tls = tls.map(|(tls, settings)| Ok((tls, tls.prepare(settings)?)));
        let (snapshot, tls) = both(snapshot, tls.transpose())?;
        let mut changes = Changes {
            left: self.started.changes(&config).left,
            ..self.config.changes(&config)
        };
        changes
            .applied
            .extend(snapshot.changed_authorities(&before));
        if let Some((tls, prepared)) = tls {
            changes
                .applied
                .extend(prepared.changed().map(str::to_owned));
            tls.replace(prepared);
        }
        connections.update(settings);
        current.store(Arc::new(snapshot));
        metrics.configured(&limits(settings));
        self.config = config;
        Ok(changes)
    }
}

/// Both, or the problems of both.
fn both<A, B>(a: Result<A, Problems>, b: Result<B, Problems>) -> Result<(A, B), Problems> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => {
            let (a, b) = (a.err(), b.err());
            let problems = a.iter().chain(&b).flat_map(Problems::iter);
            Err(problems.cloned().collect())
        }
    }
}

fn tell(outcome: &Result<Changes, Problems>) {
    match outcome {
        Ok(changes) => {
            let Changes { applied, left } = changes;
            match applied.join(", ") {
                none if none.is_empty() => {
                    tracing::info!("reloaded: nothing that holds has changed")
                }
                changed => tracing::info!(config.changed = changed, "reloaded"),
            }
            if !left.is_empty() {
                let left = left.join(", ");
                tracing::warn!(config.left = left, "these keys hold only after a restart");
            }
        }
        Err(problems) => {
            tracing::error!(
                problems = problems.iter().count(),
                "not reloaded, nothing has changed"
            );
            problems.iter().for_each(tell_problem);
        }
    }
}

fn tell_problem(problem: &Problem) {
    tracing::error!(%problem, "why not");
}
