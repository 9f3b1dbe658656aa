//! gatherd as its users meet it: over real sockets, with real programs beside it.
//!
//! One binary, so that it is linked once. Order, status and bytes are asserted, not milliseconds.

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
mod retry;
mod rooms;
