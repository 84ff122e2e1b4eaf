//! One call: plugin, limits and input in, reply out. The only crate that knows wasmtime; it can be audited alone.
//!
//! It knows `model` and nothing else of the runner. Beside entries of the cache of compiled plugins it opens what an
//! [`Access`] names, and it connects only to where that grants. [`inspect`](inspect()), [`compile`] and [`try_load`] are for
//! children with limits of their own, because foreign code can keep a compiler busy, or grow it, for as long as it likes.
//! [`Engines`] and [`Plugin`] are for workers. A worker's environment must be empty: wasmtime reads `RUST_BACKTRACE`, and
//! each of its errors would take its time.
//!
//! Begin reading at [`Plugin::run`]. What bounds a guest stands in `store.rs` and `engine/config.rs`, what ends it in
//! `interrupt.rs`, and what its end means in `call/classify.rs`.

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
pub use call::{AttachedFile, Call, CommandCall, Ended, Ending, Reply, instance::Instance};
pub use engine::{
    Engines, LoadError,
    compile::{compile, try_load},
    inspect::{Inspection, inspect},
};
pub use interrupt::Interrupt;
pub use message::{cut, failure, stderr_tail};
pub use net::{Network, load_certificates};
pub use plugin::Plugin;
pub use redact::{Redactor, Stream, values::DistinctNames};
pub use secrets::Secrets;
pub use store::artifacts::{LeftContent, LeftFile};

/// What `fuzz/` calls.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::{
        call::fuzzing::replies,
        net::fuzzing::{addresses, grants, headers},
        redact::fuzzing::redaction,
    };
}

#[cfg(test)]
mod tests;
