//! Calls to upstream services: one call is a request, a permit to make it, a connection, and a reply
//! that has been checked.
//!
//! What a reply is worth to a gather, and what a client is told, is decided elsewhere.

mod addresses;
mod body;
mod breaker;
mod buffers;
mod call;
mod complaints;
mod connections;
mod dial;
mod exchange;
mod failure;
#[cfg(fuzzing)]
pub mod fuzzing;
mod head_limits;
mod http1;
mod http2;
mod json;
mod latencies;
mod permits;
mod progress;
mod request;
mod service;
mod stream;

pub use self::buffers::{Buffers, Reservation, Share, for_every_client};
pub use self::call::{Call, HeldBack, Reply};
pub use self::failure::{Failure, Kind};
pub use self::json::is_document;
pub use self::latencies::Latencies;
pub use self::permits::Permit;
pub use self::request::{Request, Stages};
pub use self::service::{SharedByUpstreams, Upstream};
