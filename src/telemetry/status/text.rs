//! The status as text, for a terminal. The first lines say whether all is well, and if not, where.

mod draw;
mod wrap;

use std::fmt::Write;

use self::draw::drawn;
use self::wrap::wrapped;
use super::figures::plain;
use super::tables::tables;
use super::{Finding, Health, Status};

/// The status at one moment; every line ends.
#[must_use]
pub fn text(status: &Status) -> String {
    let mut text = verdict(&status.health, &status.findings);
    for table in tables(status) {
        let _ = write!(text, "\n{}", drawn(&table));
    }
    wrapped(&text)
}

fn verdict(health: &Health, findings: &[Finding]) -> String {
    let mut text = match health {
        Health::Well => "All well\n",
        Health::Warning => "Look at this:\n",
        Health::Trouble => "Trouble:\n",
    }
    .to_owned();
    for Finding {
        health,
        subject,
        text: sentence,
    } in findings
    {
        let mark = if *health == Health::Trouble {
            "!!"
        } else {
            "! "
        };
        let _ = writeln!(text, "{mark} {}: {}", plain(subject), plain(sentence));
    }
    text
}

#[cfg(test)]
mod tests;
