//! The sections that stand alone: server, admin, log, mock.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use url::Url;

use super::limits::nets;
use crate::config::key::Key;
use crate::config::problem::quoted;
use crate::config::raw;
use crate::config::report::Report;
use crate::config::scalar::Whole;
use crate::config::settings::{
    AdminSettings, AllowedOrigins, HttpMode, LogSettings, MockSettings, ServerSettings,
};

/// `[server]`.
pub(super) fn server(raw: &raw::Server, report: &mut Report<'_>) -> ServerSettings {
    let key = Key::of("server");
    let https = key.name("https");
    let serves = raw.http_mode.0 == HttpMode::Serve && !raw.http.is_empty();
    let broken = report.is_broken(&https) || report.is_broken(&key.name("http"));
    if raw.https.is_empty() && !serves && !broken {
        let allowed = "at least one address, such as \"0.0.0.0:443\", unless http has one and \
                       http_mode is \"serve\"";
        report.said(&https, Some("[]".to_owned()), allowed);
    }
    check_proxies(raw, report);
    check_drain(raw, report);
    ServerSettings {
        https: raw.https.iter().map(|address| address.0).collect(),
        http: raw.http.iter().map(|address| address.0).collect(),
        http_mode: raw.http_mode.0,
        trusted_proxies: nets(&raw.trusted_proxies),
        trusted_hops: raw.trusted_hops.map(Whole::count),
        proxy_protocol: raw.proxy_protocol,
        max_connections: raw.max_connections.count(),
        max_connections_per_client: raw.max_connections_per_client.count(),
        max_in_flight: raw.max_in_flight.count(),
        max_in_flight_per_client: raw.max_in_flight_per_client.count(),
        max_buffered: raw.max_buffered.bytes(),
        handshake_timeout: raw.handshake_timeout.duration(),
        header_timeout: raw.header_timeout.duration(),
        idle_timeout: raw.idle_timeout.duration(),
        write_timeout: raw.write_timeout.duration(),
        drain_delay: raw.drain_delay.duration(),
        drain_timeout: raw.drain_timeout.duration(),
        worker_threads: worker_threads(raw.worker_threads.0),
        server_timing: raw.server_timing.0,
        failure_status: raw.failure_status.0,
        health_path: raw.health_path.as_deref().map(Arc::from),
        acme_webroot: webroot(raw, report),
        cors_allow_origins: origins(&raw.cors_allow_origins, report),
    }
}

/// It may be made later, by the program that fills it; but plain HTTP must be there to answer.
fn webroot(raw: &raw::Server, report: &mut Report<'_>) -> Option<Arc<Path>> {
    let said = raw.acme_webroot.as_ref()?;
    let key = Key::of("server");
    if raw.http.is_empty() && !report.is_broken(&key.name("http")) {
        let value = Some(quoted(&said.0.display().to_string()));
        let reason =
            "needs plain-HTTP addresses in server.http, where authorities look for the answers";
        report.said(&key.name("acme_webroot"), value, reason);
    }
    let path = report.source().path(&said.0);
    check_directory(&path, &key.name("acme_webroot"), report);
    Some(path.into())
}

/// Both count from the signal: a delay that is as long leaves nothing for requests.
fn check_drain(raw: &raw::Server, report: &mut Report<'_>) {
    let (delay, timeout) = (raw.drain_delay.duration(), raw.drain_timeout.duration());
    let key = Key::of("server");
    if delay >= timeout && !report.is_broken(&key.name("drain_timeout")) {
        let value = Some(quoted(&humantime::format_duration(delay).to_string()));
        let timeout = humantime::format_duration(timeout);
        let reason = format_args!("shorter than drain_timeout ({timeout}), which it is a part of");
        report.said(&key.name("drain_delay"), value, reason);
    }
}

