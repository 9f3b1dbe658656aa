//! PROXY headers of versions 1 and 2.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gatherd::server::fuzzing::proxy_header(bytes));
