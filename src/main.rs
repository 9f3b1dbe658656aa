//! The `gatherd` program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatherd::cli::run()
}
