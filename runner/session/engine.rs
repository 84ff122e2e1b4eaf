//! [`engine_options`]: where the engine is set up; and what [`worker_host`] hands to processes with engines of their own.

use std::{path::Path, time::Duration};

use super::Host;
use crate::{
    plugin::{EngineOptions, SandboxPool},
    run::WorkerHost,
};

/// How long compiling one plugin may take.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(300);

/// What names the certificates that servers are checked by, instead of the system's; all of the environment that a worker
/// needs.
pub(super) const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What workers are started with.
pub(super) fn worker_host(host: &Host, root: &Path) -> WorkerHost {
    let env = CERTIFICATES.into_iter();
    WorkerHost {
        engine: engine_options(host, root, None),
        pools_sandboxes: host.pools_sandboxes,
        env: env
            .filter_map(|name| Some((name, (host.variable)(name)?)))
            .collect(),
    }
}

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
