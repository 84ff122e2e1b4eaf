//! Runs over more than one machine: workers that are found at a real NATS server.
//!
//! It needs the server that `.ci/run` installs into `target/tools/nats`; `NATS_SERVER` names another one. A missing one is a
//! failure.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails, as it should"
)]

#[path = "machines/engine.rs"]
mod nats;
#[allow(dead_code, reason = "these tests need only some of it")]
mod support;
#[path = "machines/trust.rs"]
mod trust;
#[path = "machines/workers.rs"]
mod workers;
