//! What a branch asks its upstream for: the path and query of the upstream's URL and a template, made into
//! the target of one call. Nothing of a request can choose the host, the scheme or the port, or climb out
//! of the path.

mod forwarded;
mod template;

use std::fmt;

use bytes::Bytes;
use url::Url;

pub use self::forwarded::Forwarded;
pub(super) use self::template::BadTemplate;
use self::template::{check_characters, query_pieces, segments};

/// The target of a branch, parsed once from the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Path and query with everything of the template, where no request changes the path.
    fixed: Bytes,
    /// The whole path, when a parameter stands in it.
    path: Option<Path>,
    /// The query, without parameters; none when there is none.
    query: Option<Vec<Piece>>,
}

/// A path with parameters.
#[derive(Clone, Debug, PartialEq)]
struct Path {
    /// The path of the upstream's URL, without a slash at its end.
    prefix: String,
    /// What stands between the slashes of the template.
    segments: Vec<Vec<Piece>>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    /// Stands as it is.
    Literal(String),
    /// The value of the route's path parameter of this name.
    Parameter(String),
}

/// A parameter of the request that cannot be put into the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadParameter {
    /// The parameter's name, as the route's path or `forward_query` says it.
    pub name: String,
    /// What is wrong with its value, for the client (never the value).
    pub reason: &'static str,
}

impl Target {
    /// Joins `template` to the path of the upstream's `url`; without a template path and query of the URL
    /// are the target. `parameters` are the names that the route's path has.
    ///
    /// # Errors
    /// When the template could leave its place or names what the route does not have.
    pub(super) fn parse(
        url: &Url,
        template: Option<&str>,
        parameters: &[&str],
    ) -> Result<Self, BadTemplate> {
        let mut base = url.clone();
        let Some(template) = template else {
            let query = base
                .query()
                .map(|query| vec![Piece::Literal(query.to_owned())]);
            return Ok(Self::of(&base, None, query));
        };
        if url.query().is_some() {
            return Err(BadTemplate::QueryInUrl);
        }
        check_characters(template)?;
        let (path, query) = match template.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (template, None),
        };
        let prefix = url.path().trim_end_matches('/').to_owned();
        let segments = segments(path, parameters)?;
        let path = if segments.iter().flatten().any(Piece::is_parameter) {
            let encoded =
                |pieces: Vec<Piece>| pieces.into_iter().map(Piece::encoded_in_path).collect();
            let segments = segments.into_iter().map(encoded).collect();
            Some(Path { prefix, segments })
        } else {
            base.set_path(&format!("{prefix}{path}"));
            None
        };
        let pieces = query.map(|query| query_pieces(query, parameters));
        let pieces = pieces.transpose()?.map(|pieces| {
            let encoded = pieces.into_iter().map(Piece::encoded_in_query);
            encoded.collect::<Vec<_>>()
        });
        Ok(Self::of(&base, path, pieces))
    }

    fn of(base: &Url, path: Option<Path>, query: Option<Vec<Piece>>) -> Self {
        let mut fixed = base.path().to_owned();
        if let Some(pieces) = query
            .iter()
            .find(|pieces| !pieces.iter().any(Piece::is_parameter))
        {
            fixed.push('?');
            fixed.extend(pieces.iter().map(Piece::literal));
        }
        Self {
            fixed: fixed.into(),
            path,
            query,
        }
    }

    /// The target of one call, in ASCII, beginning with a slash. `path` are the route's path parameters,
    /// percent-decoded; `query` the forwarded query parameters, as they came.
    ///
    /// # Errors
    /// When a value would climb out of the template (`.` or `..`) or holds a control character.
    pub fn path_and_query(
        &self,
        path: &[(&str, &str)],
        query: &[Forwarded<'_>],
    ) -> Result<Bytes, BadParameter> {
        let has_parameters = self.query.iter().flatten().any(Piece::is_parameter);
        if self.path.is_none() && !has_parameters && query.is_empty() {
            return Ok(self.fixed.clone());
        }
        let mut target = match &self.path {
            Some(template) => template.expand(path)?,
            None => {
                let fixed = str::from_utf8(&self.fixed).unwrap_or_default();
                let (path, _) = fixed.split_once('?').unwrap_or((fixed, ""));
                path.to_owned()
            }
        };
        // Where the query begins, if there is one.
        let mut start = None;
        if let Some(pieces) = &self.query {
            target.push('?');
            start = Some(target.len());
            expand(pieces, path, &mut target)?;
        }
        for forwarded in query {
            forwarded.check()?;
            match start {
                None => target.push('?'),
                Some(start) if target.len() > start => target.push('&'),
                Some(_) => {}
            }
            start.get_or_insert(target.len());
            forwarded.encode(&mut target);
        }
        Ok(target.into())
    }

    /// The names of query parameters that the URL or the template sets.
    pub(super) fn query_names(&self) -> Vec<String> {
        let text: String = self.query.iter().flatten().map(Piece::literal).collect();
        let names = url::form_urlencoded::parse(text.as_bytes());
        names.map(|(name, _)| name.into_owned()).collect()
    }
}

