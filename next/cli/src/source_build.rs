//! Builds a plugin from its source. This is the only code that runs a plugin author's code outside the sandbox, so only
//! `plugin build` and `--build` call it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use runner_model::{digest, provider::PluginKind};
use runner_prepare::{PrepareError, children, compiler, source::{Source, read_regular}};
use runner_record::PluginCache;

/// A plugin that was just built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The plugin's file.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How long building took.
    pub took: Duration,
}

/// Builds the plugin. What the build prints goes to standard error.
///
/// # Errors
///
/// A build that fails, makes no file, or makes a plugin of another kind.
pub fn build(source: &Source) -> Result<Built, String> {
    build_checked(source, |bytes| check(source, bytes))
}

/// Builds the plugin, and looks at it with `check`.
fn build_checked(
    source: &Source,
    check: impl FnOnce(&[u8]) -> Result<(), String>,
) -> Result<Built, String> {
    let began = Instant::now();
    let line = source.build_line();
    // What changes while the build goes on makes the plugin stale.
    let digest = source.digest()?;
    let written = source.digest_path();
    let cannot = |error: io::Error| format!("cannot write `{}`: {error}", written.display());
    fs::create_dir_all(source.folder().join("dist")).map_err(cannot)?;
    // If the build fails, what is in place of the plugin then is of no known source.
    fs::write(&written, "").map_err(cannot)?;
    let status = shell(line, source.folder())
        .stdout(Stdio::from(io::stderr()))
        .status()
        .map_err(|error| format!("cannot run `sh`: {error}"))?;
    if !status.success() {
        return Err(format!(
            "building `{}` failed ({status}): {line}\nif a tool is missing, `runner plugin doctor {}` says how it is installed",
            source.folder().display(),
            source.typed_folder()
        ));
    }
    let file = source.file();
    let bytes = read_regular(&file, u64::MAX).map_err(|error| {
        format!(
            "the build of `{}` did not make `{}`, which its `plugin.toml` names: {error}",
            source.folder().display(),
            file.display()
        )
    })?;
    check(&bytes)?;
    fs::write(&written, format!("{digest}\n")).map_err(cannot)?;
    Ok(Built { file, bytes, took: began.elapsed() })
}

/// Compares what was built with what `plugin.toml` says.
fn check(source: &Source, bytes: &[u8]) -> Result<(), String> {
    let file = source.file();
    let file = file.display();
    let cache = PluginCache::open().map_err(|error| error.to_string())?;
    let copy = children::nameless("plugin", bytes).map_err(|error| error.to_string())?;
    let kind = match compiler::inspect(&cache, &digest(bytes), copy) {
        Ok(inspection) => inspection.kind,
        Err(PrepareError::Refused(problem)) => {
            return Err(format!("`{file}` was built, and {problem}"));
        }
        Err(error) => return Err(error.to_string()),
    };
    let (wanted, advice) = match source.kind() {
        kind_of_manifest if kind_of_manifest == kind => return Ok(()),
        PluginKind::Component => (
            "component",
            "a component exports `runner:provider/provider`; a program with a `main` is `kind = \"command\"`",
        ),
        PluginKind::Command => (
            "command",
            "a command is a program with a `main`; what exports `runner:provider/provider` is `kind = \"component\"`",
        ),
    };
    Err(format!(
        "`{file}` was built, and is a {kind}; its `plugin.toml` says that it is a {wanted}\n{advice}"
    ))
}


/// A line for `sh` in a folder. Programs are found in the folder first, where the package managers of Python and Node.js put
/// them.
pub fn shell(line: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-euc", line]).current_dir(folder).stdin(Stdio::null());
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let own = [".venv/bin", "node_modules/.bin"].map(|name| folder.join(name));
    let path = env::var_os("PATH").unwrap_or_default();
    // A folder with a `:` in its name cannot be searched.
    if let Ok(path) = env::join_paths(own.into_iter().chain(env::split_paths(&path))) {
        command.env("PATH", path);
    }
    command
}
