//! Black-box tests of the real binary, with real guests, real files and a real database.
//!
//! Each folder is a topic. `support` starts the program, reads the files that it leaves, and waits for conditions.
//! `RUNNER_TESTS=full` runs random tests at full length; `RUNNER_TEST_SEED` repeats one.

#![expect(clippy::unwrap_used, reason = "in tests a panic with the place is what is wanted")]

mod around;
mod authors;
mod docs;
mod faults;
mod input;
mod messages;
mod repository;
mod results;
mod resume;
mod runs;
mod sandbox;
mod schedule;
mod serve;
mod stops;
mod support;
mod upkeep;
