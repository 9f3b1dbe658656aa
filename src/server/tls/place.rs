//! Where certificates are configured and kept, and what is made of what is found there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::disk;
use super::leaf::{now, show};
use super::pair::{Flaw, Pair, Part};
use crate::config::{PairFiles, Problem};
use crate::trust::authorities;

/// The files of a pair, and the table of the configuration that names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `tls` or `tls.sni[0]`.
    pub(super) table: String,
    /// The two files, which may be one.
    pub(super) files: PairFiles,
}

/// The file of the authorities that vouch for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientPlace(pub(super) PathBuf);

/// Something that is kept in files, which are looked at again and again.
pub(super) trait Kept {
    /// What the files make.
    type Made;

    /// The files, each with the key that names it.
    fn files(&self) -> Vec<(String, &Path)>;

    /// What the files make that hold `contents`.
    fn make(
        &self,
        contents: &[Vec<u8>],
        provider: &CryptoProvider,
    ) -> Result<Self::Made, Vec<Flaw>>;

    /// Why what was made must not take the place of what is there.
    fn objection(&self, new: &Self::Made, old: &Self::Made) -> Option<Flaw>;

    /// What the files hold, and a number that changes with it.
    fn read(&self) -> (u64, Result<Vec<Vec<u8>>, Vec<Problem>>) {
        let contents: Vec<_> = self
            .files()
            .iter()
            .map(|(_, path)| disk::read(path))
            .collect();
        let fingerprint = disk::fingerprint(&contents);
        let (mut read, mut flaws) = (Vec::new(), Vec::new());
        for (file, content) in contents.into_iter().enumerate() {
            match content {
                Ok(content) => read.push(content),
                Err(reason) => flaws.push(Flaw { file, reason }),
            }
        }
        let contents = if flaws.is_empty() {
            Ok(read)
        } else {
            Err(self.problems(flaws))
        };
        (fingerprint, contents)
    }

    /// The flaws, each with its key and path.
    fn problems(&self, flaws: Vec<Flaw>) -> Vec<Problem> {
        let files = self.files();
        let named = |flaw: Flaw| {
            let (key, path) = files.get(flaw.file)?;
            let subject = format!("{key} {}", path.display());
            Some(Problem::unavailable(subject, flaw.reason))
        };
        flaws.into_iter().filter_map(named).collect()
    }
}

impl Kept for Place {
    type Made = Pair;

    fn files(&self) -> Vec<(String, &Path)> {
        let key = |name| format!("{}.{name}", self.table);
        let (certificate, private_key) = (&self.files.certificate, &self.files.private_key);
        vec![
            (key("certificate"), certificate),
            (key("private_key"), private_key),
        ]
    }

    fn make(&self, contents: &[Vec<u8>], provider: &CryptoProvider) -> Result<Pair, Vec<Flaw>> {
        let content = |part: Part| contents.get(part as usize).map_or(&[][..], Vec::as_slice);
        let pair = Pair::parse(
            &self.files.certificate,
            content(Part::Certificate),
            content(Part::PrivateKey),
            provider,
        )?;
        // The first pair is shown to clients that ask for no other.
        if self.table.starts_with("tls.sni") && pair.leaf.names.is_empty() {
            let reason = "is for no DNS name, so that no client can ask for it".to_owned();
            return Err(vec![Part::Certificate.flaw(reason)]);
        }
        Ok(pair)
    }

    fn objection(&self, new: &Pair, old: &Pair) -> Option<Flaw> {
        let older = new.leaf.is_older_than(&old.leaf, now());
        older.then(|| {
            let [new, old] = [new, old].map(|pair| show(pair.leaf.not_before));
            let reason = format!(
                "is older ({new}) than the certificate in use ({old}), which stays until a restart"
            );
            Part::Certificate.flaw(reason)
        })
    }
}

impl Kept for ClientPlace {
    type Made = Arc<dyn ClientCertVerifier>;

    fn files(&self) -> Vec<(String, &Path)> {
        vec![("tls.client_ca".to_owned(), &self.0)]
    }

    fn make(
        &self,
        contents: &[Vec<u8>],
        provider: &CryptoProvider,
    ) -> Result<Self::Made, Vec<Flaw>> {
        let content = contents.first().map_or(&[][..], Vec::as_slice);
        verifier(content, provider).map_err(|reason| vec![Flaw { file: 0, reason }])
    }

    fn objection(&self, _new: &Self::Made, _old: &Self::Made) -> Option<Flaw> {
        None
    }
}

fn verifier(text: &[u8], provider: &CryptoProvider) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = Arc::new(authorities(text)?);
    WebPkiClientVerifier::builder_with_provider(roots, Arc::new(provider.clone()))
        .build()
        .map_err(|error| error.to_string())
}
