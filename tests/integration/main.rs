//! gatherd as its users meet it: over real sockets, with real programs beside it.
//!
//! One binary, so that it is linked once. Order, status and bytes are asserted, not milliseconds.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

mod access;
mod acme;
mod activation;
mod addresses;
mod answers;
mod branches;
mod breakers;
mod browser;
mod caches;
mod certificates;
mod commands;
mod connecting;
mod cors;
mod deadlines;
mod deploy;
mod drain;
mod edge;
mod edge_client;
mod faults;
mod floods;
mod gathering;
mod harness;
mod hedges;
mod http2;
mod incidents;
mod keep_alive;
mod limiter;
mod limits;
mod linger;
mod log_files;
mod log_lines;
mod metrics;
mod name_server;
mod names;
mod nginx;
mod page;
mod permits;
mod plain_http;
mod process;
mod programs;
mod raw_upstreams;
mod readme;
mod redis;
mod reload;
mod replies;
mod retry;
mod rooms;
mod schemas;
mod shared_faults;
mod shared_limits;
mod slow_readers;
mod streams;
mod syntax;
mod syntax_http2;
mod targets;
mod timeouts;
mod traffic;
mod untaken_answers;
