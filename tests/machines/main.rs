//! Coordinators and workers that are connected by a real NATS server, as on several machines.
//!
//! Needs `nats-server`, which `.ci/run` installs into `target/tools`. `NATS_SERVER` names another one. A missing one is a failure.
//! `RUNNER_TESTS=full` runs the long tests.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that unwraps fails, as it should")]

mod access;
mod attacker;
mod attacks;
mod commands;
mod faults;
mod forgeries;
mod hosts;
mod network;
mod page;
mod permissions;
mod runs;
#[allow(dead_code, reason = "these tests need only some of it")]
#[path = "../support/mod.rs"]
mod support;
