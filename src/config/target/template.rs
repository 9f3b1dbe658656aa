//! From the text of a template to its pieces, or what is wrong with it.

use std::fmt;

use super::Piece;

/// A template that cannot be a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum BadTemplate {
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

/// Refuses what has no place in a target.
pub(super) fn check_characters(template: &str) -> Result<(), BadTemplate> {
    if !template.starts_with('/') {
        return Err(BadTemplate::Relative);
    }
    let wrong = |it: &char| it.is_control() || it.is_whitespace() || "#\\\"<>`^|".contains(*it);
    template
        .chars()
        .find(wrong)
        .map_or(Ok(()), |character| Err(BadTemplate::Character(character)))
}

/// What stands between the slashes of a path.
pub(super) fn segments(path: &str, parameters: &[&str]) -> Result<Vec<Vec<Piece>>, BadTemplate> {
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

/// The pieces of a query.
pub(super) fn query_pieces(query: &str, parameters: &[&str]) -> Result<Vec<Piece>, BadTemplate> {
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
