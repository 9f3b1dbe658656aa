//! `[tls]` as it is written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::Text;

/// The certificates that clients see, and those that clients must show.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Tls {
    /// Required. File with the certificate chain in PEM, leaf first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) certificate: Option<Text<PathBuf>>,
    /// Required. File with the private key in PEM, not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) private_key: Option<Text<PathBuf>>,
    /// Make a self-signed pair if neither file exists; only when every listener is on loopback.
    pub(in crate::config) self_signed: bool,
    /// File with the certificates, in PEM, of the authorities that vouch for clients; every client
    /// must show a certificate then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) client_ca: Option<Text<PathBuf>>,
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
