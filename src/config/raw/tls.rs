//! `[tls]` as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::Text;

/// The certificates that clients see, and those that clients must show.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Tls {
    /// Required, unless there is `acme`. File with the certificate chain in PEM, leaf first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) certificate: Option<Text<PathBuf>>,
    /// Required, unless there is `acme`. File with the private key in PEM, not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) private_key: Option<Text<PathBuf>>,
    /// Make a self-signed pair if neither file exists; only when every listener is on loopback.
    pub(in crate::config) self_signed: bool,
    /// File with the certificates, in PEM, of the authorities that vouch for clients; every client
    /// must show a certificate then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) client_ca: Option<Text<PathBuf>>,
    /// Whether clients are told to come by HTTPS only, for a year (Strict-Transport-Security).
    pub(in crate::config) hsts: bool,
    /// A certificate from an authority that speaks ACME, instead of `certificate` and `private_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) acme: Option<Acme>,
    /// More certificates, each for the names that stand in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::config) sni: Vec<Pair>,
}

/// A certificate for clients that ask for a name that stands in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Pair {
    /// Required. File with the certificate chain in PEM, leaf first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) certificate: Option<Text<PathBuf>>,
    /// Required. File with the private key in PEM, not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) private_key: Option<Text<PathBuf>>,
}

/// A certificate from an authority that speaks ACME (RFC 8555), got and renewed by TLS-ALPN-01.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Acme {
    /// Required. DNS names of the certificate, at least one; no wildcards.
    pub(in crate::config) domains: Vec<String>,
    /// Where the authority may write to, such as "mailto:admin@example.com".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) contact: Option<String>,
    /// URL of the authority's directory, https. Its terms of service are agreed to.
    pub(in crate::config) directory: String,
    /// PEM file of authorities that vouch for the directory, besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) ca: Option<Text<PathBuf>>,
    /// Where account and certificate are kept; when not said, the first of `$STATE_DIRECTORY`, else
    /// /var/lib/gatherd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) state_dir: Option<Text<PathBuf>>,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            contact: None,
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            ca: None,
            state_dir: None,
        }
    }
}
