//! Fuzzes [`runner::fuzzing::grants`].

#![no_main]

mod memory;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| runner::fuzzing::grants(bytes));
