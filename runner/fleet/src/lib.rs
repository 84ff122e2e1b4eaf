//! Workers on other machines: the same frames as between a coordinator and a local worker, over NATS.
//!
//! Depends on `model`, `prepare`, `record` and `engine`. Read `wire.rs` first.

#![warn(missing_docs)]

mod engine;
#[allow(missing_docs, reason = "the crate is not complete")]
pub mod wire;

pub use self::engine::{EngineOptions, FleetError};
