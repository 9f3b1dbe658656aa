//! The composition root: binds, builds the snapshot, runs until told to stop.
//!
//! | file | holds |
//! |---|---|
//! | `app.rs` | what a process does from its start to its end |
//! | `bind` | every listener and everything that requests use, all or nothing |
//! | `limits` | what of the settings the metrics show |
//! | `reload` | a new configuration while the process runs, all or nothing |
//! | `manager` | what systemd is told, and the sockets it gives |
//! | `run` | from the first connection to the last |
//! | `signals` | what the process is told from outside; the one place that hears signals |
//! | `words` | what is said at the start |

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

mod bind;
mod limits;
mod reload;
mod run;
mod signals;
mod startup_log;
mod systemd;

use self::bind::bind_with;
pub use self::bind::{App, bind};
use self::reload::Reload;
use self::signals::Signals;
use self::systemd::Inherited;
use crate::config::{
    self, AccessLog, Environment, LogFormat, LogSettings, MockSettings, Problem, Problems, Settings,
};
use crate::http::Snapshot;
use crate::metrics::Metrics;
use crate::mock;
use crate::server::{Tls, raise_descriptor_limit, within_descriptors};
use crate::telemetry::logs::{self, Logs};

/// Where an [`App`] listens.
#[derive(Clone, Debug)]
pub struct LocalAddrs {
    /// HTTPS, in the order of the configuration.
    pub https: Vec<SocketAddr>,
    /// Plain HTTP, in the order of the configuration.
    pub http: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: Option<SocketAddr>,
    /// The mock upstream.
    pub mock: Option<SocketAddr>,
}

impl LocalAddrs {
    /// The port that redirects lead to: HTTPS's own when a listener has it, else the first.
    pub(crate) fn https_port(&self) -> Option<u16> {
        let mut ports = self.https.iter().map(SocketAddr::port);
        let first = ports.next();
        ports.find(|port| *port == 443).or(first)
    }
}

/// Serves as configured until SIGTERM or SIGINT, and then drains; a second one ends at once.
///
/// # Errors
/// What the machine does not have; nothing is served then.
pub fn serve(file: &Path) -> Result<(), Problems> {
    // Before anything else: a signal that comes now must neither end the process nor be lost.
    let unavailable = |error| Problem::unavailable("signals", error);
    let signals = Signals::listen().map_err(unavailable)?;
    let config = config::load(file, &Environment::of_process());
    let config = config.inspect_err(|_| systemd::pause_before_the_next_start())?;
    let settings = &config.settings;
    let inherited = Inherited::take()?;
    // Dropped last, so that whatever is said on the way out is written.
    let logs = Arc::new(logs::init(&settings.log)?);
    startup_log::warn_of_descriptors(settings, raise_descriptor_limit());
    let runtime = runtime(settings.server.worker_threads)
        .map_err(|error| Problem::unavailable("threads", error))?;
    let app = bind_with(&within_descriptors(settings), inherited)?;
    logs.count_in(&app.live.metrics);
    startup_log::announce(settings, &app.local_addrs());
    let reload = Reload::new(file.to_owned(), config, app.live.clone());
    runtime.block_on(async {
        tokio::spawn(reopen_logs(logs.clone(), signals.reopen));
        tokio::spawn(tell_left_out(logs.clone()));
        let reload = tokio::spawn(reload.whenever(signals.reload));
        let stop = async {
            signals.stop.cancelled().await;
            // What comes while the process ends is of no use.
            reload.abort();
        };
        tokio::select! {
            () = app.run_until(stop) => tracing::info!("stopped"),
            () = signals.stop_at_once.cancelled() => {
                tracing::warn!("stopped at once by a second signal");
            }
        }
    });
    // What still runs is of no use; a reload that reads files is not waited for.
    runtime.shutdown_background();
    Ok(())
}

async fn reopen_logs(logs: Arc<Logs>, told: Arc<Notify>) {
    loop {
        told.notified().await;
        logs.reopen();
    }
}

async fn tell_left_out(logs: Arc<Logs>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    loop {
        interval.tick().await;
        logs.tell_left_out();
    }
}

/// Reads every file that a start reads, and makes what can be made of them; binds nothing. Gives what
/// is allowed but seldom meant.
///
/// # Errors
/// All that a start would miss, addresses apart.
pub fn check(settings: &Settings) -> Result<Vec<String>, Problems> {
    let certificates = settings.tls.as_ref().map(Tls::check).transpose();
    let snapshot = Snapshot::new(settings, &bind::common(settings, Metrics::new()), None).err();
    let log = logs::check(&settings.log).err();
    let found = certificates.as_ref().err().into_iter().chain(&snapshot);
    let problems: Vec<Problem> = found.flat_map(Problems::iter).cloned().chain(log).collect();
    if problems.is_empty() {
        certificates.map(Option::unwrap_or_default)
    } else {
        Err(problems.into_iter().collect())
    }
}

/// Runs the mock upstream alone, until SIGTERM or SIGINT.
///
/// # Errors
/// When its address cannot be had.
pub fn serve_mock(settings: &MockSettings) -> Result<(), Problems> {
    let logs = Arc::new(logs::init(&LogSettings {
        format: LogFormat::Auto,
        level: tracing::Level::INFO,
        access: AccessLog::Off,
        file: None,
    })?);
    raise_descriptor_limit();
    let unavailable = |error| Problem::unavailable(settings.listen, error);
    let signals = Signals::listen().map_err(unavailable)?;
    let runtime = runtime(1).map_err(unavailable)?;
    let mock = mock::bind(settings).map_err(unavailable)?;
    tracing::info!(address = %mock.local_addr(), "the mock upstream answers here");
    let stop = signals.stop.cancelled_owned();
    let run = async {
        tokio::spawn(tell_left_out(logs.clone()));
        mock.run_until(stop).await
    };
    Ok(runtime.block_on(run).map_err(unavailable)?)
}

/// One core is served best by one thread without a scheduler between threads.
fn runtime(worker_threads: usize) -> io::Result<Runtime> {
    let mut builder = match worker_threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(worker_threads).enable_all().build()
}
