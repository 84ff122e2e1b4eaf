//! Every integration test, in one binary: linking dominates the time to build one.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails, as it should"
)]

mod circles;
mod embedded;
mod engine;
mod faults;
mod plugins;
mod record;
mod repository;
mod runs;
mod sandbox;
mod screens;
mod support;
mod tidy;
