//! From an event to its line.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::cap::Cap;
use super::escape::{Escaped, io_write};
use super::writer::Writer;

/// The target of access lines. They are shown whatever the level, and may have a file of their own.
pub(super) const ACCESS: &str = "gatherd::access";
/// The target of lines that stand for others, once a second; they are never left out themselves. No module has
/// this name: whatever else it said, such as the line of a panic, would never be left out either.
pub(super) const SUMMARY: &str = "gatherd::telemetry::logs::left_out";

/// The field of access lines that formats itself: as JSON, and by the alternate form (`{:#?}`) as text.
const BRANCHES: &str = "branches";

/// The longest line whose memory is kept for the next one.
const KEPT: usize = 16 << 10;

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The last second that a line was made in, and its beginning of a timestamp.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// `2026-11-24T21:00:00.000000Z  INFO message key=value`, for people; with colour on a terminal.
    Text { colour: bool },
    /// One flat object.
    Json,
}

/// Makes every event a line and gives it to a writer.
pub(super) struct Lines {
    pub(super) look: Look,
    /// Which of them come too often.
    pub(super) cap: Arc<Cap>,
    /// Where lines go.
    pub(super) writer: Writer,
    /// Where access lines go instead.
    pub(super) access: Option<Writer>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let is_access = metadata.target() == ACCESS;
        let is_free = is_access || metadata.target() == SUMMARY;
        if !is_free && !self.cap.admits(metadata, Instant::now()) {
            return;
        }
        let writer = match &self.access {
            Some(access) if is_access => access,
            _ => &self.writer,
        };
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => {
                line.clear();
                self.look.write(event, &mut line);
                writer.push(&line);
                line.shrink_to(KEPT);
            }
            // While a value of another event is formatted.
            Err(_) => {
                let mut line = Vec::new();
                self.look.write(event, &mut line);
                writer.push(&line);
            }
        });
    }
}

impl Look {
    fn write(self, event: &Event<'_>, line: &mut Vec<u8>) {
        match self {
            Self::Text { colour } => text(event, line, colour),
            Self::Json => json(event, line),
        }
        line.push(b'\n');
    }
}

fn json(event: &Event<'_>, line: &mut Vec<u8>) {
    let metadata = event.metadata();
    line.extend_from_slice(b"{\"timestamp\":\"");
    push_now(line);
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(metadata.level().as_str().as_bytes());
    line.push(b'"');
    let is_access = metadata.target() == ACCESS;
    event.record(&mut Json { line, is_access });
    line.extend_from_slice(b",\"target\":\"");
    line.extend_from_slice(metadata.target().as_bytes());
    line.extend_from_slice(b"\"}");
}

fn text(event: &Event<'_>, line: &mut Vec<u8>, colour: bool) {
    let metadata = event.metadata();
    push_now(line);
    let level = *metadata.level();
    let (on, off) = if colour {
        (code(level), "\u{1b}[0m")
    } else {
        ("", "")
    };
    let _ = io_write(line, format_args!(" {on}{:>5}{off}", level.as_str()));
    let is_access = metadata.target() == ACCESS;
    event.record(&mut Text { line, is_access });
}

/// Red, yellow, green, blue and magenta, as elsewhere.
fn code(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

/// In UTC, with microseconds (RFC 3339).
fn push_now(line: &mut Vec<u8>) {
    // A clock before 1970 is wrong anyway.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != now.as_secs() {
            *second = now.as_secs();
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(*second);
            *text = humantime::format_rfc3339_seconds(start).to_string();
            // Fractions come before it.
            text.truncate(text.len() - "Z".len());
        }
        line.extend_from_slice(text.as_bytes());
    });
    let mut fraction = *b".000000Z";
    let mut rest = now.subsec_micros();
    for digit in fraction[1..7].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    line.extend_from_slice(&fraction);
}

/// Members of an object.
struct Json<'a> {
    line: &'a mut Vec<u8>,
    is_access: bool,
}

impl Json<'_> {
    fn key(&mut self, field: &Field) {
        self.line.extend_from_slice(b",\"");
        self.line.extend_from_slice(field.name().as_bytes());
        self.line.extend_from_slice(b"\":");
    }

    /// A value that needs no escaping.
    fn plain(&mut self, field: &Field, value: impl Serialize) {
        self.key(field);
        // Writing to a vector cannot fail, and neither can a number.
        let _ = serde_json::to_writer(&mut *self.line, &value);
    }

    fn string(&mut self, field: &Field, value: impl FnOnce(&mut Escaped<'_>) -> fmt::Result) {
        self.key(field);
        self.line.push(b'"');
        let _ = value(&mut Escaped(self.line));
        self.line.push(b'"');
    }
}

impl Visit for Json<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field, |text| text.write_str(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no other numbers.
        if value.is_finite() {
            self.plain(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.is_access && field.name() == BRANCHES {
            self.key(field);
            let _ = io_write(self.line, format_args!("{value:?}"));
        } else {
            self.string(field, |text| write!(text, "{value:?}"));
        }
    }
}

/// The message, and words of the form `key=value`.
struct Text<'a> {
    line: &'a mut Vec<u8>,
    is_access: bool,
}

impl Text<'_> {
    fn word(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.line.push(b' ');
        if field.name() != "message" {
            self.line.extend_from_slice(field.name().as_bytes());
            self.line.push(b'=');
        }
        let start = self.line.len();
        let _ = io_write(self.line, value);
        let is_message = field.name() == "message";
        let value = &self.line[start..];
        let stands_alone = !value.is_empty() && value.iter().all(|byte| is_bare(*byte));
        if stands_alone || (is_message && value.iter().all(|byte| matches!(byte, b' '..=b'~'))) {
            return;
        }
        // Rare enough to be formatted once more.
        let value = String::from_utf8_lossy(&self.line.split_off(start)).into_owned();
        self.line.push(b'"');
        let _ = Escaped(self.line).write_str(&value);
        self.line.push(b'"');
    }
}

/// Whether a value with this byte needs no quotes.
fn is_bare(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\' | b'=')
}

impl Visit for Text<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.word(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.is_access && field.name() == BRANCHES {
            self.line.extend_from_slice(b" branches=");
            let _ = io_write(self.line, format_args!("{value:#?}"));
        } else {
            self.word(field, format_args!("{value:?}"));
        }
    }
}
