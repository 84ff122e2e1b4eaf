//! Black-box tests of the real binary, with real guests, real files and a real database.
//!
//! Each folder is a topic; `support` starts the program, looks at what it leaves on disk, and waits. `RUNNER_TESTS=full`
//! makes the random tests as long as they are meant to be, and `RUNNER_TEST_SEED` repeats one.

#![expect(clippy::unwrap_used, reason = "in tests a panic with the place is what is wanted")]

mod around;
mod authors;
mod control;
mod faults;
mod input;
mod repository;
mod resume;
mod runs;
mod sandbox;
mod schedule;
mod stops;
mod support;
mod upkeep;

/// The binary's own unit tests of its layout; the binary has no harness of its own, which would link all of it once more.
#[path = "../cli/src/text/layout.rs"]
mod layout;
