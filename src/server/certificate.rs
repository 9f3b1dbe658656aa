//! Certificates from disk, and the self-signed one of the demonstration.

use std::fmt::Display;
use std::fs::{File, OpenOptions, create_dir_all};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::config::{Problem, TlsSettings};

/// Names that the demonstration is reached by.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const CERTIFICATE: &str = "tls.certificate";
const PRIVATE_KEY: &str = "tls.private_key";

/// The chain and its key, which belong together.
pub(super) fn load(
    settings: &TlsSettings,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Problem> {
    let (key, path) = (CERTIFICATE, &settings.certificate);
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(key, path, &explained(error, "certificate")))?;
    if chain.is_empty() {
        return Err(unusable(key, path, &"holds no certificate in PEM form"));
    }
    let (key, path) = (PRIVATE_KEY, &settings.private_key);
    let private_key = PrivateKeyDer::from_pem_file(path)
        .map_err(|error| unusable(key, path, &explained(error, "unencrypted private key")))?;
    CertifiedKey::from_der(chain, private_key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => unusable(
            key,
            path,
            &format!("is not the key of {}", settings.certificate.display()),
        ),
        error => unusable(key, path, &error),
    })
}

/// Makes a P-256 pair when neither file is there. One that is there is never touched.
pub(super) fn make_if_missing(settings: &TlsSettings) -> Result<(), Problem> {
    if settings.certificate.exists() || settings.private_key.exists() {
        return Ok(());
    }
    let names = LOCAL_NAMES.map(str::to_owned);
    let pair = rcgen::generate_simple_self_signed(names)
        .map_err(|error| unusable(CERTIFICATE, &settings.certificate, &error))?;
    write_new(
        &settings.private_key,
        &pair.signing_key.serialize_pem(),
        0o600,
    )
    .map_err(|error| unusable(PRIVATE_KEY, &settings.private_key, &error))?;
    write_new(&settings.certificate, &pair.cert.pem(), 0o644)
        .map_err(|error| unusable(CERTIFICATE, &settings.certificate, &error))
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        create_dir_all(directory)?;
    }
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn explained(error: pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("holds no {wanted} in PEM form"),
        pem::Error::Io(error) => error.to_string(),
        error => format!("is not valid PEM: {error}"),
    }
}

fn unusable(key: &str, path: &Path, reason: &dyn Display) -> Problem {
    Problem::unavailable(format!("{key} {}", path.display()), reason)
}
