//! Commands that messages advise.

use std::env;
use std::os::unix::ffi::OsStrExt as _;
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
    let is_default = real(root) == real(&default_root());
    let mut words: Vec<_> = ["runner"].iter().chain(words).map(|word| quoted(word)).collect();
    if !is_default {
        words.extend(["--results".to_owned(), quoted_path(root)]);
    }
    words.join(" ")
}

/// Quotes a path for a shell. Its bytes may not be text.
pub(crate) fn quoted_path(path: &Path) -> String {
    match path.to_str() {
        // Otherwise it is read as a flag.
        Some(text) if text.starts_with('-') => quoted(&format!("./{text}")),
        Some(text) => quoted(text),
        None => format!("$'{}'", path.as_os_str().as_bytes().escape_ascii()),
    }
}
