//! One call: plugin, limits and input in, reply out. The only crate that knows wasmtime; it can be audited alone.
//!
//! Begin reading at [`Plugin::run`].

use std::{path::Path, sync::Arc, time::Duration};

use runner_model::{
    Digest, HostFault, Limits, Micros,
    log::Said,
    outcome::Verdict,
    provider::{Description, OutputForm, PluginKind, Protocol},
    row::{Check, Denied, Metric, Raw, RowError, Usage},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The engines of a worker: pool for small memories, pool for others, each made when the first plugin needs it; and the
/// thread that ticks their epochs.
#[derive(Debug)]
pub struct Engines;

/// A plugin that was loaded and linked.
#[derive(Debug)]
pub struct Plugin;

/// Stops guests: those of one call, or all. Cheap to clone; also ends a call that waits.
#[derive(Clone, Debug)]
pub struct Interrupt;

/// What a call is made with.
#[derive(Debug)]
pub struct Call<'a> {
    /// Of the contract's `test` record.
    pub trial: &'a str,
    /// The test's id.
    pub test: &'a str,
    /// The provider's name.
    pub provider: &'a str,
    /// From 1.
    pub repeat: u32,
    /// From 1.
    pub attempt: u32,
    /// The scenario's seed.
    pub seed: u32,
    /// The input as compact JSON.
    pub input: &'a str,
    /// The configuration as compact JSON.
    pub config: &'a str,
    /// The test's tags.
    pub tags: &'a [String],
    /// How a command is called; components ignore it.
    pub command: Option<CommandCall>,
    /// What the attempt may use.
    pub limits: &'a Limits,
    /// How long the attempt may take; the clock starts when `run` is called.
    pub timeout: Micros,
}

/// How a command is called.
#[derive(Clone, Debug)]
pub struct CommandCall {
    /// Its arguments, without the program's name.
    pub args: Vec<String>,
    /// Its standard input; for the JSON protocol the sandbox writes it.
    pub stdin: Option<String>,
    /// How it is called.
    pub protocol: Protocol,
    /// What a plain command's standard output is taken for.
    pub output: OutputForm,
}

/// How a call ended, and what it used and left.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub ending: Ending,
    /// How long it took.
    pub duration: Duration,
    /// What it used.
    pub usage: Usage,
    /// What it tried and was not granted, each once.
    pub denied: Vec<Denied<'static>>,
    /// What it said.
    pub said: Said<'static>,
    /// What the machine lacked; then the attempt is made again.
    pub host_fault: Option<HostFault>,
}

/// How a call ended.
#[derive(Debug)]
pub enum Ending {
    /// With a reply.
    Reply(Box<Reply>),
    /// With an error of the provider or of the guest.
    Error(RowError<'static>),
    /// Its time was over.
    Timeout,
    /// It was interrupted.
    Stopped,
}

/// A reply, within its limits: valid JSON, finite numbers.
#[derive(Debug)]
pub struct Reply {
    /// Compact JSON.
    pub output: Raw<'static>,
    /// The provider's own verdict.
    pub verdict: Option<Verdict>,
    /// Its score.
    pub score: Option<f64>,
    /// Its own checks.
    pub checks: Vec<Check<'static>>,
    /// What it measured.
    pub metrics: Vec<Metric<'static>>,
    /// The exit code of a plain command.
    pub exit_code: Option<i32>,
}

/// Why an entry of the cache cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// There is no such entry, or it is damaged: compile it (again).
    #[error("not in the cache")]
    Missing,
    /// The plugin does not fit: a missing import, or the pool refuses it.
    #[error("{message}")]
    Refused {
        /// A stable word.
        code: &'static str,
        /// Why, for people.
        message: String,
    },
}

impl Engines {
    /// For so many sandboxes at once.
    pub fn new(slots: u32) -> Self {
        todo!("{slots}")
    }

    /// Names what compiled plugins must be made for: 16 hexadecimal digits over the compatibility hashes of wasmtime's
    /// engines and our format.
    pub fn compile_key() -> String {
        todo!()
    }

    /// Loads an entry of the cache and links it.
    pub fn load(&self, cache: &Path, plugin: &Digest) -> Result<Plugin, LoadError> {
        todo!("{cache:?} {plugin}")
    }

    /// Interrupts all calls.
    pub fn interrupt(&self) -> Interrupt {
        todo!()
    }
}

impl Interrupt {
    /// Interrupts now. Guests that compute end within a few milliseconds, except inside one long instruction.
    pub fn now(&self) {
        todo!()
    }

    /// What `stop-requested` of the contract answers from now on.
    pub fn request(&self) {
        todo!()
    }
}

impl Plugin {
    /// What it is.
    pub fn kind(&self) -> PluginKind {
        todo!()
    }

    /// Asks what it says of itself: no grants, 5 s. `None` of plain commands.
    pub async fn describe(
        &self,
        protocol: Protocol,
        limits: &Limits,
    ) -> Result<Option<Description>, RowError<'static>> {
        todo!("{protocol} {limits:?}")
    }

    /// Makes one call in a fresh sandbox. Never panics and never fails: whatever the guest does is in the answer.
    pub async fn run(&self, call: Call<'_>) -> Ended {
        todo!("{call:?}")
    }
}

/// What a plugin's file is, told without running it. Kept as JSON by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// What it is.
    pub kind: PluginKind,
    /// The version of the contract that it exports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// What it imports.
    pub imports: Vec<String>,
}

/// Looks at a file and tells what it is.
///
/// # Errors
///
/// Why it is no plugin: what, and what to do.
pub fn inspect(wasm: &[u8]) -> Result<Inspection, String> {
    todo!("{wasm:?}")
}

/// Compiles a plugin; returns the entry for the cache with its trailer. Called in `__compile` alone.
///
/// # Errors
///
/// Why it cannot be compiled, or does not fit the pool.
pub fn compile(wasm: &[u8]) -> Result<Vec<u8>, String> {
    todo!("{wasm:?}")
}

/// Loads a compiled entry once, to see that it can be. Called in `__compile --load` alone.
///
/// # Errors
///
/// Why not.
pub fn try_load(entry: &Arc<Vec<u8>>) -> Result<(), String> {
    todo!("{entry:?}")
}
