//! The composition root: binds, builds the snapshot, runs until told to stop.
