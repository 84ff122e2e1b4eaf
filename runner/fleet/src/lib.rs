//! Workers on other machines: the same frames as between a coordinator and a local worker, over NATS.
//!
//! Depends on `model`, `prepare`, `record` and `engine`. Read `wire.rs` first.

#![warn(missing_docs)]

mod address;
mod broker;
mod ceiling;
mod channel;
mod error;
mod joined;
mod key;
mod list;
mod presence;
mod relay;
mod remote_worker;
mod seal;
mod source;
mod store;
mod streams;
mod window;
#[allow(missing_docs, reason = "the crate is not complete")]
pub mod wire;
mod worker;

pub use self::address::BrokerOptions;
pub use self::ceiling::Ceiling;
pub use self::error::FleetError;
pub use self::key::RunsKey;
pub use self::list::{BrokerReport, check, workers};
pub use self::source::NatsSource;
pub use self::worker::{Stop, WorkerEvent, WorkerOptions, work};
