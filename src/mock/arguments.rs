//! The command line of `gatherd mock`.

use std::net::SocketAddr;

use super::fault::FAULTS;
use crate::config::{MockDelay, MockSettings, parse_delay};

/// Run the stand-in upstream, on its own.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = paths())]
pub struct Arguments {
    /// Address to listen on, plain HTTP/1.1 and HTTP/2 with prior knowledge
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1234")]
    listen: SocketAddr,

    /// What a reply holds
    #[arg(long, value_name = "TEXT", default_value = r#"{"time":250}"#)]
    body: String,

    /// How long a reply takes: "250ms", or evenly from a range, "100ms..600ms"; and shares that take
    /// something else, "5ms, 1%: 100ms"
    #[arg(long, value_name = "DELAY", default_value = "0ms", value_parser = parse_delay)]
    delay: MockDelay,

    /// Share of replies that are 500, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    failure_rate: f64,
}

impl From<Arguments> for MockSettings {
    fn from(arguments: Arguments) -> Self {
        Self {
            listen: arguments.listen,
            body: arguments.body,
            delay: arguments.delay,
            failure_rate: arguments.failure_rate,
        }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("allowed is a number from 0 to 1".to_owned()),
    }
}

/// The paths, as `gatherd mock --help` lists them.
fn paths() -> String {
    let mut text = String::from(
        "Paths:\n  Every path answers as the options say, except these. DELAY is as in --delay,\n  \
         SIZE is bytes (\"1MiB\"), PLACE is start (before the status), head, body or end (before\n  \
         the last byte). `?delay=DELAY` puts a pause before any but the last three.\n  (1) marks what only HTTP/1.1 can do.\n\n",
    );
    for (path, what) in FAULTS {
        text.push_str(&format!("  {path:<28} {what}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_failures_is_a_number_from_0_to_1() {
        assert_eq!(parse_share("0.25"), Ok(0.25));
        for wrong in ["-0.1", "1.1", "NaN", "", "5%"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_help_lists_every_path_in_a_line_of_100() {
        for line in paths().lines() {
            assert!(line.len() <= 100, "{line}");
        }
        assert!(FAULTS.iter().all(|(path, _)| paths().contains(path)));
    }
}
