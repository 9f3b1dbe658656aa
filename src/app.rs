//! The composition root: binds, builds the snapshot, runs until told to stop.

use crate::config::{Problem, Problems, Settings};

/// Runs until told to stop.
///
/// # Errors
/// What the machine does not have.
pub fn serve(settings: &Settings) -> Result<(), Problems> {
    let _ = settings;
    Err(Problem::unavailable("gatherd", "serve is not built yet").into())
}
