//! How far a call is, and whether its reply is still wanted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::addresses::Address;
use crate::metrics::{CallState, StagedCall};

/// How far a call is: shared by the call and by the gather that waits for it.
#[derive(Debug)]
pub(super) struct Progress {
    has_permit: AtomicBool,
    is_unwanted: AtomicBool,
    counted: StagedCall,
    address: OnceLock<Arc<Address>>,
}

impl Progress {
    /// A call that begins, with its permit or without.
    pub(super) fn new(has_permit: bool, counted: StagedCall) -> Self {
        Self {
            has_permit: AtomicBool::new(has_permit),
            is_unwanted: AtomicBool::new(false),
            counted,
            address: OnceLock::new(),
        }
    }

    /// The call has its permit now.
    pub(super) fn has_its_permit(&self) {
        self.has_permit.store(true, Ordering::Relaxed);
        self.counted.enter(CallState::Running);
    }

    /// The call goes to this address.
    pub(super) fn goes_to(&self, address: &Arc<Address>) {
        // A retry goes elsewhere, and the first is what is known.
        let _ = self.address.set(address.clone());
    }

    /// Where the call goes, once that is known.
    pub(super) fn address(&self) -> Option<&Arc<Address>> {
        self.address.get()
    }

    /// The reply is not wanted any more. Returns false if the call still waits for its permit: then there
    /// is nothing to read to its end.
    pub(super) fn linger(&self) -> bool {
        if !self.has_permit.load(Ordering::Relaxed) {
            return false;
        }
        self.is_unwanted.store(true, Ordering::Relaxed);
        self.counted.enter(CallState::Lingering);
        true
    }

    /// Whether the bytes of the reply are discarded.
    pub(super) fn is_unwanted(&self) -> bool {
        self.is_unwanted.load(Ordering::Relaxed)
    }
}
