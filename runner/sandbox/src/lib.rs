//! Calls one plugin: takes plugin, limits and input, returns a reply. The only crate with wasmtime
//! and an HTTP client; it can be audited alone.
//!
//! Depends on `model` and `files`. Opens entries of the cache of compiled plugins and the paths of
//! an [`Access`], and connects to what that grants. [`Engines`] and [`Plugin`] are for workers.
//! [`inspect`](inspect()), [`compile`] and [`try_load`] are for child processes with limits,
//! because hostile code can keep a compiler busy, or grow it, without a bound. A worker's
//! environment must be empty: wasmtime reads `RUST_BACKTRACE`, and a backtrace would slow down each
//! of its errors.
//!
//! Start reading at [`Plugin::run`]. The bounds of a guest are in `store/mod.rs` and
//! `engine/config.rs`; `interrupt.rs` ends it, and `call/classify.rs` explains its failure, or
//! `host_fault.rs` if the machine lacks something.

mod activity;
mod host_fault;
mod interrupt;
mod message;
mod plugin;
mod redact;
mod secrets;
mod store;

/// The host's bindings, generated from the contract that plugins are built with.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated code; the contract documents itself"
)]
mod contract {
    wasmtime::component::bindgen!({
        path: "../../plugins/sdk/wit/provider.wit",
        world: "everything",
        // Without copies: inputs may have many MiB, and the caller keeps them.
        ownership: Borrowing { duplicate_if_necessary: false },
        // All other imports return at once, and calls of async functions cost more.
        imports: {
            "runner:provider/http.send": async,
            "runner:provider/tools.call": async | trappable,
        },
        exports: { default: async },
    });
}

/// Everything before a call: a plugin's file is inspected and bounded, compiled in a child process,
/// loaded from the cache and linked to the host's functions.
mod engine {
    pub(crate) mod bounds;
    mod cache;
    pub(crate) mod compile;
    pub(crate) mod config;
    mod engines;
    pub(crate) mod inspect;
    pub(crate) mod link;

    pub use self::{engines::Engines, link::LoadError};
}

/// Calls of plugins. `component` and `command` turn `inputs` into a call: the first by the typed
/// contract, in an `instance` that may be kept, the second by a `protocol` of text. `reply`,
/// `description`, `json` and `field` check the answer, `classify` explains a guest that did not
/// answer, and `collect` builds the result in `ended`. `tools` makes a call inside of another one, with what
/// `toolbox` has.
mod call {
    pub(crate) mod classify;
    mod collect;
    pub(crate) mod command;
    pub(crate) mod component;
    mod description;
    mod ended;
    mod field;
    #[cfg(any(test, fuzzing))]
    #[path = "../tests/fuzzing/replies.rs"]
    pub(crate) mod fuzzing;
    mod inputs;
    pub(crate) mod instance;
    pub(crate) mod json;
    mod protocol;
    mod reply;
    pub(crate) mod toolbox;
    mod tools;

    pub use self::ended::{Ended, Ending, LeftWorkspace, Reply};
    pub use self::inputs::{Access, AttachedFile, Call, CallWorkspace, CommandCall};
    pub use self::toolbox::{Inside, ListedTool, RunningTool, Toolbox};
}

/// Files of guests. [`AttemptFiles`](fs::AttemptFiles) mounts granted folders and the attempt's
/// private folder. `preview1` and `preview2` replace functions of wasmtime; `guest` and `counted`
/// check the calls of each, and count every write against a [`Quota`](fs::quota::Quota).
mod fs {
    mod attempt_files;
    mod counted;
    mod descriptors;
    mod folders;
    mod guest;
    mod leftovers;
    mod listing;
    pub(crate) mod preview1;
    pub(crate) mod preview2;
    pub(crate) mod preview3;
    pub(crate) mod quota;
    mod readdir;
    mod shown;
    mod streams;
    mod system;

    /// Workspaces: folders that start as a copy of a [`Base`](workspace::base::Base), and whose
    /// changes are found. `tree` creates one with links to the base, `links` hides and breaks these
    /// for an `attempt`, and `changes` compares.
    pub(crate) mod workspace {
        pub(crate) mod attempt;
        pub(crate) mod base;
        pub(super) mod changes;
        mod links;
        mod overlay;
        pub(super) mod tree;
    }

    pub(crate) use self::attempt_files::AttemptFiles;
    pub(crate) use self::descriptors::{Descriptors, LinkTimes};
    pub(crate) use self::folders::Role;
    pub(crate) use self::listing::LastListing;
    pub(crate) use self::workspace::attempt::AttemptWorkspace;
    pub use self::workspace::base::{Base, Overlay};
}

/// HTTP requests of guests. `request` decides on each request, whichever interface it uses;
/// `exchanges` decides when a deterministic guest sees its response, and `journal` keeps it as one of those that are `written`;
/// `policy` knows the grants, and `connect` connects only to addresses that `policy` allows.
mod net {
    mod address;
    mod connect;
    mod exchanges;
    mod failure;
    #[cfg(any(test, fuzzing))]
    #[path = "../tests/fuzzing/requests.rs"]
    pub(crate) mod fuzzing;
    mod headers;
    mod journal;
    mod network;
    mod policy;
    mod request;
    mod response;
    mod retry_after;
    pub(crate) mod wasi;
    mod wire;
    mod written;

    pub(crate) use self::exchanges::{Exchanges, KeptExchanges, Next};
    pub use self::journal::{Journal, Keeper, Kept, RecordedCalls};
    pub(crate) use self::journal::{JournalEnd, RecordedEnd};
    pub use self::network::Network;
    pub use self::{connect::load_certificates, request::post};
    pub(crate) use self::{network::Denials, request::Outbound};

    #[cfg(test)]
    mod tests;
}

pub use activity::Activity;
pub use call::classify::host_fault_reason;
pub use call::{
    Access, AttachedFile, Call, CallWorkspace, CommandCall, Ended, Ending, Inside, LeftWorkspace,
    ListedTool, Reply, RunningTool, Toolbox, instance::Instance,
};
pub use engine::compile::{compile, try_load};
pub use engine::inspect::{Inspection, inspect};
pub use engine::{Engines, LoadError};
pub use fs::{Base, Overlay};
pub use host_fault::host_fault;
pub use interrupt::Interrupt;
pub use message::{cut, failure, stderr_tail, too_large};
pub use net::{Journal, Keeper, Kept, Network, RecordedCalls, load_certificates, post};
pub use plugin::Plugin;
pub use redact::{Redactor, Stream, values::DistinctNames};
pub use secrets::{SecretUse, Secrets};
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
