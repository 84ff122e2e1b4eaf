//! [`FleetError`]: why workers on other machines cannot be reached.

use std::io;

use miette::Diagnostic;
use thiserror::Error;

/// Why workers on other machines cannot be reached.
#[derive(Debug, Error, Diagnostic)]
pub enum FleetError {
    /// The program was built without it.
    #[error("this build of the runner has no workers on other machines")]
    #[diagnostic(help("build it with the feature `fleet`, which it has by default"))]
    Absent,
    /// The address is none.
    #[error("`{text}` is no address of an engine: {reason}")]
    #[diagnostic(help("an address is `nats://HOST:PORT`, or `tls://HOST:PORT`"))]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers, or it refuses.
    #[error("cannot connect to the engine at {at}: {reason}")]
    #[diagnostic(help("{advice}"))]
    Connect {
        /// Where it is.
        at: String,
        /// Why not.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// It is too old.
    #[error("the engine at {at} is nats-server {version}, which is older than {least}")]
    #[diagnostic(help("use a newer one"))]
    Old {
        /// Where it is.
        at: String,
        /// What it says that it is.
        version: String,
        /// The oldest that will do.
        least: &'static str,
    },
    /// It keeps no blobs.
    #[error("the engine at {at} cannot keep plugins and tests: {reason}")]
    #[diagnostic(help("start it with JetStream: `nats-server --jetstream --store_dir DIR`"))]
    Blobs {
        /// Where it is.
        at: String,
        /// Why not.
        reason: String,
    },
    /// Another process works on the same run, in another directory.
    #[error("run `{run}` is made over the engine at {at} by another process already: {holder}")]
    #[diagnostic(help(
        "that process has a copy of the run's directory: go on with that one, or end it with `runner stop` there"
    ))]
    Taken {
        /// The run.
        run: String,
        /// Where the engine is.
        at: String,
        /// Which process.
        holder: String,
    },
    /// Another worker has the name.
    #[error("a worker called `{worker}` is at the engine at {at} already: {holder}")]
    #[diagnostic(help(
        "give this one another `--name`, or leave `--name` out; or end the other one first, which makes its name free at \
         once"
    ))]
    NameTaken {
        /// The name.
        worker: String,
        /// Where the engine is.
        at: String,
        /// Which process has it, where and since when.
        holder: String,
    },
    /// It did not do what it was asked.
    #[error("the engine did not {what}: {reason}")]
    Engine {
        /// What it was asked.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// A file of this machine cannot be read or written.
    #[error("cannot {what}: {cause}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// Why not.
        cause: io::Error,
    },
}

#[cfg(feature = "fleet")]
impl FleetError {
    pub(super) fn engine<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Engine {
            what,
            reason: error.to_string(),
        }
    }

    pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { what, cause }
    }
}
