//! How much of a reply may come before its body.

/// Bytes of a reply's head, over either protocol.
pub(super) const MAX_HEAD: usize = 128 * 1024;
/// Interim replies (1xx) before a reply.
pub(super) const MAX_INTERIM: usize = 32;
