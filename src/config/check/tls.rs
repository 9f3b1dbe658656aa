//! `[tls]`.

mod acme;

use std::path::PathBuf;

use super::sections::{check_readable, is_loopback};
use crate::config::key::Key;
use crate::config::raw;
use crate::config::report::Report;
use crate::config::scalar::Text;
use crate::config::settings::{
    CertificateSource, HttpMode, PairFiles, ServerSettings, TlsSettings,
};

/// `[tls]`; nothing when a file is not named, which is reported.
pub(super) fn tls(
    raw: &raw::Tls,
    server: &ServerSettings,
    report: &mut Report<'_>,
) -> Option<TlsSettings> {
    let key = Key::of("tls");
    let silent = raw.certificate.is_none() && raw.private_key.is_none() && raw.acme.is_none();
    if server.https.is_empty() && silent {
        return None;
    }
    check_self_signed(raw, server, report);
    check_client_ca(raw, server, report);
    let source = match &raw.acme {
        Some(acme) => {
            check_one_source(raw, report);
            acme::settings(acme, report).map(CertificateSource::Acme)
        }
        None => files(raw, report).map(CertificateSource::Files),
    };
    let client_ca = raw
        .client_ca
        .as_ref()
        .map(|path| report.source().path(&path.0));
    if let Some(path) = &client_ca {
        check_readable(path, &key.name("client_ca"), report);
    }
    let more: Vec<Option<PairFiles>> = raw
        .sni
        .iter()
        .enumerate()
        .map(|(index, said)| more(said, &key.name("sni").index(index), report))
        .collect();
    Some(TlsSettings {
        source: source?,
        self_signed: raw.self_signed,
        sni: more.into_iter().collect::<Option<_>>()?,
        client_ca,
        hsts: raw.hsts,
    })
}

fn check_self_signed(raw: &raw::Tls, server: &ServerSettings, report: &mut Report<'_>) {
    let public = server
        .https
        .iter()
        .find(|address| !is_loopback(address.ip()));
    if let (true, Some(public)) = (raw.self_signed, public) {
        let reason = format!(
            "a self-signed certificate is for loopback listeners only, and server.https has {public}"
        );
        let key = Key::of("tls").name("self_signed");
        report.said(&key, Some("true".to_owned()), reason);
    }
}

/// The pair of `[tls]`, whose files must be there unless they will be made.
fn files(raw: &raw::Tls, report: &mut Report<'_>) -> Option<PairFiles> {
    let key = Key::of("tls");
    let (certificate, private_key) = (raw.certificate.as_ref(), raw.private_key.as_ref());
    let files = pair(certificate, private_key, &key, report)?;
    let neither = !files.certificate.exists() && !files.private_key.exists();
    if !(raw.self_signed && neither) {
        check_pair(&files, &key, report);
    }
    Some(files)
}

/// The certificate for everybody comes from one place.
fn check_one_source(raw: &raw::Tls, report: &mut Report<'_>) {
    let key = Key::of("tls");
    let others = [
        ("certificate", raw.certificate.is_some()),
        ("private_key", raw.private_key.is_some()),
        ("self_signed", raw.self_signed),
    ];
    for (name, _) in others.iter().filter(|(_, said)| *said) {
        let reason = "leave out this, or tls.acme, which gets the certificate";
        report.said(&key.name(name), None, reason);
    }
}

/// Plain HTTP would be a door beside the one that is locked.
fn check_client_ca(raw: &raw::Tls, server: &ServerSettings, report: &mut Report<'_>) {
    let serves = !server.http.is_empty() && server.http_mode == HttpMode::Serve;
    if serves && raw.client_ca.is_some() {
        let key = Key::of("server").name("http_mode");
        let reason = "\"redirect\", since tls.client_ca wants a certificate of every client";
        report.said(&key, Some("\"serve\"".to_owned()), reason);
    }
}

fn more(said: &raw::Pair, key: &Key, report: &mut Report<'_>) -> Option<PairFiles> {
    let (certificate, private_key) = (said.certificate.as_ref(), said.private_key.as_ref());
    let files = pair(certificate, private_key, key, report)?;
    check_pair(&files, key, report);
    Some(files)
}

fn pair(
    certificate: Option<&Text<PathBuf>>,
    private_key: Option<&Text<PathBuf>>,
    key: &Key,
    report: &mut Report<'_>,
) -> Option<PairFiles> {
    let certificate = pem(certificate, &key.name("certificate"), "chain", report);
    let private_key = pem(private_key, &key.name("private_key"), "key", report);
    Some(PairFiles {
        certificate: certificate?,
        private_key: private_key?,
    })
}

fn check_pair(files: &PairFiles, key: &Key, report: &mut Report<'_>) {
    check_readable(&files.certificate, &key.name("certificate"), report);
    check_readable(&files.private_key, &key.name("private_key"), report);
}

fn pem(
    said: Option<&Text<PathBuf>>,
    key: &Key,
    what: &str,
    report: &mut Report<'_>,
) -> Option<PathBuf> {
    match said {
        Some(path) => Some(report.source().path(&path.0)),
        None => {
            report.missing(key, format_args!("the path of a PEM file with the {what}"));
            None
        }
    }
}
