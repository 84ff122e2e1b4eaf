//! Names of the files in a results root and in a run, the names that a run can have, and commands about runs that messages
//! advise.

use std::env;
use std::path::{Path, PathBuf};

use runner_model::visible::{quoted, quoted_path};

/// Contents that runs share, `store/<aa>/<sha256>`.
pub(crate) const STORE: &str = "store";
/// Requests to start runs.
pub(crate) const QUEUE: &str = "queue";
pub(crate) const ROOT_LOCK: &str = ".lock";
/// The number of the newest run.
pub(crate) const NUMBER: &str = ".number";
pub(crate) const MANIFEST: &str = "benchmark.json";
/// Prefix of the folders of runs that are being deleted.
pub(crate) const GONE: &str = ".gone-";
pub(crate) const ROWS: &str = "index.jsonl";
pub(crate) const LOGS: &str = "logs.jsonl";
/// Calls of attempts with a journal.
pub(crate) const CALLS: &str = "calls.jsonl";
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

/// Returns the results root of commands without `--results`. An empty variable counts as not set.
pub fn default_root() -> PathBuf {
    let given = env::var_os("RUNNER_RESULTS").filter(|path| !path.is_empty());
    given.unwrap_or_else(|| "results".into()).into()
}

/// Returns a command about the runs of `root` to type into a shell, with `--results` if the root is not the default.
pub fn command(root: &Path, words: &[&str]) -> String {
    let [real, default] =
        [root, &default_root()].map(|path| path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    let is_default = real == default;
    let mut words: Vec<_> = ["runner"].iter().chain(words).map(|word| quoted(word)).collect();
    if !is_default {
        words.extend(["--results".to_owned(), quoted_path(root)]);
    }
    words.join(" ")
}
