//! [`inspect`]: the kind, imports and exports of a plugin, without a worker.

use std::path::Path;

use runner_model::{Digest, Limits};
use runner_prepare::{PrepareError, compiler, compiler::Inspection, plugins};
use runner_record::PluginCache;

use crate::EngineError;

/// Inspects a plugin, whose path is relative to the current folder. Returns the SHA-256 and the length of its file, and its
/// kind, imports and exports.
///
/// # Errors
///
/// A file that is missing or not a plugin.
pub fn inspect(plugin: &str) -> Result<(Digest, u64, Inspection), EngineError> {
    let cache = PluginCache::open()?;
    let inspect = || {
        let found = plugins::read(plugin, Path::new("."), Limits::default().file)?;
        let inspection = compiler::inspect(&cache, &found.digest, found.copy)?;
        Ok((found.digest, found.bytes, inspection))
    };
    inspect().map_err(|error| match error {
        PrepareError::Refused(problem) => {
            EngineError::Usage(format!("plugin `{plugin}` {problem}"))
        }
        PrepareError::Interrupted(problem) => {
            EngineError::Interrupted(format!("plugin `{plugin}` {problem}"))
        }
        error => error.into(),
    })
}
