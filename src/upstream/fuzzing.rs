//! Doors for the fuzzers in `fuzz/`; built for nothing else.

use super::http1::outcome::outcome;

/// Reads a reply whole, cut once and byte by byte; all must be worth the same.
pub fn reply(cut: usize, bytes: &[u8]) {
    let whole = outcome([bytes]);
    let (one, two) = bytes.split_at(cut.min(bytes.len()));
    assert_eq!(outcome([one, two]), whole);
    assert_eq!(outcome(bytes.chunks(1)), whole);
}
