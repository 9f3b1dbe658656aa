//! Paths of routes: what axum's router takes (matchit 0.8), and only what a request can reach.

use std::fmt;

use matchit::{InsertError, Router};

use crate::config::key::Key;
use crate::config::problem::quoted;
use crate::config::raw::Raw;
use crate::config::report::Report;

/// Why a path cannot be a route's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadPath {
    /// It does not begin with a slash.
    Relative,
    /// A segment is empty, `.` or `..`, or begins with `:` or `*`.
    Segment(String),
    /// Braces that are not one whole segment with a name.
    Parameter(String),
    /// The same parameter twice.
    Twice(String),
    /// It cannot be told from the path of another route.
    Conflict(String),
}

/// The paths so far.
#[derive(Default)]
pub(super) struct Paths(Router<()>);

impl Paths {
    /// Adds a path.
    ///
    /// # Errors
    /// When no request could reach it, or when it conflicts with an earlier one.
    pub(super) fn add(&mut self, path: &str) -> Result<(), BadPath> {
        check(path)?;
        self.0.insert(path, ()).map_err(|error| match error {
            InsertError::Conflict { with } => BadPath::Conflict(with),
            _ => BadPath::Parameter(path.to_owned()),
        })
    }
}

/// `server.health_path` is a plain path that no route has.
pub(super) fn check_health(raw: &Raw, report: &mut Report<'_>) {
    let Some(path) = &raw.server.health_path else {
        return;
    };
    let key = Key::of("server").name("health_path");
    let taken = raw
        .routes
        .iter()
        .any(|route| route.path.as_ref() == Some(path));
    let value = Some(quoted(path));
    match check(path) {
        Err(bad) => report.said(&key, value, bad),
        Ok(()) if !parameters(path).is_empty() => {
            report.said(
                &key,
                value,
                "a path without parameters, such as \"/healthz\"",
            );
        }
        Ok(()) if taken => report.said(&key, value, "a path that no route has"),
        Ok(()) => {}
    }
}

/// The names of the parameters in a path.
pub(super) fn parameters(path: &str) -> Vec<&str> {
    path.split('/').filter_map(parameter).collect()
}

fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn check(path: &str) -> Result<(), BadPath> {
    let inner = path.strip_prefix('/').ok_or(BadPath::Relative)?;
    // One slash at the end is a path of its own.
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() && path != "/" {
        return Err(BadPath::Segment(String::new()));
    }
    for segment in inner.split('/').filter(|_| path != "/") {
        check_segment(segment)?;
    }
    let names = parameters(path);
    let twice = names
        .iter()
        .enumerate()
        .find(|(at, name)| names[..*at].contains(name));
    twice.map_or(Ok(()), |(_, name)| Err(BadPath::Twice((*name).to_owned())))
}

fn check_segment(segment: &str) -> Result<(), BadPath> {
    if let Some(name) = parameter(segment) {
        let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let starts = name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
        return if starts && name.chars().all(is_word) {
            Ok(())
        } else {
            Err(BadPath::Parameter(segment.to_owned()))
        };
    }
    if segment.contains(['{', '}']) {
        return Err(BadPath::Parameter(segment.to_owned()));
    }
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&it);
    let is_dots = matches!(segment, "" | "." | "..");
    if is_dots || segment.starts_with([':', '*']) || !segment.bytes().all(allowed) {
        return Err(BadPath::Segment(segment.to_owned()));
    }
    Ok(())
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative => f.write_str("a path begins with \"/\""),
            Self::Segment(segment) => write!(
                f,
                "{segment:?} cannot be a segment of a path: letters, digits and -._~!$&'()*+,;=:@%, \
                 not empty, \".\" or \"..\", and not beginning with \":\" or \"*\""
            ),
            Self::Parameter(segment) => write!(
                f,
                "{segment:?} is no parameter: a whole segment with a name in braces, such as {{id}}"
            ),
            Self::Twice(name) => write!(f, "the parameter {{{name}}} stands there twice"),
            Self::Conflict(with) => write!(f, "conflicts with the route {with:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_request_reaches_is_refused() {
        for wrong in [
            "", "api", "//", "/a//b", "/a/../b", "/:id", "/*rest", "/{*rest}", "/{}", "/{a}{b}",
            "/x{a}", "/{a}/{a}", "/{1}", "/a b", "/a?b", "/ü", "/{{a}}",
        ] {
            assert!(Paths::default().add(wrong).is_err(), "{wrong}");
        }
        for right in ["/", "/a", "/a/", "/a/{b}", "/{a}/{b}", "/.well-known/x"] {
            assert_eq!(Paths::default().add(right), Ok(()), "{right}");
        }
    }

    #[test]
    fn paths_that_cannot_be_told_apart_conflict() {
        let mut paths = Paths::default();
        paths.add("/a/{b}").unwrap();
        assert_eq!(
            paths.add("/a/{c}"),
            Err(BadPath::Conflict("/a/{b}".to_owned()))
        );
        assert_eq!(
            paths.add("/a/{b}"),
            Err(BadPath::Conflict("/a/{b}".to_owned()))
        );
        assert_eq!(paths.add("/a/c"), Ok(()));
        assert_eq!(paths.add("/a"), Ok(()));
    }

    #[test]
    fn the_parameters_of_a_path_have_names() {
        assert_eq!(parameters("/a/{b}/c/{d}"), ["b", "d"]);
    }
}
