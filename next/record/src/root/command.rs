//! Commands that messages advise.

use std::env;
use std::path::{Path, PathBuf};

use runner_model::visible::quoted;

/// Returns the results root of commands without `--results`. An empty variable counts as not set.
pub fn default_root() -> PathBuf {
    let given = env::var_os("RUNNER_RESULTS").filter(|path| !path.is_empty());
    given.unwrap_or_else(|| "results".into()).into()
}

/// Returns a command about the runs of `root` to type into a shell, with `--results` if the root is not the default.
pub fn command(root: &Path, words: &[&str]) -> String {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let path = root.to_string_lossy();
    let is_default = real(root) == real(&default_root());
    let flag: &[&str] = if is_default { &[] } else { &["--results", &path] };
    let words = ["runner"].iter().chain(words).chain(flag).map(|word| quoted(word));
    words.collect::<Vec<_>>().join(" ")
}
