//! The `gatherd` program; everything it does is in the library.

use std::process::ExitCode;

/// A gather is some two hundred small allocations. The C library's allocator makes them 12 % dearer, and
/// answers 60 % of the gathers with 5,000 in flight; jemalloc makes them 5 % dearer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Half of each buffer of 8 KB is never touched, but in a huge page all of it is there: a quarter of
    // the memory of an idle connection. Where this is refused, that is all.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    gatherd::cli::run()
}
