//! Fuzzes `runner_record::fuzzing::manifests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| runner_record::fuzzing::manifests(bytes));
