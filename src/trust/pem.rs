//! PEM text, and what is wrong with it, in the words of an operator.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject, SectionKind};

/// Byte order marks of UTF-8 and UTF-16, which editors put before a text.
const MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// The certificates of a PEM text; at least one.
pub(crate) fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| broken(&error))?;
    if chain.is_empty() {
        return Err(missing(text, "certificate"));
    }
    Ok(chain)
}

/// What is wrong with a PEM text, in words.
pub(crate) fn broken(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => format!(
            "is not valid PEM: it breaks off before \"-----END {}-----\"",
            String::from_utf8_lossy(end_marker)
        ),
        pem::Error::Base64Decode(_) => {
            "is not valid PEM: it holds something that is no base64".to_owned()
        }
        other => format!("is not valid PEM: {other}"),
    }
}

/// Why there is nothing of the wanted kind in a text.
pub(crate) fn missing(text: &[u8], wanted: &str) -> String {
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text).filter_map(Result::ok);
    if text.iter().all(u8::is_ascii_whitespace) {
        "is empty".to_owned()
    } else if let Some((kind, _)) = sections.next() {
        let other = match kind {
            SectionKind::Certificate => "a certificate",
            SectionKind::Csr => "a certificate request",
            SectionKind::PublicKey => "a public key",
            SectionKind::Crl => "a revocation list",
            _ => "a private key",
        };
        format!("holds no {wanted}, but {other}")
    } else if text.first() == Some(&0x30) {
        format!(
            "holds no {wanted} in PEM form; it looks like DER or PKCS #12, which openssl converts"
        )
    } else if MARKS.iter().any(|mark| text.starts_with(mark)) {
        format!(
            "holds no {wanted} in PEM form; it begins with a byte order mark: save it as plain text"
        )
    } else {
        format!("holds no {wanted} in PEM form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_text_is_said_in_words() {
        let said = |text: &[u8]| chain(text).unwrap_err();
        let cut = said(b"-----BEGIN CERTIFICATE-----\nAAAA\n");
        assert!(
            cut.ends_with(r#"breaks off before "-----END CERTIFICATE-----""#),
            "{cut}"
        );
        assert!(said(b"\xef\xbb\xbf-----BEGIN").contains("byte order mark"));
        assert!(
            said(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
                .ends_with("but a private key")
        );
    }
}
