//! Which certificate a client is shown.

use std::collections::HashMap;
use std::slice;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

/// The certificates of one configuration.
#[derive(Debug)]
pub(super) struct Certificates {
    /// For clients that name no host, or an unknown one.
    default: Arc<CertifiedKey>,
    /// By lower-case name or wildcard; several where pairs of different kinds have the same name.
    named: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// The pairs, of which `default` is for everybody.
    pub(super) fn new(default: &Pair, more: &[&Pair]) -> Self {
        let mut named: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        for pair in slice::from_ref(&default).iter().chain(more) {
            for name in &pair.leaf.names {
                let pairs = named.entry(name.clone()).or_default();
                pairs.push(pair.certified.clone());
            }
        }
        Self {
            default: default.certified.clone(),
            named,
        }
    }

    /// Those whose names cover `name`; the whole name goes before a wildcard.
    fn of(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let name = name.to_ascii_lowercase();
        let wildcard = || {
            let (_, rest) = name.split_once('.')?;
            self.named.get(&format!("*.{rest}"))
        };
        let pairs = self.named.get(&name).or_else(wildcard);
        pairs.map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let of_name = hello.server_name().and_then(|name| self.of(name));
        let pairs = of_name.unwrap_or(slice::from_ref(&self.default));
        let understood = |pair: &&Arc<CertifiedKey>| {
            let schemes = hello.signature_schemes();
            pair.key.choose_scheme(schemes).is_some()
        };
        pairs.iter().find(understood).or(pairs.first()).cloned()
    }
}
