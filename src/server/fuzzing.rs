//! Doors for the fuzzers in `fuzz/`; built for nothing else.

use futures_util::FutureExt;

use super::proxy_protocol;

/// Reads a PROXY header. What follows it is left.
pub fn proxy_header(mut bytes: &[u8]) {
    let before = bytes.len();
    let read = proxy_protocol::read(&mut bytes).now_or_never();
    assert!(read.is_some(), "bytes that are there are not waited for");
    assert!(bytes.len() <= before);
}
