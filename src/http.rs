//! Everything that is HTTP about a request: its URL, its layers, its limits, its handler and the
//! words of its answer. The only place that picks status codes; knows no sockets and no TLS.

mod access_log;
mod answer;
mod branches;
mod cache;
mod challenges;
mod context;
mod cors;
mod edge;
mod handlers;
mod hedging;
mod host;
mod in_flight;
mod limiter;
mod notes;
mod openapi;
mod parameters;
mod problem;
mod redirect;
mod refusal_pace;
mod route;
mod server_timing;
mod shared_calls;
mod snapshot;
mod trace;

pub use self::context::{Answers, Door, Scheme};
pub use self::edge::edge;
pub use self::openapi::openapi;
pub use self::snapshot::{Current, Snapshot};
