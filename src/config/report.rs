//! Collects what is wrong while everything else is still looked at.

use std::fmt;

use figment::error::{Actual, Kind};

use super::key::{Key, Step};
use super::problem::{Problem, Problems, quoted};
use super::source::Source;

/// The problems found so far, and the values that were taken out because of them.
pub(super) struct Report<'a> {
    source: &'a Source,
    removed: Vec<Key>,
    problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    /// A report on `source`, where `problems` have been found already.
    pub(super) fn new(source: &'a Source, problems: Vec<Problem>) -> Self {
        Self {
            source,
            removed: Vec::new(),
            problems,
        }
    }

    /// What the report is about.
    pub(super) fn source(&self) -> &'a Source {
        self.source
    }

    /// Something that is said wrongly at `key`; `value` is what stands there, as TOML.
    pub(super) fn said(&mut self, key: &Key, value: Option<String>, allowed: impl fmt::Display) {
        self.push(key, value, |place| Problem::said(place, allowed));
    }

    /// Something that `key` names and this machine does not have.
    pub(super) fn unavailable(
        &mut self,
        key: &Key,
        value: Option<String>,
        reason: impl fmt::Display,
    ) {
        self.push(key, value, |place| Problem::unavailable(place, reason));
    }

    /// A key that must be there; silent where it was there with a wrong value.
    pub(super) fn missing(&mut self, key: &Key, allowed: impl fmt::Display) {
        if !self.is_broken(key) {
            self.said(key, None, format_args!("required: {allowed}"));
        }
    }

    /// Whether a wrong value was taken out at `key`, inside it or around it, so that what depends on
    /// it cannot be judged.
    pub(super) fn is_broken(&self, key: &Key) -> bool {
        let key = self.original(key);
        self.removed
            .iter()
            .any(|removed| removed.is_within(&key) || key.is_within(removed))
    }

    /// A value that could not be read, at a key of the table as it is now; takes it for removed.
    pub(super) fn unreadable(&mut self, key: &Key, kind: &Kind) {
        match kind {
            Kind::UnknownField(name, known) => {
                let near = nearest(name, known);
                let hint =
                    near.map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
                let known = known.join(", ");
                self.said(
                    key,
                    None,
                    format_args!("unknown key{hint}; allowed here: {known}"),
                );
                if let (Some(near), Some(table)) = (near, key.parent()) {
                    self.removed.push(self.original(&table.name(near)));
                } else if key.is_secret() {
                    self.removed.push(self.original(key));
                }
                return;
            }
            Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
                self.said(
                    key,
                    Some(shown(actual)),
                    format_args!("must be {}", plain(expected)),
                );
            }
            // Of a table that lost its wrong keys, the rest is no news.
            _ if self.is_broken(key) => {}
            other => self.said(key, None, other),
        }
        self.removed.push(self.original(key));
    }

    /// Everything that was found; nothing when all is well.
    pub(super) fn finish(self) -> Option<Problems> {
        Problems::from_found(self.problems)
    }

    fn push(&mut self, key: &Key, value: Option<String>, make: impl FnOnce(&str) -> Problem) {
        let key = self.original(key);
        let (place, line) = self.source.place(&key);
        self.problems
            .push(make(place).at_line(line).of_key(&key, value));
    }

    /// The key with positions as the file counts them, those taken out included.
    fn original(&self, key: &Key) -> Key {
        key.steps()
            .iter()
            .fold(Key::default(), |list, step| match step {
                Step::Name(_) => list.with(step.clone()),
                Step::Index(index) => {
                    let kept = (0..)
                        .map(|at| list.index(at))
                        .filter(|it| !self.removed.contains(it));
                    kept.into_iter().nth(*index).unwrap_or(list)
                }
            })
    }
}

fn shown(actual: &Actual) -> String {
    match actual {
        Actual::Bool(truth) => truth.to_string(),
        Actual::Unsigned(number) => number.to_string(),
        Actual::Signed(number) => number.to_string(),
        Actual::Float(number) => format!("{number:?}"),
        Actual::Char(character) => quoted(&character.to_string()),
        Actual::Str(text) => quoted(text),
        Actual::Seq => "[…]".to_owned(),
        Actual::Map => "{…}".to_owned(),
        other => other.to_string(),
    }
}

/// What serde's derived code expects, in TOML's words.
fn plain(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list in brackets",
        "a map" => "a table",
        table if table.starts_with("struct ") => "a table",
        other => other,
    }
}

/// The known word that a mistyped one is most like, if any is like it.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let near = known
        .iter()
        .map(|known| (distance(word, known), *known))
        .min()?;
    (near.0 <= 1 + word.len() / 5).then_some(near.1)
}

/// How many letters differ (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (done, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (at, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_guessed_and_a_far_one_is_not() {
        let known = ["timeout", "max_timeout", "path"];
        assert_eq!(nearest("timout", &known), Some("timeout"));
        assert_eq!(nearest("max_timeouts", &known), Some("max_timeout"));
        assert_eq!(nearest("frobnicate", &known), None);
        assert_eq!(nearest("anything", &[]), None);
    }
}
