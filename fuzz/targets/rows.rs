//! Fuzzes [`runner::fuzzing::rows`].

#![no_main]

mod memory;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| runner::fuzzing::rows(bytes));
