//! gatherd as its users meet it: over real sockets, with real programs beside it.
//!
//! One binary, so that it is linked once. Order, status and bytes are asserted, not milliseconds.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

mod branches;
mod climbing;
mod connecting;
mod faults;
mod gathering;
mod harness;
mod http2;
mod kept;
mod lab;
mod linger;
mod permits;
mod readme;
mod retry;
mod rooms;
