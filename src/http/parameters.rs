//! What a request asks for: its deadline, and what it passes on to the branches.

use std::borrow::Cow;
use std::time::Duration;

use ::http::HeaderMap;
use ::http::request::Parts;
use percent_encoding::percent_decode_str;
use tokio::time::Instant;
use url::form_urlencoded;

use super::context::Context;
use super::problem::ProblemDetails;
use super::route::Routed;
use crate::config::{BranchSettings, Forwarded, RouteSettings};

/// The parameters of one request, parsed.
pub(super) struct Parameters<'a> {
    path: Vec<(&'a str, Cow<'a, str>)>,
    query: Vec<Pair<'a>>,
    pub(super) headers: &'a HeaderMap,
    /// The one instant that the whole gather goes by.
    pub(super) deadline: Instant,
}

/// One parameter of a query.
struct Pair<'a> {
    /// As it came.
    raw: &'a str,
    /// Decoded.
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl<'a> Pair<'a> {
    /// Every one of `query`, in order.
    fn all(query: &'a str) -> Vec<Self> {
        let raw = query.split('&');
        raw.filter_map(|raw| {
            let (name, value) = form_urlencoded::parse(raw.as_bytes()).next()?;
            Some(Self { raw, name, value })
        })
        .collect()
    }
}

impl<'a> Parameters<'a> {
    /// Parses what a request says against what its route allows.
    ///
    /// # Errors
    /// 400, which says what is allowed.
    pub(super) fn parse(
        context: &Context,
        routed: &'a Routed,
        head: &'a Parts,
    ) -> Result<Self, ProblemDetails> {
        let path = routed.parameters.iter().map(|(name, value)| {
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| ProblemDetails::bad_request("the path is not UTF-8"))?;
            Ok((&**name, value))
        });
        let path: Vec<_> = path.collect::<Result<_, ProblemDetails>>()?;
        refuse_dots(&path)?;
        let query = head.uri.query().unwrap_or("");
        let query = Pair::all(query);
        let deadline = context.arrived + timeout(&query, &routed.route.settings)?;
        Ok(Self {
            path,
            query,
            headers: &head.headers,
            deadline,
        })
    }

    /// The path parameters, percent-decoded.
    pub(super) fn path(&self) -> Vec<(&str, &str)> {
        let path = self.path.iter();
        path.map(|(name, value)| (*name, value.as_ref())).collect()
    }

    /// The query parameters that `branch` passes on.
    ///
    /// # Errors
    /// 400 for one that is there more than once: which of them counts is not ours to guess.
    pub(super) fn query_for<'b>(
        &'b self,
        branch: &'b BranchSettings,
    ) -> Result<Vec<Forwarded<'b>>, ProblemDetails> {
        let mut forwarded = Vec::new();
        for name in &branch.forward_query {
            let mut pairs = self.query.iter().filter(|pair| *pair.name == **name);
            if let Some(pair) = pairs.next() {
                forwarded.push(Forwarded {
                    name,
                    raw: pair.raw,
                });
            }
            if pairs.next().is_some() {
                return Err(ProblemDetails::bad_parameter(name, "must not be repeated"));
            }
        }
        Ok(forwarded)
    }
}

/// Refuses a path parameter that is `.` or `..`, wherever it would stand: what an upstream makes of it
/// in a query is not ours to guess either.
fn refuse_dots(path: &[(&str, Cow<'_, str>)]) -> Result<(), ProblemDetails> {
    match path
        .iter()
        .find(|(_, value)| matches!(&**value, "." | ".."))
    {
        Some((name, _)) => Err(ProblemDetails::bad_parameter(
            name,
            "must not be \".\" or \"..\"",
        )),
        None => Ok(()),
    }
}

/// What `?timeout=MS` says, or the route's own.
fn timeout(query: &[Pair<'_>], route: &RouteSettings) -> Result<Duration, ProblemDetails> {
    let mut given = query.iter().filter(|pair| pair.name == "timeout");
    let Some(pair) = given.next() else {
        return Ok(route.timeout);
    };
    let milliseconds = Some(&pair.value)
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|value| value.parse().ok())
        .map(Duration::from_millis);
    match (milliseconds, given.next()) {
        (Some(timeout), None) if !timeout.is_zero() && timeout <= route.max_timeout => Ok(timeout),
        _ => Err(ProblemDetails::invalid_timeout(route.max_timeout)),
    }
}
