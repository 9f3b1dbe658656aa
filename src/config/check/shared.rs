//! `[rate_limit.shared]`.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::upstreams::authorities;
use crate::config::key::Key;
use crate::config::raw;
use crate::config::report::Report;
use crate::config::secret::Secret;
use crate::config::settings::{RedisSettings, SharedLimitSettings};

const ALLOWED: &str = "a redis or rediss (TLS) URL with a host, such as \
    \"rediss://user:password@redis.example.com:6379/0\", with %-escapes in user and password";
const DEFAULT_PORT: u16 = 6379;
/// More would only make every command longer.
const LONGEST_PREFIX: usize = 100;

/// `[rate_limit.shared]`; nothing when it is wrong.
pub(super) fn limits(
    raw: &raw::SharedLimits,
    report: &mut Report<'_>,
) -> Option<SharedLimitSettings> {
    let key = Key::of("rate_limit").name("shared");
    let prefix = &raw.key_prefix;
    if prefix.len() > LONGEST_PREFIX || prefix.contains(|it: char| it.is_control() || it == ' ') {
        let allowed = format_args!(
            "at most {LONGEST_PREFIX} bytes without spaces and control characters, such as \"gatherd:\""
        );
        report.said(&key.name("key_prefix"), None, allowed);
    }
    let ca = authorities(&raw.ca.0, &key.name("ca"), report);
    let url = url(raw.url.as_ref(), &key.name("url"), report)?;
    let redis = RedisSettings {
        tls: (url.scheme() == "rediss").then_some(ca),
        ..redis(&url).or_else(|| {
            report.said(&key.name("url"), None, ALLOWED);
            None
        })?
    };
    Some(SharedLimitSettings {
        redis,
        key_prefix: prefix.as_str().into(),
        timeout: raw.timeout.duration(),
        on_error: raw.on_error.0,
    })
}

/// The URL, which may hold a password and is never shown.
fn url(said: Option<&Secret>, key: &Key, report: &mut Report<'_>) -> Option<Url> {
    let Some(secret) = said else {
        report.missing(key, ALLOWED);
        return None;
    };
    let text = match secret.reveal(report.source()) {
        Ok(text) => text,
        Err(missing) => {
            report.unavailable(key, None, missing);
            return None;
        }
    };
    let url = Url::parse(&text).ok();
    if url.is_none() {
        report.said(key, None, ALLOWED);
    }
    url
}

fn redis(url: &Url) -> Option<RedisSettings> {
    let known = matches!(url.scheme(), "redis" | "rediss");
    if !known || url.query().is_some() || url.fragment().is_some() || url.port() == Some(0) {
        return None;
    }
    let host: Arc<str> = match url.host()? {
        Host::Domain(name) => decoded(name)?.into(),
        Host::Ipv4(address) => address.to_string().into(),
        Host::Ipv6(address) => address.to_string().into(),
    };
    let user = match url.username() {
        "" => None,
        user => Some(decoded(user)?),
    };
    let password = match url.password() {
        None => None,
        Some(password) => Some(decoded(password)?),
    };
    Some(RedisSettings {
        host,
        port: url.port().unwrap_or(DEFAULT_PORT),
        tls: None,
        user,
        password,
        database: match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse().ok()?,
        },
    })
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    Some(text.into_owned())
}
