//! `[tls]`.

use std::path::PathBuf;

use url::Url;

/// `[tls]`: the certificates that clients see, and those that clients must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Where the certificate for everybody comes from.
    pub source: CertificateSource,
    /// Make that pair if neither file exists.
    pub self_signed: bool,
    /// More pairs, each for the names in its certificate.
    pub sni: Vec<PairFiles>,
    /// PEM file of the authorities that vouch for clients; none when clients need no certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether responses over HTTPS say that there is no other way.
    pub hsts: bool,
}

/// Where the certificate comes from that is shown to clients that ask for no name, or for one that no
/// other certificate has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// Files that others keep.
    Files(PairFiles),
    /// An authority, which is asked for it.
    Acme(AcmeSettings),
}

/// `[tls.acme]`: an authority that speaks ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// DNS names, lower case; at least one, no wildcards.
    pub domains: Vec<String>,
    /// Where the authority may write to, as a URL.
    pub contact: Option<String>,
    /// Its directory; https.
    pub directory: Url,
    /// PEM file of authorities that vouch for the directory, besides the system's.
    pub ca: Option<PathBuf>,
    /// Where account and certificate are kept.
    pub state_dir: PathBuf,
}

/// A chain and its key on disk; absolute paths, or relative to the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub private_key: PathBuf,
}