impl Path {
    fn expand(&self, values: &[(&str, &str)]) -> Result<String, BadParameter> {
        let mut path = self.prefix.clone();
        for segment in &self.segments {
            path.push('/');
            expand(segment, values, &mut path)?;
            check_segment(segment, values)?;
        }
        Ok(path)
    }
}

impl Piece {
    fn is_parameter(&self) -> bool {
        matches!(self, Self::Parameter(_))
    }

    fn literal(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Parameter(_) => "",
        }
    }

    /// A literal as a URL has it in its path: what has no place there is percent-encoded.
    fn encoded_in_path(self) -> Self {
        self.encoded(|url, literal| {
            // Behind something else, since a dot alone would be taken for a step.
            url.set_path(&format!("-{literal}"));
            url.path().trim_start_matches("/-").to_owned()
        })
    }

    /// The same in a query.
    fn encoded_in_query(self) -> Self {
        self.encoded(|url, literal| {
            url.set_query(Some(literal));
            url.query().unwrap_or_default().to_owned()
        })
    }

    fn encoded(self, encode: impl Fn(&mut Url, &str) -> String) -> Self {
        match self {
            Self::Literal(literal) => {
                let mut url = Url::parse("http://host/").expect("it is a URL");
                Self::Literal(encode(&mut url, &literal))
            }
            Self::Parameter(_) => self,
        }
    }

    /// The piece before anything is encoded.
    fn plain<'a>(&'a self, values: &[(&str, &'a str)]) -> &'a str {
        match self {
            Self::Literal(text) => text,
            Self::Parameter(name) => value(name, values).unwrap_or_default(),
        }
    }
}

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameter {:?}: {}", self.name, self.reason)
    }
}

impl std::error::Error for BadParameter {}

fn expand(
    pieces: &[Piece],
    values: &[(&str, &str)],
    into: &mut String,
) -> Result<(), BadParameter> {
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => into.push_str(literal),
            Piece::Parameter(name) => {
                let missing = || BadParameter {
                    name: name.clone(),
                    reason: "is missing",
                };
                let value = value(name, values).ok_or_else(missing)?;
                check_value(name, value)?;
                encode(value, into);
            }
        }
    }
    Ok(())
}

/// Refuses what would be `.` or `..` for an upstream that decodes dots and slashes before it resolves them.
fn check_segment(segment: &[Piece], values: &[(&str, &str)]) -> Result<(), BadParameter> {
    let plain: String = segment.iter().map(|piece| piece.plain(values)).collect();
    if !plain
        .split(['/', '\\'])
        .any(|part| part == "." || part == "..")
    {
        return Ok(());
    }
    let culprit = segment.iter().find_map(|piece| match piece {
        Piece::Parameter(name) => Some(name.clone()),
        Piece::Literal(_) => None,
    });
    let reason = "must not make a path segment \".\" or \"..\"";
    Err(BadParameter {
        name: culprit.unwrap_or_default(),
        reason,
    })
}

fn check_value(name: &str, value: &str) -> Result<(), BadParameter> {
    if value.chars().any(char::is_control) {
        let reason = "must not hold control characters";
        return Err(BadParameter {
            name: name.to_owned(),
            reason,
        });
    }
    Ok(())
}

fn value<'a>(name: &str, values: &[(&str, &'a str)]) -> Option<&'a str> {
    values
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
}

/// Percent-encodes everything but unreserved characters (RFC 3986, section 2.3).
fn encode(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            push_encoded(byte, into);
        }
    }
}

fn push_encoded(byte: u8, into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    into.push('%');
    into.push(char::from(DIGITS[usize::from(byte >> 4)]));
    into.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests;
