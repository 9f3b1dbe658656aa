use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::Subscriber;

use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn subscriber(look: Look, level: Level, writer: Writer) -> impl Subscriber + Send + Sync {
    let lines = Lines {
        look,
        cap: Arc::default(),
        writer,
        access: None,
    };
    tracing_subscriber::registry()
        .with(shown(level))
        .with(lines)
}

/// A writer, and the count of its lost lines.
fn counted(to: impl Write + Send + 'static) -> (Writer, impl Fn() -> u64) {
    let writer = Writer::start(Output::new(to, None)).unwrap();
    let metrics = Metrics::new();
    writer.count_in(&metrics);
    (writer, move || metrics.service.log_lines_lost.get())
}

/// What is written of these events.
fn written(look: Look, level: Level, events: impl FnOnce()) -> String {
    let page = Page::default();
    let writer = Writer::start(Output::new(page.clone(), None)).unwrap();
    tracing::subscriber::with_default(subscriber(look, level, writer.clone()), events);
    writer.finish(soon());
    page.text()
}

const TEXT: Look = Look::Text { colour: false };

fn events() {
    tracing::info!(upstream.name = "work", "a call failed");
    tracing::debug!("our detail");
    tracing::info!(target: "hyper::proto", "library noise");
    tracing::warn!(target: "hyper::proto", "library trouble");
}

#[test]
fn libraries_are_heard_only_when_something_is_wrong() {
    let lines = written(TEXT, Level::INFO, events);
    assert!(
        lines.contains("INFO a call failed upstream.name=work\n"),
        "{lines}"
    );
    assert!(lines.contains("library trouble"), "{lines}");
    assert!(
        !lines.contains("noise") && !lines.contains("detail"),
        "{lines}"
    );
}

#[test]
fn no_line_is_written_more_often_than_it_may_and_what_is_left_out_is_told() {
    let page = Page::default();
    let (writer, _) = counted(page.clone());
    let metrics = Metrics::new();
    let cap = Arc::new(Cap::default());
    cap.count_in(&metrics);
    let lines = Lines {
        look: TEXT,
        cap: cap.clone(),
        writer: writer.clone(),
        access: None,
    };
    let logs = Logs {
        writers: vec![writer.clone()],
        cap: cap.clone(),
    };
    let subscriber = tracing_subscriber::registry()
        .with(shown(Level::INFO))
        .with(lines);
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..1000 {
            tracing::warn!(target: "h2::proto", number, "a stranger can say this");
            tracing::info!(number, "and this");
            tracing::info!(target: "gatherd::access", number, "request");
        }
        logs.tell_left_out();
        logs.tell_left_out();
    });
    writer.finish(soon());
    let text = page.text();
    let count = |part: &str| text.matches(part).count();
    // The loop may be in two seconds, or in three.
    assert!(
        (1..=3).contains(&count("a stranger can say this")),
        "{text}"
    );
    assert!((20..=60).contains(&count("and this")), "{text}");
    assert_eq!(count("request"), 1000);
    assert_eq!(count("left out"), 2, "{text}");
    assert!(
        text.contains("of=h2::proto severity=WARN lines=99"),
        "{text}"
    );
    let left_out = usize::try_from(metrics.service.log_lines_left_out.get());
    let written = count("a stranger can say this") + count("and this");
    assert_eq!(left_out.unwrap() + written, 2000);
}

/// Of a line that comes a hundred times at once from a target, how many are written.
macro_rules! written_of_a_hundred {
    ($target:expr) => {{
        let lines = written(TEXT, Level::INFO, || {
            for number in 0..100 {
                tracing::error!(target: $target, number, "again");
            }
        });
        lines.lines().count()
    }};
}

#[test]
fn a_panic_for_each_request_is_no_line_for_each() {
    // Where the line of a panic comes from. The loop may be in two seconds, or in three.
    let lines = written_of_a_hundred!("gatherd::telemetry::logs");
    assert!((20..=60).contains(&lines), "{lines}");
}

#[test]
fn what_the_operator_brings_about_is_told_whole() {
    assert_eq!(written_of_a_hundred!("gatherd::app"), 100);
    assert_eq!(written_of_a_hundred!("gatherd::app::reload"), 100);
    assert_eq!(written_of_a_hundred!("gatherd::server::tls::served"), 100);
    // Not what only begins alike, and not what strangers cause beside it.
    let lines = written_of_a_hundred!("gatherd::application");
    assert!((20..=60).contains(&lines), "{lines}");
    let lines = written_of_a_hundred!("gatherd::server::tls");
    assert!((20..=60).contains(&lines), "{lines}");
}

