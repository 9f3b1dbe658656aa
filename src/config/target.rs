//! What a branch asks its upstream for: the upstream's URL and a template, made into the URL of one
//! call. Nothing of a request can choose the host, the scheme or the port, or climb out of the path.

use std::fmt;

use url::Url;

/// The target of a branch, parsed once from the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The upstream's URL with everything of the template that no request changes.
    base: Url,
    /// The whole path, when a parameter stands in it.
    path: Option<Path>,
    /// The whole query, when a parameter stands in it.
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

/// A template that cannot be a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadTemplate {
    /// It does not begin with a slash.
    Relative,
    /// It holds a character that has no place in a target: a fragment, a space, a backslash.
    Character(char),
    /// A segment is `.` or `..`, or holds an encoded dot, slash or backslash.
    Climbs,
    /// A brace without its other half.
    Braces,
    /// A parameter that the route's path does not have.
    UnknownParameter(String),
    /// A parameter in the name of a query parameter.
    ParameterAsName,
    /// The upstream's URL has a query already.
    QueryInUrl,
}

impl Target {
    /// Joins `template` to the upstream's `url`; without a template the URL is the target.
    /// `parameters` are the names that the route's path has.
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
            return Ok(Self {
                base,
                path: None,
                query: None,
            });
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
            Some(Path { prefix, segments })
        } else {
            base.set_path(&format!("{prefix}{path}"));
            None
        };
        let pieces = query
            .map(|query| query_pieces(query, parameters))
            .transpose()?;
        let query = match pieces {
            Some(pieces) if pieces.iter().any(Piece::is_parameter) => Some(pieces),
            _ => {
                base.set_query(query);
                None
            }
        };
        Ok(Self { base, path, query })
    }

    /// The URL of one call. `path` are the route's path parameters, percent-decoded; `query` the
    /// forwarded query parameters, decoded.
    ///
    /// # Errors
    /// When a value would climb out of the template (`.` or `..`) or holds a control character.
    pub fn url(&self, path: &[(&str, &str)], query: &[(&str, &str)]) -> Result<Url, BadParameter> {
        let mut url = self.base.clone();
        if let Some(template) = &self.path {
            url.set_path(&template.expand(path)?);
        }
        if self.query.is_none() && query.is_empty() {
            return Ok(url);
        }
        let mut text = match &self.query {
            Some(pieces) => expand(pieces, path)?,
            None => url.query().unwrap_or_default().to_owned(),
        };
        for (name, value) in query {
            check_value(name, value)?;
            if !text.is_empty() {
                text.push('&');
            }
            encode(name, &mut text);
            text.push('=');
            encode(value, &mut text);
        }
        url.set_query(Some(&text));
        Ok(url)
    }

    /// The names of query parameters that the URL or the template sets.
    pub(super) fn query_names(&self) -> Vec<String> {
        let text = match &self.query {
            Some(pieces) => pieces.iter().map(Piece::literal).collect(),
            None => self.base.query().unwrap_or_default().to_owned(),
        };
        let names = url::form_urlencoded::parse(text.as_bytes());
        names.map(|(name, _)| name.into_owned()).collect()
    }
}

impl Path {
    fn expand(&self, values: &[(&str, &str)]) -> Result<String, BadParameter> {
        let mut path = self.prefix.clone();
        for segment in &self.segments {
            path.push('/');
            path.push_str(&expand(segment, values)?);
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

    /// The piece before anything is encoded.
    fn plain<'a>(&'a self, values: &[(&str, &'a str)]) -> &'a str {
        match self {
            Self::Literal(text) => text,
            Self::Parameter(name) => value(name, values).unwrap_or_default(),
        }
    }
}

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative => f.write_str("a target begins with \"/\""),
            Self::Character(character) => write!(f, "{character:?} is not allowed in a target"),
            Self::Climbs => f.write_str(
                "a segment of a target is not \".\" or \"..\", and has no encoded dot, slash or backslash",
            ),
            Self::Braces => f.write_str("a parameter is a name in braces, such as {id}"),
            Self::UnknownParameter(name) => {
                write!(f, "the route's path has no parameter {{{name}}}")
            }
            Self::ParameterAsName => {
                f.write_str("in a query, parameters stand in values only, such as ?user={id}")
            }
            Self::QueryInUrl => f.write_str(
                "the upstream's url has a query already; move it to the targets or leave out the target",
            ),
        }
    }
}

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameter {:?}: {}", self.name, self.reason)
    }
}

impl std::error::Error for BadParameter {}

fn check_characters(template: &str) -> Result<(), BadTemplate> {
    if !template.starts_with('/') {
        return Err(BadTemplate::Relative);
    }
    let wrong = |it: &char| it.is_control() || it.is_whitespace() || "#\\\"<>`^|".contains(*it);
    template
        .chars()
        .find(wrong)
        .map_or(Ok(()), |character| Err(BadTemplate::Character(character)))
}

fn segments(path: &str, parameters: &[&str]) -> Result<Vec<Vec<Piece>>, BadTemplate> {
    let lower = path.to_ascii_lowercase();
    let climbs = |segment: &str| segment == "." || segment.contains("..");
    if ["%2e", "%2f", "%5c"]
        .iter()
        .any(|code| lower.contains(code))
        || path.split('/').any(climbs)
    {
        return Err(BadTemplate::Climbs);
    }
    path.split('/')
        .skip(1)
        .map(|segment| pieces(segment, parameters))
        .collect()
}

fn query_pieces(query: &str, parameters: &[&str]) -> Result<Vec<Piece>, BadTemplate> {
    let is_named = |pair: &str| {
        pair.split_once('=')
            .map_or(pair, |(name, _)| name)
            .contains('{')
    };
    if query.split('&').any(is_named) {
        return Err(BadTemplate::ParameterAsName);
    }
    pieces(query, parameters)
}

fn pieces(mut text: &str, parameters: &[&str]) -> Result<Vec<Piece>, BadTemplate> {
    let mut pieces = Vec::new();
    while let Some((literal, rest)) = text.split_once('{') {
        let (name, after) = rest.split_once('}').ok_or(BadTemplate::Braces)?;
        if literal.contains('}') || name.contains('{') {
            return Err(BadTemplate::Braces);
        }
        if !parameters.contains(&name) {
            return Err(BadTemplate::UnknownParameter(name.to_owned()));
        }
        pieces.push(Piece::Literal(literal.to_owned()));
        pieces.push(Piece::Parameter(name.to_owned()));
        text = after;
    }
    if text.contains('}') {
        return Err(BadTemplate::Braces);
    }
    pieces.push(Piece::Literal(text.to_owned()));
    Ok(pieces)
}

fn expand(pieces: &[Piece], values: &[(&str, &str)]) -> Result<String, BadParameter> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Parameter(name) => {
                let missing = || BadParameter {
                    name: name.clone(),
                    reason: "is missing",
                };
                let value = value(name, values).ok_or_else(missing)?;
                check_value(name, value)?;
                encode(value, &mut text);
            }
        }
    }
    Ok(text)
}

/// Refuses what would be `.` or `..` for `Url` (which takes `%2e` for a dot), or for an upstream that
/// decodes slashes before it resolves dots.
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
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(DIGITS[usize::from(byte >> 4)]);
            into.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests;
