//! TLS towards clients.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ServerConfig, SupportedCipherSuite};

use super::certificate;
use crate::config::{Problem, TlsSettings};

/// TLS 1.2 and 1.3 with the configured certificate, which is made first if the settings say so.
///
/// # Errors
/// When the certificate or its key is missing, cannot be read, or does not belong to the other.
pub fn server_config(settings: &TlsSettings) -> Result<Arc<ServerConfig>, Problem> {
    if settings.self_signed {
        certificate::make_if_missing(settings)?;
    }
    let provider = Arc::new(provider());
    let certified = certificate::load(settings, &provider)?;
    let unusable = |error: rustls::Error| Problem::unavailable("tls", error);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Our order of suites holds: most clients name SHA-384 first, which costs a handshake a fifth more.
    config.ignore_client_order = true;
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// The library's suites, the two AES-GCM ones with SHA-256 first.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let is_first_choice = |suite: &SupportedCipherSuite| {
        let name = format!("{:?}", suite.suite());
        !name.contains("AES_128_GCM_SHA256")
    };
    provider.cipher_suites.sort_by_key(is_first_choice);
    provider
}
