//! The self-signed pair of the demonstration.

use std::error::Error;

use super::disk::write_new;
use super::place::Place;
use crate::config::Problem;

/// Names that the demonstration is reached by.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

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
