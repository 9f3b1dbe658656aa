//! What of an access line formats itself.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::http::notes::{BranchNotes, GatherNotes};
use crate::http::route::Route;
use crate::http::trace::span_digits;

/// Bytes that a branch usually takes in a line.
const LONG_BRANCH: usize = 192;

/// An address in its usual form. The standard library takes ten times as long for the usual kind.
pub(super) fn address(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else {
        return address.to_string();
    };
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        for (unit, least) in [(100, 100), (10, 10), (1, 0)] {
            if octet >= least {
                text.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
    text
}

/// To the microsecond.
#[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
pub(super) fn exact_milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// The branches of a line: JSON, and in the alternate form (`{:#?}`) words for people, whose names are
/// plain words and need no escaping.
pub(super) struct Branches<'a>(pub(super) &'a GatherNotes, pub(super) &'a Route);

impl fmt::Debug for Branches<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let branches = self.0.branches.iter().enumerate();
        if formatter.alternate() {
            formatter.write_str("[")?;
            for (index, branch) in branches {
                formatter.write_str(if index > 0 { "; " } else { "" })?;
                self.text(index, branch, formatter)?;
            }
            return formatter.write_str("]");
        }
        // Not by `write!` or serde: each line of a gather has this, and they take twice as long.
        let mut line = Vec::with_capacity(LONG_BRANCH * self.0.branches.len());
        line.push(b'[');
        for (index, branch) in branches {
            if index > 0 {
                line.push(b',');
            }
            self.json(index, branch, &mut line);
        }
        line.push(b']');
        formatter.write_str(str::from_utf8(&line).unwrap_or_default())
    }
}

fn push(line: &mut Vec<u8>, before: &str, text: &str) {
    line.extend_from_slice(before.as_bytes());
    line.extend_from_slice(text.as_bytes());
}

fn push_number(line: &mut Vec<u8>, before: &str, number: impl Serialize) {
    line.extend_from_slice(before.as_bytes());
    // A number or a truth can be written, and a vector takes it.
    let _ = serde_json::to_writer(line, &number);
}

impl Branches<'_> {
    fn json(&self, index: usize, branch: &BranchNotes, line: &mut Vec<u8>) {
        let (settings, upstream) = self.1.branch(index);
        let upstream = &upstream.settings().name;
        push(line, r#"{"branch":""#, &settings.name);
        push(line, r#"","upstream":""#, upstream);
        push(line, r#"","kind":""#, branch.word);
        line.push(b'"');
        if let Some(status) = branch.status {
            push_number(line, r#","status":"#, status);
        }
        if let Some(elapsed) = branch.elapsed {
            push_number(line, r#","duration_ms":"#, exact_milliseconds(elapsed));
            push_number(line, r#","hedged":"#, branch.hedged);
            push_number(line, r#","lingered":"#, self.lingers(index));
            line.extend_from_slice(br#","span_id":""#);
            line.extend_from_slice(&span_digits(self.span(index)));
            line.push(b'"');
        }
        line.push(b'}');
    }

    fn text(
        &self,
        index: usize,
        branch: &BranchNotes,
        formatter: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let (settings, upstream) = self.1.branch(index);
        let upstream = &upstream.settings().name;
        write!(formatter, "{} {upstream} {}", settings.name, branch.word)?;
        if let Some(status) = branch.status {
            write!(formatter, " {status}")?;
        }
        if let Some(elapsed) = branch.elapsed {
            write!(formatter, " {}ms", exact_milliseconds(elapsed))?;
        }
        if branch.hedged {
            formatter.write_str(" hedged")?;
        }
        if self.lingers(index) {
            formatter.write_str(" lingered")?;
        }
        Ok(())
    }

    fn lingers(&self, index: usize) -> bool {
        self.0.lingers >> (index % 64) & 1 == 1
    }

    fn span(&self, index: usize) -> u64 {
        self.0.first_span + index as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_the_standard_library_shows_it() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "10.20.99.100",
            "255.255.255.255",
            "198.51.100.7",
            "2001:db8::1",
            "::ffff:192.0.2.7",
        ] {
            assert_eq!(address(text.parse().unwrap()), text);
        }
    }
}
