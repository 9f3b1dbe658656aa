//! Values of a request in a template.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (&str, &str, &str)| {
    let (template, value, query) = input;
    gatherd::config::fuzzing::target(template, value, query);
});
