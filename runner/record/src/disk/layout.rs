//! Names of the files in a results root and in a run, and the names that a run can have.

/// Contents that runs share, `store/<aa>/<sha256>`.
pub(crate) const STORE: &str = "store";
/// Requests to start runs.
pub(crate) const QUEUE: &str = "queue";
pub(crate) const ROOT_LOCK: &str = ".lock";
pub(crate) const MANIFEST: &str = "benchmark.json";
/// Prefix of the folders of runs that are being deleted.
pub(crate) const GONE: &str = ".gone-";
pub(crate) const ROWS: &str = "index.jsonl";
pub(crate) const LOGS: &str = "logs.jsonl";
pub(crate) const LOG: &str = "runner.log";
pub(crate) const NOTIFICATIONS: &str = "notifications.jsonl";
pub(crate) const SCENARIO: &str = "scenario.toml";
pub(crate) const ARTIFACTS: &str = "artifacts";

/// Name of the newest run.
const LATEST: &str = "latest";
/// Bytes of a file's name on Linux.
const MAX_NAME: usize = 255;

/// Returns whether a folder of a root can be a run.
pub fn is_run_name(name: &str) -> bool {
    // `mkfs` creates `lost+found` in the root of a file system.
    let others = ["", ".", "..", QUEUE, STORE, "lost+found"];
    !others.contains(&name)
        && !is_latest(name)
        && !name.starts_with("runner.")
        && !name.starts_with(GONE)
        && !name.contains('/')
        && !name.contains(char::is_control)
        && name.len() <= MAX_NAME
}

/// Returns whether a name is `latest` or another place in the list of runs, which new runs change.
pub fn is_latest(name: &str) -> bool {
    parse_latest(name).is_some()
}

/// Parses `latest`, `latest~N`, `latest:SCENARIO` and `latest~N:SCENARIO` into the number of newer runs and the
/// scenario.
pub(crate) fn parse_latest(name: &str) -> Option<(usize, Option<&str>)> {
    let rest = name.strip_prefix(LATEST)?;
    let (back, scenario) = match rest.split_once(':') {
        Some((back, scenario)) => (back, Some(scenario)),
        None => (rest, None),
    };
    let back = match back.strip_prefix('~') {
        Some(number) => number.parse().ok()?,
        None if back.is_empty() => 0,
        None => return None,
    };
    Some((back, scenario))
}
