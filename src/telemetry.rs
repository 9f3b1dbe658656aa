//! What is it doing: logs, and the admin listener for operators and their probes.
//!
//! It tells; it decides nothing. `app` sets the [`Readiness`] that [`admin`] shows.

pub mod admin;
mod exposition;
pub mod logs;
mod readiness;
pub mod status;

pub use readiness::{Readiness, State};
