//! gatherd answers HTTPS clients by *gathering*: it calls upstream HTTP services several times in
//! parallel and makes one answer of the replies, before a deadline.
//!
//! # One request's journey
//!
//! 1. [`server`] accepts the connection, terminates TLS and hands each request to a tower service.
//! 2. [`http`] notes when the request arrived, loads the one immutable [`http::Snapshot`] that the
//!    request will use to its end, finds its route and its client ([`client`]) and asks the limiter:
//!    `http/edge.rs` has the whole way on one screen.
//! 3. The handler of the route parses the parameters, makes one call per branch ([`upstream`]) and
//!    gives them to the driver in [`gather`], which starts them as the policy says and decides, at
//!    every outcome and at the deadline, whether the gather is over and what it is worth.
//! 4. [`http`] writes the answer, or the problem; calls that still run are read to their end in the
//!    background, so that their connections survive.
//!
//! # The rooms, in reading order
//!
//! | room | holds | may import |
//! |---|---|---|
//! | [`app`] | the composition root: binds, builds the snapshot, runs until told to stop | server, http, telemetry, mock, upstream, names, readiness, config, metrics |
//! | [`http`] | URLs, layers, limiter, handlers, wire types, status codes | client, upstream, gather, names, trust, readiness, config, metrics |
//! | [`gather`] | policy, tally, driver: no I/O of its own, nothing of HTTP | |
//! | [`upstream`] | connections of each upstream, permits, one call | frames, names, trust, config, metrics |
//! | [`client`] | who the client is | config |
//! | [`config`] | `config.toml`, from text to settings that cannot be invalid | gather |
//! | [`server`] | listeners, TLS, drain; generic over a tower service | client, files, frames, names, trust, config, metrics |
//! | [`readiness`] | where the process is in its life, and by when a drain must be over | |
//! | [`frames`] | the frames of HTTP/2, told apart | |
//! | [`files`] | writes private files whole | |
//! | [`throttle`] | at most once in a period | |
//! | [`names`] | names to addresses, without the C library | |
//! | [`trust`]  who is trusted over TLS | | config |
//! | [`telemetry`] | logs, the admin listener, metrics as text | files, throttle, readiness, config, metrics |
//! | [`metrics`] | what the process counts: handles and their names | |
//! | [`mock`] | the stand-in upstream | config |
//! | [`cli`] | the command line, called by `main` | mock, config, gather, http, app, telemetry, trust |
//!
//! A type lives in the lowest room that needs it. `tests/integration/rooms.rs` keeps this table true.

pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod files;
pub mod frames;
pub mod gather;
pub mod http;
pub mod metrics;
pub mod mock;
pub mod names;
pub mod readiness;
pub mod server;
pub mod telemetry;
pub mod throttle;
pub mod trust;
pub mod upstream;
