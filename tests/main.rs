//! Every integration test, in one binary: linking dominates the time to build one.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails, as it should"
)]

mod bad_input;
mod exec;
mod outcomes;
mod plugins;
mod scenarios;
mod schedule;
mod schemas;
mod stop;
mod support;
mod tidy;
