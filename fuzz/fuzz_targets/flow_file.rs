//! Flow files: whatever the bytes are, they are a flow that can be shown, or a mistake with its place.
#![no_main]

#[path = "../../tests/support/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::flow_file(bytes));
