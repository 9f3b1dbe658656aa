//! `[tls.acme]`.

use std::path::{Path, PathBuf};

use url::{Host, Url};

use crate::config::check::sections::{check_directory, check_readable};
use crate::config::key::Key;
use crate::config::problem::quoted;
use crate::config::raw;
use crate::config::report::Report;
use crate::config::settings::AcmeSettings;

/// Where state is kept when neither the file nor systemd says so.
const STATE: &str = "/var/lib/gatherd";

/// `[tls.acme]`; nothing when it is wrong.
pub(super) fn settings(raw: &raw::Acme, report: &mut Report<'_>) -> Option<AcmeSettings> {
    let key = Key::of("tls").name("acme");
    let domains = domains(&raw.domains, &key.name("domains"), report);
    if let Some(wrong) = raw
        .contact
        .as_ref()
        .filter(|contact| !is_mail(contact.as_str()))
    {
        let allowed = "a mail address as a URL, such as \"mailto:admin@example.com\"";
        report.said(&key.name("contact"), Some(quoted(wrong)), allowed);
    }
    let directory = Url::parse(&raw.directory).ok();
    let directory = directory.filter(|url| url.scheme() == "https" && url.host().is_some());
    if directory.is_none() {
        let allowed = "an https URL, such as \"https://acme-v02.api.letsencrypt.org/directory\"";
        report.said(
            &key.name("directory"),
            Some(quoted(&raw.directory)),
            allowed,
        );
    }
    let ca = raw.ca.as_ref().map(|path| report.source().path(&path.0));
    if let Some(path) = &ca {
        check_readable(path, &key.name("ca"), report);
    }
    let state_dir = state_dir(raw, report);
    check_directory(&state_dir, &key.name("state_dir"), report);
    Some(AcmeSettings {
        domains: domains?,
        contact: raw.contact.clone(),
        directory: directory?,
        ca,
        state_dir,
    })
}

fn is_mail(contact: &str) -> bool {
    let address = contact
        .strip_prefix("mailto:")
        .and_then(|it| it.split_once('@'));
    address.is_some_and(|(user, host)| !user.is_empty() && domain(host).is_ok())
}

fn domains(said: &[String], key: &Key, report: &mut Report<'_>) -> Option<Vec<String>> {
    if said.is_empty() {
        report.missing(key, "DNS names, such as [\"api.example.com\"]");
        return None;
    }
    let mut domains = Vec::new();
    for (index, name) in said.iter().enumerate() {
        match domain(name) {
            Ok(domain) if domains.contains(&domain) => {
                report.said(&key.index(index), Some(quoted(name)), "each name once");
            }
            Ok(domain) => domains.push(domain),
            Err(reason) => report.said(&key.index(index), Some(quoted(name)), reason),
        }
    }
    (domains.len() == said.len()).then_some(domains)
}

/// A name that an authority can connect to and prove by TLS-ALPN-01 (RFC 8737).
fn domain(said: &str) -> Result<String, &'static str> {
    if said.starts_with("*.") {
        return Err("no wildcard: TLS-ALPN-01 cannot prove one; use certbot with DNS-01");
    }
    let name = said.to_ascii_lowercase();
    let label = |label: &str| {
        let inside = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
        let ends = !label.starts_with('-') && !label.ends_with('-');
        (1..=63).contains(&label.len()) && ends && label.bytes().all(inside)
    };
    let is_domain = matches!(Host::parse(&name), Ok(Host::Domain(_)));
    if is_domain && name.len() <= 253 && name.contains('.') && name.split('.').all(label) {
        Ok(name)
    } else {
        Err("a whole DNS name, such as \"api.example.com\"; other alphabets in their xn-- form")
    }
}

/// As the file says, else systemd's `StateDirectory=` (systemd.exec(5)), else the usual place.
fn state_dir(raw: &raw::Acme, report: &Report<'_>) -> PathBuf {
    let source = report.source();
    if let Some(path) = &raw.state_dir {
        return source.path(&path.0);
    }
    let given = source.environment().value("STATE_DIRECTORY");
    let first = given.and_then(|all| all.split(':').find(|path| !path.is_empty()));
    Path::new(first.unwrap_or(STATE)).to_owned()
}
