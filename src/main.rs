//! The `gatherd` program; everything it does is in the library.

use std::process::ExitCode;

/// A gather is some two hundred small allocations, which the C library's allocator makes a fifth of
/// the work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gatherd::cli::run()
}
