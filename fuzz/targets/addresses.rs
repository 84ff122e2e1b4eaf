//! Fuzzes `runner_sandbox::fuzzing::addresses`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| runner_sandbox::fuzzing::addresses(bytes));
