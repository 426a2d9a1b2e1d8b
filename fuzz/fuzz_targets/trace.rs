//! Traces: whatever the bytes are, they are judged and exported, or refused with the line.
#![no_main]

#[path = "../../tests/support/parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::trace(bytes));
