//! [`engine_options`]: where the engine is set up.

use std::{path::Path, time::Duration};

use super::Host;
use crate::plugin::{EngineOptions, SandboxPool};

/// How long compiling one plugin may take.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(300);

/// Where the engine finds its compiler and its cache; `root` is the results root.
pub(super) fn engine_options(host: &Host, root: &Path, pool: Option<SandboxPool>) -> EngineOptions {
    let cache = host.cache.clone();
    EngineOptions {
        compiler: host.program.clone(),
        cache: cache.unwrap_or_else(|| root.join(".cache")),
        compile_timeout: COMPILE_TIMEOUT,
        pool,
    }
}
