//! Who the client is: the address that limits and logs go by, and the one key made of it.

mod key;
mod peer;
mod proxies;

pub use key::ClientKey;
pub use peer::{Cut, Peer, Refusals};
pub use proxies::{X_FORWARDED_FOR, identify};
