//! TLS towards others: who vouches for them, and which handshake is preferred.

pub(crate) mod pem;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{CertificateAuthorities, Problem};

/// The TLS settings of an upstream, or of Redis, with no protocols offered yet. `key` is the table that
/// says which authorities to trust.
pub(crate) fn client_config(
    key: &str,
    authorities: &CertificateAuthorities,
) -> Result<ClientConfig, Problem> {
    trusting(roots(key, authorities)?)
}

/// A number that changes with who is trusted: files, and what the system has, are looked at anew. Nothing
/// where they cannot be read.
pub(crate) fn fingerprint(authorities: &CertificateAuthorities) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for anchor in roots("", authorities).ok()?.roots {
        anchor.subject.as_ref().hash(&mut hasher);
        anchor.subject_public_key_info.as_ref().hash(&mut hasher);
    }
    Some(hasher.finish())
}

fn roots(key: &str, authorities: &CertificateAuthorities) -> Result<RootCertStore, Problem> {
    match authorities {
        CertificateAuthorities::System => Ok(system_roots()),
        CertificateAuthorities::Bundled => Ok(bundled_roots()),
        CertificateAuthorities::File(path) => roots_of(path, &format!("{key}.ca")),
    }
}

/// The TLS settings towards a server that the system's authorities vouch for, or those in a file that
/// the key `key` names.
pub(crate) fn client_config_with(key: &str, more: Option<&Path>) -> Result<ClientConfig, Problem> {
    let mut roots = system_roots();
    if let Some(path) = more {
        roots.extend(roots_of(path, key)?.roots);
    }
    trusting(roots)
}

/// The TLS settings of a client that speaks no TLS: no authority is trusted, and no file is read.
pub(crate) fn no_authority() -> Result<ClientConfig, Problem> {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, Problem> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::unavailable("TLS", error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Plain X25519 before its post-quantum hybrid: the hybrid costs a larger hello and more work on each
/// of the many connections to a service that the operator chose.
fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    CryptoProvider {
        kx_groups: vec![X25519, SECP256R1, SECP384R1, X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    }
}

/// The system's authorities, or the bundled ones where it has none (a container from scratch).
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        bundled_roots()
    } else {
        roots
    }
}

fn bundled_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

fn roots_of(path: &Path, key: &str) -> Result<RootCertStore, Problem> {
    let read = std::fs::read(path).map_err(|error| format!("cannot read the file: {error}"));
    read.and_then(|text| authorities(&text))
        .map_err(|reason| Problem::unavailable(format!("{key} {}", path.display()), reason))
}

/// The authorities of a PEM text; at least one.
pub(crate) fn authorities(text: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (position, certificate) in pem::chain(text)?.into_iter().enumerate() {
        let number = position + 1;
        roots
            .add(certificate)
            .map_err(|_| format!("certificate {number} of the file is not X.509 of version 3"))?;
    }
    Ok(roots)
}
