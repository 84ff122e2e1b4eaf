//! Calls one plugin: takes plugin, limits and input, returns a reply. The only crate with wasmtime
//! and an HTTP client; it can be audited alone.
//!
//! It depends on `model` only. It opens entries of the cache of compiled plugins and the paths of
//! an [`Access`], and connects to what that grants. [`Engines`] and [`Plugin`] are for workers.
//! [`inspect`](inspect()), [`compile`] and [`try_load`] are for child processes with limits,
//! because hostile code can keep a compiler busy, or grow it, without a bound. A worker's
//! environment must be empty: wasmtime reads `RUST_BACKTRACE`, and a backtrace would slow down each
//! of its errors.
//!
//! Start reading at [`Plugin::run`]. The bounds of a guest are in `store/mod.rs` and
//! `engine/config.rs`; `interrupt.rs` ends it, and `call/classify.rs` explains its failure.

mod access;
mod activity;
mod call;
mod contract;
mod denials;
mod engine;
mod fs;
mod host_fault;
mod interrupt;
mod message;
mod net;
mod plugin;
mod redact;
mod secrets;
mod store;

pub use access::Access;
pub use activity::Activity;
pub use call::classify::host_fault_reason;
pub use call::{AttachedFile, Call, CommandCall, Ended, Ending, Reply, instance::Instance};
pub use engine::compile::{compile, try_load};
pub use engine::inspect::{Inspection, inspect};
pub use engine::{Engines, LoadError};
pub use interrupt::Interrupt;
pub use message::{cut, failure, stderr_tail, too_large};
pub use net::{Network, load_certificates, post};
pub use plugin::Plugin;
pub use redact::{Redactor, Stream, values::DistinctNames};
pub use secrets::Secrets;
pub use store::artifacts::{LeftContent, LeftFile};

/// Entry points of the targets in `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::call::{classify::fuzzing::symbols, fuzzing::replies};
    pub use crate::net::fuzzing::{addresses, grants, headers};
    pub use crate::redact::fuzzing::redaction;
}

#[cfg(test)]
mod tests;
