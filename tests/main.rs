//! Every integration test, in one binary: linking dominates the time to build one.
//!
//! Most call the real program, by `support/runner.rs`; those in `engine` call plugins in this process, by
//! `support/engine.rs`. What is compared as text is a snapshot: `cargo insta test --accept` writes those anew that stand
//! in the tests, `UPDATE=1` the files that are generated.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails, as it should"
)]

mod circles;
mod compare;
mod embedded;
mod engine;
mod faults;
mod goldens;
mod history;
mod plugins;
mod record;
mod reports;
mod repository;
mod runs;
mod sandbox;
mod screens;
mod serve;
mod support;
mod tidy;
