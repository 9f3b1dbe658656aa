//! Log lines on standard error, as text for people or JSON for machines; access lines there too, or in
//! a file.
//!
//! Lines are made here and not by `tracing-subscriber`'s formatter: its JSON leaves DEL, C1 and
//! characters that reorder text as they came, and an access line takes it several times as long.

mod cap;
mod escape;
mod lines;
mod output;
mod writer;

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::cap::Cap;
use self::lines::{ACCESS, Lines, Look, SUMMARY};
use self::output::Output;
use self::writer::Writer;
use crate::config::{LogFormat, LogSettings, Problem};
use crate::metrics::Metrics;

/// How long the end of the process waits for lines to be written.
const FLUSHED: Duration = Duration::from_secs(1);

/// The log of the process. Dropping it writes what waits, for a second at most.
pub struct Logs {
    writers: Vec<Writer>,
    cap: Arc<Cap>,
}

/// Sends the events of the whole process to their places from now on, panics among them.
///
/// `RUST_LOG` is not asked: the settings are all there is. A second call changes nothing.
///
/// # Errors
/// When the file of access lines cannot be opened, or there is no thread to write.
pub fn init(settings: &LogSettings) -> Result<Logs, Problem> {
    let started = |error: io::Error| Problem::unavailable("log", error);
    let access = match &settings.file {
        Some(path) => Some(Writer::start(open(path)?).map_err(started)?),
        None => None,
    };
    let writer = Output::standard_error()
        .and_then(Writer::start)
        .map_err(started)?;
    let writers = access.iter().chain([&writer]).cloned().collect();
    let cap = Arc::new(Cap::default());
    let lines = Lines {
        look: look(settings.format),
        cap: cap.clone(),
        writer,
        access,
    };
    let _ = tracing_subscriber::registry()
        .with(shown(settings.level))
        .with(lines)
        .try_init();
    // The standard one waits for the reader of standard error.
    panic::set_hook(Box::new(tell_panic));
    Ok(Logs { writers, cap })
}

/// Whether access lines could be written, without making a file.
///
/// # Errors
/// The file, and why not.
pub fn check(settings: &LogSettings) -> Result<(), Problem> {
    let Some(path) = &settings.file else {
        return Ok(());
    };
    if path.exists() {
        return open(path).map(drop);
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            let reason = format!("log.file: no directory {}", parent.display());
            Err(Problem::unavailable(path.display(), reason))
        }
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<Output, Problem> {
    let reason = |error| format!("log.file: cannot write the file: {error}");
    Output::file(path).map_err(|error| Problem::unavailable(path.display(), reason(error)))
}

impl Logs {
    /// Opens the file of access lines anew: another program has moved it away.
    pub fn reopen(&self) {
        self.writers.iter().for_each(Writer::reopen);
    }

    /// Tells which lines were left out since they came too often; to be called once a second.
    pub fn tell_left_out(&self) {
        for left_out in self.cap.take_left_out() {
            let (of, severity) = (left_out.target, left_out.level.as_str());
            let lines = left_out.lines;
            tracing::warn!(target: SUMMARY, of, severity, lines, "lines that came too often were left out");
        }
    }

    /// Counts lost lines, those left out and panics there from now on; lost are lines when there are too many at
    /// once, when the disk is full, or when the pipe is not read.
    pub fn count_in(&self, metrics: &Arc<Metrics>) {
        self.writers
            .iter()
            .for_each(|writer| writer.count_in(metrics));
        self.cap.count_in(metrics);
        let metrics = metrics.clone();
        panic::set_hook(Box::new(move |panic| {
            metrics.service.panics.inc();
            tell_panic(panic);
        }));
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        // No client asks once a second any more.
        self.tell_left_out();
        let deadline = Instant::now() + FLUSHED;
        // The access file first, since its troubles are told on standard error.
        self.writers
            .iter()
            .for_each(|writer| writer.finish(deadline));
    }
}

fn look(format: LogFormat) -> Look {
    let terminal = io::stderr().is_terminal();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let text = Look::Text {
        colour: terminal && !no_colour,
    };
    match format {
        LogFormat::Auto if terminal => text,
        LogFormat::Text => text,
        LogFormat::Auto | LogFormat::Json => Look::Json,
    }
}

/// Our events at `level`, access lines always; those of libraries only when something is wrong.
fn shown(level: Level) -> Targets {
    Targets::new()
        .with_default(level.min(Level::WARN))
        .with_target("gatherd", level)
        .with_target(ACCESS, Level::INFO)
}

fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let text = panic.payload_as_str().unwrap_or("of no text");
    tracing::error!(panic = text, place, "a bug: something panicked");
}

#[cfg(test)]
mod tests;
