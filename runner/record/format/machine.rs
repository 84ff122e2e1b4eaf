//! [`ManifestMachine`]: where a session ran, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::disk::machine::Machine;

/// The machine that a session ran on: times of different ones say nothing of the providers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestMachine {
    /// Its name in the network.
    pub host: String,
    /// The architecture of its processors, such as `x86_64`.
    pub architecture: String,
    /// How many cores the process could use.
    pub cores: u64,
}

impl From<Machine> for ManifestMachine {
    fn from(machine: Machine) -> Self {
        Self {
            host: machine.host,
            architecture: machine.architecture,
            cores: machine.cores,
        }
    }
}
