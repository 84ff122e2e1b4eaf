//! Runs over more than one machine: workers that are found at a real NATS server.
//!
//! It needs the server that `.ci/run` installs into `target/tools/nats`; `NATS_SERVER` names another one. A missing one is a
//! failure.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails, as it should"
)]

#[path = "machines/access.rs"]
mod access;
#[path = "machines/alone.rs"]
mod alone;
#[path = "machines/cleaning.rs"]
mod cleaning;
#[path = "machines/cuts.rs"]
mod cuts;
#[path = "machines/forgetful.rs"]
mod forgetful;
#[path = "machines/full.rs"]
mod full;
#[path = "machines/master.rs"]
mod master;
#[path = "machines/names.rs"]
mod names;
#[path = "machines/engine.rs"]
mod nats;
#[path = "machines/peer.rs"]
mod peer;
#[path = "machines/poison.rs"]
mod poison;
#[path = "machines/proxy.rs"]
mod proxy;
#[path = "machines/segments.rs"]
mod segments;
#[path = "machines/slow.rs"]
mod slow;
#[path = "machines/slurm.rs"]
mod slurm;
#[path = "machines/strangers.rs"]
mod strangers;
#[allow(dead_code, reason = "these tests need only some of it")]
mod support;
#[path = "machines/trust.rs"]
mod trust;
#[path = "machines/workers.rs"]
mod workers;
