//! [`Call`]: the inputs of one call, and the [`Access`] that it has.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use runner_model::provider::{MountedFolder, OutputForm, Protocol};
use runner_model::{Digest, Limits, Micros, Time};

use super::toolbox::{Inside, Toolbox};
use crate::fs::workspace::base::{Base, Overlay};
use crate::{Activity, Journal, Network, Secrets};

/// The inputs of one call. The first fields are those of the contract's `test` record.
#[derive(Debug)]
pub struct Call<'a> {
    pub trial: &'a str,
    pub test: &'a str,
    pub provider: &'a str,
    /// From 1.
    pub repeat: u32,
    /// From 1.
    pub attempt: u32,
    pub seed: u32,
    /// Seed of the random numbers of a deterministic call. `None` for the hash of seed, attempt and trial.
    pub random: Option<Digest>,
    /// Compact JSON.
    pub input: &'a str,
    /// Compact JSON.
    pub config: &'a str,
    pub tags: &'a [String],
    pub files: &'a [AttachedFile],
    /// Environment variables, with all templates filled in.
    pub env: &'a [(String, String)],
    pub access: &'a Access,
    /// Receives the guest's progress and its open requests.
    pub activity: &'a Activity,
    /// Required for commands. Components ignore it.
    pub command: Option<CommandCall>,
    pub limits: &'a Limits,
    /// Longest time of the attempt, from the call of `Plugin::run`, without that of earlier guests. Of a tool that of its caller.
    pub timeout: Micros,
    /// If set, the result is a function of the call: the guest's clocks start at this time.
    pub deterministic: Option<Time>,
    /// Only for a call in a fresh sandbox.
    pub workspace: Option<CallWorkspace<'a>>,
    /// Only for a deterministic call.
    pub journal: Option<Journal>,
    /// Makes the records of a component, or a plain command's standard output, an artifact of at most this number of lines.
    pub records: Option<u64>,
    /// The tools that a component may call. `None` without any.
    pub tools: Option<Arc<dyn Toolbox>>,
    /// Parts of the caller's attempt, for the call of a tool. `None` for any other call.
    pub inside: Option<Inside>,
}

/// The parts of the host that a provider's attempts may use, with all names resolved. The default
/// allows nothing.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Shared by all attempts of the provider.
    pub network: Network,
    /// The granted secrets, with their values.
    pub secrets: Arc<Secrets>,
    pub mounts: Vec<MountedFolder>,
    /// Dollars for a million of each metric.
    pub prices: Arc<BTreeMap<String, f64>>,
    /// Names of the scenario's tools, granted or not.
    pub scenario_tools: Arc<[String]>,
    /// Parent of the private folders of attempts.
    pub scratch: PathBuf,
}

/// The workspace of a call.
#[derive(Clone, Debug)]
pub struct CallWorkspace<'a> {
    /// The folder that it starts as, in the same file system as [`Access::scratch`]. `None` if it starts empty.
    pub base: Option<Arc<Base>>,
    /// The path in the guest.
    pub mount: &'a str,
    /// What the host changes before the guest starts, for a grader. Then no changes are found at its end.
    pub overlay: Option<Arc<Overlay>>,
    pub is_read_only: bool,
    /// Whether changes are kept, and not only counted.
    pub keeps: bool,
}

/// An attachment that a guest may read.
#[derive(Clone, Debug)]
pub struct AttachedFile {
    /// The name that the guest uses.
    pub name: String,
    pub bytes: u64,
    /// Path of the content on the host.
    pub path: PathBuf,
}

/// The arguments and protocol of a command.
#[derive(Clone, Debug)]
pub struct CommandCall {
    /// `argv[0]` in the plain protocol: the name of the plugin's file.
    pub program: String,
    /// Arguments after `argv[0]`.
    pub args: Vec<String>,
    /// Standard input in the plain protocol. In the JSON protocol the sandbox writes it.
    pub stdin: Option<Vec<u8>>,
    pub protocol: Protocol,
    /// The form in which a plain command's standard output is read.
    pub output: OutputForm,
}
