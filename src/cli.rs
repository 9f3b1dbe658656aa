//! The command line: what was said, what it means, and the exit code.
