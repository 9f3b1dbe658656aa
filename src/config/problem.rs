//! What is wrong with the configuration, or with the machine: one line for each problem.

use std::fmt;

use super::key::Key;

/// Everything that is wrong, at once; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    class: Class,
    /// A file, the name of an environment variable, an address.
    subject: String,
    line: Option<usize>,
    key: Option<String>,
    value: Option<String>,
    text: String,
}

/// Whose fault it is, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The command line or the file says something wrong (`EX_USAGE`, 64).
    Said,
    /// The machine does not have something (`EX_UNAVAILABLE`, 69).
    Unavailable,
}

impl Problems {
    /// The exit code of sysexits.h: 64 when anything is about what is *said*, else 69.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.0.iter().any(Problem::is_said) {
            64
        } else {
            69
        }
    }

    /// The problems, in the order of the file's lines.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// These after those that were found before, but for keys that had a problem already.
    pub(super) fn after(self, before: Option<Self>) -> Self {
        let mut all = before.map_or_else(Vec::new, |before| before.0);
        let is_news = |problem: &Problem| {
            // Of files, the key stands before the path.
            let key = problem.subject.split(' ').next();
            !all.iter()
                .any(|found| found.key.is_some() && found.key.as_deref() == key)
        };
        let news: Vec<_> = self.0.into_iter().filter(is_news).collect();
        all.extend(news);
        Self(all)
    }

    /// The problems in the order of the file's lines, or nothing when there are none.
    pub(super) fn from_found(mut found: Vec<Problem>) -> Option<Self> {
        found.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        (!found.is_empty()).then_some(Self(found))
    }
}

impl Problem {
    /// Something that the command line, the file or the environment says is wrong.
    #[must_use]
    pub fn said(subject: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::new(Class::Said, subject, reason)
    }

    /// Something that this machine does not have: a file, a free address.
    #[must_use]
    pub fn unavailable(subject: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::new(Class::Unavailable, subject, reason)
    }

    /// Whether it is about what is *said*.
    pub(super) fn is_said(&self) -> bool {
        self.class == Class::Said
    }

    /// The same problem, at a line of the subject (from 1).
    #[must_use]
    pub(super) fn at_line(self, line: Option<usize>) -> Self {
        Self { line, ..self }
    }

    /// The same problem, of a key and of what it holds.
    #[must_use]
    pub(super) fn of_key(self, key: &Key, value: Option<String>) -> Self {
        let value = if key.is_secret() { None } else { value };
        Self {
            key: Some(key.to_string()),
            value,
            ..self
        }
    }

    fn new(class: Class, subject: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self {
            class,
            subject: subject.to_string(),
            line: None,
            key: None,
            value: None,
            text: reason.to_string(),
        }
    }

    /// The key in TOML's spelling, when it is about one.
    #[cfg(test)]
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        Self(problems.into_iter().collect())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = self.key.as_ref().filter(|key| !key.is_empty()) {
            write!(f, ": {key}")?;
        }
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// One problem a line, without a line feed at the end.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
impl std::error::Error for Problems {}

/// A string as problems show it: quoted, on one line, not too long.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start:?}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_file_line_key_value_and_what_is_allowed() {
        let problem = Problem::said("config.toml", "a size is a number with a unit")
            .at_line(Some(12))
            .of_key(&Key::of("server").name("max_buffered"), Some(quoted("12")));
        assert_eq!(
            problem.to_string(),
            "config.toml:12: server.max_buffered = \"12\": a size is a number with a unit"
        );
    }

    #[test]
    fn a_secret_is_never_shown() {
        let key = Key::of("upstreams")
            .name("work")
            .name("headers")
            .name("authorization");
        let problem = Problem::said("config.toml", "no").of_key(&key, Some(quoted("hush")));
        assert!(!problem.to_string().contains("hush"));
    }

    #[test]
    fn one_wrong_word_outweighs_everything_the_machine_lacks() {
        let missing = Problem::unavailable("127.0.0.1:443", "the address is taken");
        assert_eq!(Problems::from(missing.clone()).exit_code(), 69);
        let both: Problems = [missing, Problem::said("config.toml", "no")]
            .into_iter()
            .collect();
        assert_eq!(both.exit_code(), 64);
    }
}
