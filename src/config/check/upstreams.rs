//! `[upstreams.NAME]`.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use url::{Position, Url};

use super::{NAME, headers, is_name, sections};
use crate::config::key::Key;
use crate::config::problem::quoted;
use crate::config::raw;
use crate::config::report::Report;
use crate::config::secret::{Missing, Secret};
use crate::config::settings::{CertificateAuthorities, UpstreamSettings};

/// Every upstream in the order of the names; nothing in the place of a wrong one.
pub(super) fn all(
    raw: &BTreeMap<String, raw::Upstream>,
    report: &mut Report<'_>,
) -> Vec<Option<UpstreamSettings>> {
    raw.iter()
        .map(|(name, upstream)| one(name, upstream, report))
        .collect()
}

fn one(name: &str, raw: &raw::Upstream, report: &mut Report<'_>) -> Option<UpstreamSettings> {
    let key = Key::of("upstreams").name(name);
    if !is_name(name) {
        report.said(&key, None, NAME);
    }
    let urls = urls(raw.url.as_ref(), &key.name("url"), report);
    let headers = sent(&raw.headers, &key.name("headers"), report);
    let ca = authorities(&raw.ca.0, &key.name("ca"), report);
    Some(UpstreamSettings {
        name: name.into(),
        urls: urls?,
        ca,
        http: raw.http.0,
        connect_timeout: raw.connect_timeout.duration(),
        max_response: raw.max_response.bytes(),
        max_calls: usize::try_from(raw.max_calls.0).unwrap_or(usize::MAX),
        max_wait: raw.max_wait.duration(),
        idle_timeout: raw.idle_timeout.duration(),
        max_connection_age: raw.max_connection_age.duration(),
        linger: raw.linger.duration(),
        breaker: raw.breaker.as_ref().map(raw::Breaker::settings),
        headers,
    })
}

/// The most URLs of an upstream.
const MOST_URLS: usize = 32;
const ALLOWED: &str = "an http or https URL with a host, such as \"https://api.example.com/v1\"";

/// All of them: at least one, and they differ in host and port only.
fn urls(said: Option<&raw::Urls>, key: &Key, report: &mut Report<'_>) -> Option<Vec<Url>> {
    let Some(said) = said else {
        report.missing(key, ALLOWED);
        return None;
    };
    let texts = said.all();
    if texts.is_empty() || texts.len() > MOST_URLS {
        // A list whose elements cannot be read was meant to hold some.
        if !report.is_broken(key) {
            let value = if texts.is_empty() { "[]" } else { "[…]" };
            let (count, most) = (texts.len(), MOST_URLS);
            let reason = format_args!("a list has 1 to {most} URLs, and this has {count}");
            report.said(key, Some(value.to_owned()), reason);
        }
        return None;
    }
    let mut urls: Vec<Url> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let place = match said {
            raw::Urls::One(_) => key.clone(),
            raw::Urls::Several(_) => key.index(index),
        };
        match url(text).and_then(|url| beside(&urls, url)) {
            Ok(url) => urls.push(url),
            Err(reason) => report.said(&place, shown(text), reason),
        }
    }
    (urls.len() == texts.len()).then_some(urls)
}

/// `url`, where it may stand in a list behind `urls`.
fn beside(urls: &[Url], url: Url) -> Result<Url, &'static str> {
    if urls.contains(&url) {
        return Err("the same URL is there twice");
    }
    let is_alike = |first: &Url| {
        first.scheme() == url.scheme()
            && first[Position::BeforePath..] == url[Position::BeforePath..]
    };
    if !urls.first().is_none_or(is_alike) {
        return Err("the URLs of a list differ in host and port only: one scheme, path and query");
    }
    Ok(url)
}

fn url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| ALLOWED)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        Err(ALLOWED)
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("a url has no user and password; send an authorization header (`headers`)")
    } else if url.fragment().is_some() {
        Err("a url has no fragment (\"#…\")")
    } else if url.port() == Some(0) {
        Err("port 0 is no port")
    } else {
        Ok(url)
    }
}

/// A URL as problems show it: what stands before an "@" may be a password.
fn shown(text: &str) -> Option<String> {
    (!text.contains('@')).then(|| quoted(text))
}

/// `ca` of an upstream, or of Redis.
pub(super) fn authorities(
    said: &CertificateAuthorities,
    key: &Key,
    report: &mut Report<'_>,
) -> CertificateAuthorities {
    match said {
        CertificateAuthorities::File(path) => {
            let path = report.source().path(path);
            sections::check_readable(&path, key, report);
            CertificateAuthorities::File(path)
        }
        other => other.clone(),
    }
}

fn sent(
    said: &BTreeMap<String, Secret>,
    key: &Key,
    report: &mut Report<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (text, secret) in said {
        let at = key.name(text);
        let name = match headers::allowed(text) {
            Ok(name) if headers.iter().any(|(known, _)| *known == name) => {
                report.said(&at, None, "the same header is there in another spelling");
                continue;
            }
            Ok(name) => name,
            Err(reason) => {
                report.said(&at, None, format_args!("cannot be set: {reason}"));
                continue;
            }
        };
        if let Some(value) = value(secret, &at, report) {
            headers.push((name, value));
        }
    }
    headers
}

fn value(secret: &Secret, key: &Key, report: &mut Report<'_>) -> Option<HeaderValue> {
    let text = match secret.reveal(report.source()) {
        Ok(text) => text,
        Err(missing @ (Missing::File(..) | Missing::Env(_))) => {
            report.unavailable(key, None, missing);
            return None;
        }
    };
    match HeaderValue::from_str(&text) {
        Ok(mut value) if !text.trim().is_empty() => {
            value.set_sensitive(true);
            Some(value)
        }
        _ => {
            report.said(
                key,
                None,
                "a header value is printable ASCII on one line, not empty",
            );
            None
        }
    }
}
