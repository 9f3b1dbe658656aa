//! Gathering: when a gather is over and what it is worth ([`Policy`]).
//!
//! Nothing here knows HTTP, a socket or a log.

mod policy;

pub use policy::{Completion, Launch, Policy};
