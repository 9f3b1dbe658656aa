//! What the TLS library is told.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions,
};
use rustls::{Error, ServerConfig, SupportedCipherSuite};

/// Sessions remembered here for clients without tickets.
const SESSIONS: usize = 1024;

/// What clients may come back with instead of a whole handshake. It outlives configurations, but not a
/// change of who vouches for clients: a resumed session is not verified again.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    /// Its keys rotate every six hours, and the former ones are taken for six more.
    tickets: Arc<dyn ProducesTickets>,
    storage: Arc<dyn StoresServerSessions>,
}

impl Sessions {
    /// No sessions yet.
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self {
            tickets: aws_lc_rs::Ticketer::new()?,
            storage: ServerSessionMemoryCache::new(SESSIONS),
        })
    }
}

/// TLS 1.2 and 1.3 for HTTP/1.1 and HTTP/2.
pub(super) fn server_config(
    provider: &Arc<CryptoProvider>,
    certificates: Arc<dyn ResolvesServerCert>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    sessions: &Sessions,
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients.unwrap_or_else(|| Arc::new(NoClientAuth)))
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Our order of suites holds: most clients name SHA-384 first, which costs a handshake a fifth more.
    config.ignore_client_order = true;
    config.ticketer = sessions.tickets.clone();
    config.session_storage = sessions.storage.clone();
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// The library's suites, the two AES-GCM ones with SHA-256 first.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let is_first_choice = |suite: &SupportedCipherSuite| {
        let name = format!("{:?}", suite.suite());
        !name.contains("AES_128_GCM_SHA256")
    };
    provider.cipher_suites.sort_by_key(is_first_choice);
    Arc::new(provider)
}
