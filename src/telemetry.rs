//! What is it doing: logs, and the admin listener for operators and their probes.
//!
//! It tells; it decides nothing. [`admin`] shows the [`crate::readiness::Readiness`] that `app` sets.

pub mod admin;
mod exposition;
pub mod logs;
mod loop_lag;
mod resources;
pub mod status;

pub use loop_lag::watch_loop_lag;
