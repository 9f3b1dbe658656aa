//! A certificate chain and its key: read, understood, and found to belong together.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::leaf::Leaf;
use crate::trust::pem::{broken, chain, missing};

/// A chain and its key, ready to be shown.
#[derive(Debug)]
pub(super) struct Pair {
    /// What handshakes use.
    pub(super) certified: Arc<CertifiedKey>,
    /// What the first certificate of the chain says.
    pub(super) leaf: Leaf,
}

/// What keeps files from being of use.
#[derive(Debug)]
pub(super) struct Flaw {
    /// Which of the files is to be mended.
    pub(super) file: usize,
    /// What is the matter with it.
    pub(super) reason: String,
}

/// One half of a pair, by the position of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The chain.
    Certificate = 0,
    /// The key.
    PrivateKey = 1,
}

impl Pair {
    /// The pair that two PEM texts make, or everything that is wrong with them. `file` is where the
    /// first comes from.
    pub(super) fn parse(
        file: &Path,
        certificate: &[u8],
        private_key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<Flaw>> {
        let chain = chain(certificate).and_then(|chain| Ok((Leaf::of(&chain)?, chain)));
        let chain = chain.map_err(|reason| Part::Certificate.flaw(reason));
        let key =
            signing_key(private_key, provider).map_err(|reason| Part::PrivateKey.flaw(reason));
        let ((leaf, chain), key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
        };
        match chain.iter().position(|certificate| belong(certificate, &*key)) {
            Some(0) => Ok(Self {
                certified: Arc::new(CertifiedKey::new(chain, key)),
                leaf,
            }),
            Some(position) => Err(vec![Part::Certificate.flaw(format!(
                "begins with another certificate than the key's, which is number {}: the chain must \
                 begin with it",
                position + 1
            ))]),
            None => Err(vec![Part::PrivateKey.flaw(format!(
                "is not the key of the certificate in {}",
                file.display()
            ))]),
        }
    }
}

impl Part {
    /// What is the matter with this half.
    pub(super) fn flaw(self, reason: String) -> Flaw {
        let file = self as usize;
        Flaw { file, reason }
    }
}

/// The one private key of a PEM text.
fn signing_key(text: &[u8], provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, String> {
    let holds = |part: &str| text.windows(part.len()).any(|it| it == part.as_bytes());
    if holds("-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds("Proc-Type: 4,ENCRYPTED") {
        return Err("is encrypted; decrypt it with openssl pkey -in KEY -out NEW".to_owned());
    }
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|error| broken(&error))?;
        keys.extend(PrivateKeyDer::from_pem(kind, der));
    }
    let one = keys.pop().ok_or_else(|| missing(text, "private key"))?;
    if !keys.is_empty() {
        return Err(format!(
            "holds {} private keys; one is needed",
            keys.len() + 1
        ));
    }
    let loaded = provider.key_provider.load_private_key(one);
    loaded.map_err(|_| {
        "is no key that can be used: Ed25519, P-256, P-384, P-521 and RSA of 2048 to 8192 bits can"
            .to_owned()
    })
}

/// Whether the key's public half stands in the certificate. The points and numbers are compared, not
/// how the algorithm is written, which may differ.
fn belong(certificate: &CertificateDer<'_>, key: &dyn SigningKey) -> bool {
    let Some(own) = key.public_key() else {
        return true;
    };
    let (Ok((_, certificate)), Ok((_, own))) = (
        X509Certificate::from_der(certificate),
        SubjectPublicKeyInfo::from_der(own.as_ref()),
    ) else {
        return false;
    };
    certificate.public_key().subject_public_key.data == own.subject_public_key.data
}
