//! The answers that prove to an authority that a name is ours (TLS-ALPN-01, RFC 8737).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::super::config::provider;

/// The protocol that asks for an answer, and for nothing else.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// The answers that are waited for; clones share them.
#[derive(Clone, Default)]
pub(in crate::server::tls) struct Challenges {
    answers: Arc<Mutex<HashMap<String, Arc<ServerConfig>>>>,
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Challenges {
    /// Whether no challenge is waited for.
    pub(in crate::server::tls) fn is_empty(&self) -> bool {
        self.answers.lock().is_empty()
    }

    /// The answer to a hello, if it asks for one.
    pub(in crate::server::tls) fn answer(
        &self,
        hello: &ClientHello<'_>,
    ) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        if protocols.next() != Some(PROTOCOL) || protocols.next().is_some() {
            return None;
        }
        let name = hello.server_name()?.to_ascii_lowercase();
        self.answers.lock().get(&name).cloned()
    }

    /// Answers for `domain` with the digest of the key authorization.
    pub(in crate::server::tls) fn insert(&self, domain: &str, digest: &[u8]) -> Result<(), Failed> {
        let answer = answer(domain, digest, &provider())?;
        self.answers
            .lock()
            .insert(domain.to_owned(), Arc::new(answer));
        Ok(())
    }

    /// The challenge is not waited for any more.
    pub(in crate::server::tls) fn clear(&self) {
        self.answers.lock().clear();
    }
}

fn answer(
    domain: &str,
    digest: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, Failed> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let private_key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let private_key = provider.key_provider.load_private_key(private_key.into())?;
    // Not `with_single_cert`, which reads the certificate and knows no such critical extension.
    let certified = CertifiedKey::new(vec![certificate.der().clone()], private_key);
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}
