//! What a certificate says: its names, and from when until when it is valid.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::metrics::CERTIFICATE_ENDS_SOON;

/// The last second that a certificate can name (RFC 5280 section 4.1.2.5).
const END_OF_TIME: i64 = 253_402_300_799;
/// How near its end a certificate is complained about, in seconds.
const ENDS_SOON: i64 = CERTIFICATE_ENDS_SOON.as_secs().cast_signed();

/// The certificate that a chain begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// DNS names, lower case, wildcards too.
    pub(super) names: Vec<String>,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    /// Seconds since 1970.
    pub(super) not_after: i64,
    /// What clients may mind in the rest of the chain.
    pub(super) rest: Rest,
}

/// The chain after its first certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// The first, from 1, that did not sign the one before it.
    stranger: Option<usize>,
    /// The first to expire, from 1, and when.
    earliest: Option<(i64, usize)>,
}

impl Leaf {
    /// Of the chain's first certificate; all of them must be certificates.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Result<Self, String> {
        let mut read = Vec::new();
        for (position, der) in chain.iter().enumerate() {
            let number = position + 1;
            let (_, certificate) = X509Certificate::from_der(der)
                .map_err(|_| format!("certificate {number} of the file is not valid X.509"))?;
            read.push(certificate);
        }
        let (leaf, _) = read.split_first().ok_or("holds no certificate")?;
        let validity = leaf.validity();
        Ok(Self {
            names: names(leaf),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            rest: Rest::of(&read),
        })
    }

    /// Whether it is good now.
    pub(super) fn is_valid(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Whether it must not take the place of `other`: it was made before, and `other` still is good, or
    /// it is not.
    pub(super) fn is_older_than(&self, other: &Self, now: i64) -> bool {
        let would_help = self.is_valid(now) && !other.is_valid(now);
        self.not_before < other.not_before && !would_help
    }

    /// What clients will mind, or will mind soon.
    pub(super) fn complaint(&self, now: i64) -> Option<String> {
        let (from, until) = (show(self.not_before), show(self.not_after));
        // Certificates that live for days are renewed by hours.
        let near = ENDS_SOON.min((self.not_after - self.not_before) / 10);
        if now < self.not_before {
            Some(format!(
                "is not valid before {from}, and this machine's clock says {}: clients will refuse it",
                show(now)
            ))
        } else if now > self.not_after {
            Some(format!("has expired at {until}: clients will refuse it"))
        } else if self.not_after - now < near {
            Some(format!("expires at {until}"))
        } else {
            self.rest.complaint(now)
        }
    }
}

impl Rest {
    fn of(chain: &[X509Certificate<'_>]) -> Self {
        let links = chain.iter().zip(chain.iter().skip(1)).zip(2..);
        let mut strangers = links.filter(|((one, next), _)| one.issuer() != next.subject());
        let rest = chain.iter().zip(1..).skip(1);
        Self {
            stranger: strangers.next().map(|(_, number)| number),
            earliest: rest
                .map(|(one, number)| (one.validity().not_after.timestamp(), number))
                .min(),
        }
    }

    fn complaint(&self, now: i64) -> Option<String> {
        if let Some(number) = self.stranger {
            return Some(format!(
                "certificate {number} of the file did not sign the one before it: some clients will refuse the chain"
            ));
        }
        let (until, number) = self.earliest.filter(|(until, _)| *until < now)?;
        Some(format!(
            "certificate {number} of the file has expired at {}: clients may refuse the chain",
            show(until)
        ))
    }
}

/// Seconds since 1970, by this machine's clock.
pub(super) fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| {
        i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
    })
}

/// A time as people read it.
pub(super) fn show(seconds: i64) -> String {
    let seconds = u64::try_from(seconds.clamp(0, END_OF_TIME)).unwrap_or(0);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// The subject's alternative names; where there are none, its common name, as clients once did.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let Some(alternative) = alternative else {
        let common = certificate.subject().iter_common_name();
        let names = common.filter_map(|name| name.as_str().ok());
        return names.filter(|name| name.contains('.')).map(plain).collect();
    };
    let names = alternative.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(plain(name)),
            _ => None,
        })
        .collect()
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