/// The proxies that are believed are said in one way, and cannot be every address.
fn check_proxies(raw: &raw::Server, report: &mut Report<'_>) {
    let key = Key::of("server");
    let proxies = key.name("trusted_proxies");
    for (index, net) in raw.trusted_proxies.iter().enumerate() {
        if net.0.prefix_len() == 0 {
            let reason = "would let every client say who it is; name the proxies' own networks";
            let value = Some(quoted(&net.0.to_string()));
            report.said(&proxies.index(index), value, reason);
        }
    }
    let named = !raw.trusted_proxies.is_empty() || report.is_broken(&proxies);
    if let (true, Some(hops)) = (named, raw.trusted_hops) {
        let reason =
            "is for proxies whose addresses are unknown; leave out this or trusted_proxies";
        report.said(&key.name("trusted_hops"), Some(hops.0.to_string()), reason);
    }
    if raw.proxy_protocol && !named {
        let reason = "needs trusted_proxies: the networks of those who send the header";
        let value = Some("true".to_owned());
        report.said(&key.name("proxy_protocol"), value, reason);
    }
}

/// 0 is one for each core that the process may use.
fn worker_threads(said: u32) -> usize {
    match usize::try_from(said) {
        Ok(threads) if threads > 0 => threads,
        _ => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

fn origins(said: &[String], report: &mut Report<'_>) -> AllowedOrigins {
    let key = Key::of("server").name("cors_allow_origins");
    if said == ["*"] {
        return AllowedOrigins::Any;
    }
    let mut origins = Vec::new();
    for (index, text) in said.iter().enumerate() {
        match origin(text) {
            Some(origin) => origins.push(origin),
            None => report.said(
                &key.index(index),
                Some(quoted(text)),
                "[\"*\"] alone, or origins as browsers send them, such as \"https://app.example.com\"",
            ),
        }
    }
    if said.is_empty() {
        AllowedOrigins::None
    } else {
        AllowedOrigins::List(origins)
    }
}

/// Scheme, host and port, exactly as a browser writes them (RFC 6454, section 6.2).
fn origin(text: &str) -> Option<HeaderValue> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let same = url.origin().ascii_serialization() == text;
    same.then(|| HeaderValue::from_str(text).ok()).flatten()
}

/// Reports a file that cannot be opened and read.
pub(super) fn check_readable(path: &Path, key: &Key, report: &mut Report<'_>) {
    if let Err(error) = read_some(path) {
        let value = Some(quoted(&path.display().to_string()));
        report.unavailable(key, value, format_args!("cannot read the file: {error}"));
    }
}

/// Reports a directory that is something else. One that is not there may be made later.
pub(super) fn check_directory(path: &Path, key: &Key, report: &mut Report<'_>) {
    let is_other = |kind: std::fs::Metadata| !kind.is_dir();
    if std::fs::metadata(path).is_ok_and(is_other) {
        let value = Some(quoted(&path.display().to_string()));
        report.unavailable(key, value, "must be a directory, and is something else");
    }
}

fn read_some(path: &Path) -> io::Result<()> {
    let kind = std::fs::metadata(path)?.file_type();
    // A pipe would be waited for.
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("it is not a regular file"));
    }
    File::open(path)?.read(&mut [0]).map(drop)
}

/// `[admin]`.
pub(in crate::config) fn admin(raw: &raw::Admin, report: &mut Report<'_>) -> Option<AdminSettings> {
    let listen = raw.listen.0;
    let allow = Key::of("admin").name("allow");
    if raw.enabled && !is_loopback(listen.ip()) && raw.allow.is_empty() {
        let reason = format_args!("networks that may connect, since admin.listen is {listen}");
        report.missing(&allow, reason);
    }
    raw.enabled.then(|| AdminSettings {
        listen,
        allow: nets(&raw.allow),
        state_directory: report.source().state_directory(),
    })
}

/// `[log]`.
pub(super) fn log(raw: &raw::Log, report: &Report<'_>) -> LogSettings {
    let file = raw.file.as_ref();
    LogSettings {
        format: raw.format.0,
        level: raw.level.0,
        access: raw.access.0,
        file: file.map(|path| report.source().path(&path.0)),
    }
}

/// `[mock]`.
pub(super) fn mock(raw: &raw::Mock) -> Option<MockSettings> {
    raw.enabled.then(|| MockSettings {
        listen: raw.listen.0,
        body: raw.body.clone(),
        delay: raw.delay.0.clone(),
        failure_rate: raw.failure_rate.0,
    })
}

/// Whether only this machine reaches it.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
