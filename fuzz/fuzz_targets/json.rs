//! The JSON check, beside serde_json, which knows neither depth nor UTF-8 in what it skips.
#![no_main]

/// Arrays and objects that are open at most.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                most = most.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    most
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    let expected = is_json && std::str::from_utf8(bytes).is_ok() && depth(bytes) <= 128;
    assert_eq!(gatherd::upstream::is_document(bytes), expected);
});
