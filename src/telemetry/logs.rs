//! Log lines on standard error, as text for people or JSON for machines.
//!
//! A line is one write, made by the thread that logs. A standard error that is closed or full costs
//! the line and nothing else: no panic, no message about the message.

use std::io::{self, IsTerminal};

use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogSettings};

/// Sends the events of the whole process to standard error from now on.
///
/// `RUST_LOG` is not asked: the settings are all there is. A second call changes nothing.
pub fn init(settings: &LogSettings) {
    let terminal = io::stderr().is_terminal();
    let text = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if text {
        let _ = as_text(settings.level, colour, io::stderr).try_init();
    } else {
        let _ = as_json(settings.level, io::stderr).try_init();
    }
}

/// Lines for people.
fn as_text<W>(level: Level, colour: bool, writer: W) -> impl Subscriber + Send + Sync + 'static
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer()
        .with_ansi(colour)
        .with_target(false)
        // Its complaint about a failed write would go to the same standard error, and panic there.
        .log_internal_errors(false)
        .with_writer(writer)
        .with_filter(shown(level));
    tracing_subscriber::registry().with(lines)
}

/// One JSON object a line.
fn as_json<W>(level: Level, writer: W) -> impl Subscriber + Send + Sync + 'static
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .log_internal_errors(false)
        .with_writer(writer)
        .with_filter(shown(level));
    tracing_subscriber::registry().with(lines)
}

/// Our events at `level`; those of libraries only when something is wrong.
fn shown(level: Level) -> Targets {
    Targets::new()
        .with_default(level.min(Level::WARN))
        .with_target("gatherd", level)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Full;

    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    fn events() {
        tracing::info!(upstream.name = "work", "a call failed");
        tracing::debug!("our detail");
        tracing::info!(target: "hyper::proto", "library noise");
        tracing::warn!(target: "hyper::proto", "library trouble");
    }

    fn lines(page: &Page) -> String {
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn libraries_are_heard_only_when_something_is_wrong() {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = as_text(Level::INFO, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        let lines = lines(&page);
        assert!(
            lines.contains("INFO a call failed upstream.name=\"work\""),
            "{lines}"
        );
        assert!(lines.contains("library trouble"), "{lines}");
        assert!(
            !lines.contains("noise") && !lines.contains("detail"),
            "{lines}"
        );
    }

    #[test]
    fn a_json_line_is_one_flat_object() {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = as_json(Level::ERROR, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            events();
            tracing::error!(upstream.name = "work", "broken");
        });
        let line: serde_json::Value = serde_json::from_str(&lines(&page)).unwrap();
        assert_eq!(line["message"], "broken");
        assert_eq!(line["upstream.name"], "work");
        assert_eq!(line["level"], "ERROR");
    }

    #[test]
    fn a_full_standard_error_costs_the_line_only() {
        let subscriber = as_text(Level::INFO, false, || Full);
        tracing::subscriber::with_default(subscriber, events);
        let subscriber = as_json(Level::INFO, || Full);
        tracing::subscriber::with_default(subscriber, events);
    }
}
