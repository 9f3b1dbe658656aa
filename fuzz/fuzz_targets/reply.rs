//! Replies of HTTP/1 upstreams, cut anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    gatherd::upstream::fuzzing::reply(usize::from(cut), bytes);
});
