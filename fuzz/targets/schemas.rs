//! Fuzzes `runner_worker::fuzzing::schemas`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| runner_worker::fuzzing::schemas(bytes));
