//! Everything that is HTTP about a request: its URL, its layers, its limits, its handler and the
//! words of its answer. The only place that picks status codes; knows no sockets and no TLS.

mod access_log;
mod answer;
mod branches;
mod cache;
mod challenges;
mod context;
mod cors;
mod handlers;
mod hedging;
mod host;
mod in_flight;
mod layers;
mod limiter;
mod openapi;
mod parameters;
mod problem;
mod redirect;
mod refusal_pace;
mod route;
mod routes;
mod server_timing;
mod snapshot;
mod trace;

pub use self::context::{Answers, Door, Scheme};
pub use self::layers::edge;
pub use self::openapi::openapi;
pub use self::snapshot::{Current, Snapshot};
