//! Self-signed pairs: the demonstration's, and one that stands in for an authority's.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::CryptoProvider;

use super::disk::write_new;
use super::pair::Pair;
use super::place::Place;
use crate::config::Problem;

/// Names that the demonstration is reached by.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long a pair may stand in for another.
const STAND_IN: Duration = Duration::from_secs(10 * 24 * 3600);

/// Makes a P-256 pair when neither file is there. One that is there is never touched.
pub(super) fn make_if_missing(place: &Place) -> Result<(), Problem> {
    if is_there(place) {
        return Ok(());
    }
    make(place).map_err(|error| {
        let path = place.files.certificate.display();
        let reason = format!("cannot make a self-signed pair: {error}");
        Problem::unavailable(format!("{}.certificate {path}", place.table), reason)
    })
}

/// Whether either file is there, so that nothing may be made.
pub(super) fn is_there(place: &Place) -> bool {
    place.files.certificate.exists() || place.files.private_key.exists()
}

fn make(place: &Place) -> Result<(), Box<dyn Error>> {
    let pair = rcgen::generate_simple_self_signed(LOCAL_NAMES.map(str::to_owned))?;
    let key = pair.signing_key.serialize_pem();
    write_new(&place.files.private_key, &key, 0o600)?;
    write_new(&place.files.certificate, &pair.cert.pem(), 0o644)?;
    Ok(())
}

/// A pair for these names that is older than any other, and is complained of when it is still there after
/// some days.
pub(super) fn stand_in(
    names: &[String],
    provider: &CryptoProvider,
) -> Result<Pair, Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.not_after = (SystemTime::now() + STAND_IN).into();
    let certificate = params.self_signed(&key)?.pem();
    let pair = Pair::parse(
        Path::new("memory"),
        certificate.as_bytes(),
        key.serialize_pem().as_bytes(),
        provider,
    );
    pair.map_err(|flaws| {
        flaws
            .into_iter()
            .map(|flaw| flaw.reason)
            .collect::<String>()
            .into()
    })
}