#[test]
fn the_end_tells_what_was_left_out_in_the_last_second() {
    let page = Page::default();
    let (writer, _) = counted(page.clone());
    let cap = Arc::new(Cap::default());
    let lines = Lines {
        look: TEXT,
        cap: cap.clone(),
        writer: writer.clone(),
        access: None,
    };
    let writers = vec![writer];
    let subscriber = tracing_subscriber::registry()
        .with(shown(Level::INFO))
        .with(lines);
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..100 {
            tracing::warn!(target: "h2::proto", "a stranger can say this");
        }
        drop(Logs { writers, cap });
    });
    assert!(
        page.text().contains("left out of=h2::proto"),
        "{}",
        page.text()
    );
}

#[test]
fn access_lines_are_shown_whatever_the_level() {
    let lines = written(TEXT, Level::ERROR, || {
        events();
        tracing::info!(target: "gatherd::access", "request");
    });
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.ends_with("INFO request\n"), "{lines}");
}

#[test]
fn a_json_line_is_one_flat_object() {
    let lines = written(Look::Json, Level::ERROR, || {
        events();
        let none: Option<u64> = None;
        tracing::error!(
            upstream.name = "work", share = 0.5, odd = f64::NAN, least = -1, most = u64::MAX, none,
            yes = true, shown = %"a\"b", "broken"
        );
    });
    let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
    let fields = line.as_object().unwrap();
    let timestamp = fields["timestamp"].as_str().unwrap();
    let written = humantime::parse_rfc3339(timestamp).unwrap();
    assert!(written.elapsed().unwrap() < Duration::from_secs(60));
    assert_eq!(timestamp.len(), "2026-11-24T21:00:00.000000Z".len());
    let expected = serde_json::json!({
        "timestamp": fields["timestamp"], "level": "ERROR", "message": "broken",
        "upstream.name": "work", "share": 0.5, "least": -1, "most": u64::MAX, "yes": true,
        "shown": "a\"b", "target": "gatherd::telemetry::logs::tests",
    });
    assert_eq!(line, expected);
}

#[test]
fn nothing_that_is_logged_ends_a_line_or_pretends_to_be_a_field() {
    let hostile = "x\n2026 INFO forged\r\u{1b}[2J\u{202e}\u{2028} status=200 \"level\":\"ERROR";
    let logged = || {
        tracing::info!(path = hostile, shown = %hostile, debugged = ?hostile, "{hostile}");
        let error: Box<dyn std::error::Error> = hostile.into();
        tracing::info!(error, "failed");
    };
    let json = written(Look::Json, Level::INFO, logged);
    let text = written(TEXT, Level::INFO, logged);
    for lines in [&json, &text] {
        assert_eq!(lines.lines().count(), 2, "{lines}");
        let hidden = |it: char| (it.is_control() && it != '\n') || "\u{202e}\u{2028}".contains(it);
        assert!(!lines.contains(hidden), "{lines:?}");
    }
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["path"], hostile);
    assert_eq!(first["shown"], hostile);
    assert_eq!(first["level"], "INFO");
    // In text, it is all within quotes.
    assert!(
        text.contains(r#" path="x\n2026 INFO forged\r\u001b[2J"#),
        "{text}"
    );
}

/// An output that takes nothing until told to.
struct Blocked(std::sync::mpsc::Receiver<()>, Page);

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Afterwards, the sender is gone and nothing blocks.
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_is_not_read_costs_lines_and_never_the_time_of_the_service() {
    let (unblock, blocked) = std::sync::mpsc::channel();
    let page = Page::default();
    let (writer, lost) = counted(Blocked(blocked, page.clone()));
    let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
    // More than two queues hold, if one of them is with the thread.
    for _ in 0..10_000 {
        writer.push(&line);
    }
    assert!((1_500..=6_500).contains(&lost()), "{}", lost());
    // The end does not wait for it either.
    writer.finish(Instant::now() + Duration::from_millis(20));
    drop(unblock);
    writer.finish(soon());
    let text = page.text();
    assert!(text.lines().all(|line| line.len() == 1023));
    assert_eq!(text.lines().count() as u64 + lost(), 10_000);
}

#[test]
fn losses_are_told_when_there_are_lines_again() {
    struct Fails(u32, Page);
    impl Write for Fails {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Err(io::ErrorKind::BrokenPipe.into())
                }
                None => self.1.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let page = Page::default();
    let (writer, lost) = counted(Fails(1, page.clone()));
    writer.push(b"lost\n");
    let start = Instant::now();
    while lost() == 0 && start.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
    writer.push(b"kept\n");
    writer.finish(soon());
    assert_eq!((page.text().as_str(), lost()), ("kept\n", 1));
}
