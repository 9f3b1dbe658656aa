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
mod climbing;
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
mod kept;
mod lab;
mod limiter;
mod limits;
mod linger;
mod log_files;
mod logged;
mod metrics;
mod name_server;
mod names;
mod nginx;
mod page;
mod permits;
mod plain;
mod process;
mod programs;
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
mod timeouts;
mod traffic;
mod untaken;
