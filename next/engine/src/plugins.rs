//! Finds the plugins that a scenario names.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use runner_model::{
    Digest, digest,
    provider::{PluginKind, PreparedProvider, Provider},
    units::show_size,
};
use runner_record::{PluginCache, RecordError};
use runner_scenario::ProviderProblem;

use crate::{
    compiler::{self, CompileError, PluginBytes},
    source::{Source, SourceState},
};

/// The plugins that are part of this program.
const BUNDLED: [(&str, &[u8]); 4] = [
    ("chat", include_bytes!("../../../plugins/bundled/chat.wasm")),
    ("echo", include_bytes!("../../../plugins/bundled/echo.wasm")),
    ("http", include_bytes!("../../../plugins/bundled/http.wasm")),
    (
        "units",
        include_bytes!("../../../plugins/bundled/units.wasm"),
    ),
];

/// Plugins by digest.
pub(crate) type Plugins = HashMap<Digest, PluginBytes>;

/// Finds the plugin of each provider, and looks at it.
///
/// # Errors
///
/// A cache that cannot be used; within, all plugins that are missing or no plugins.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
pub(crate) fn find(
    providers: &[Provider],
    folder: &Path,
    cache: &PluginCache,
    seconds: Option<u32>,
) -> Result<Result<(Vec<PreparedProvider>, Plugins), Vec<ProviderProblem>>, RecordError> {
    let mut plugins = Plugins::new();
    let (mut prepared, mut problems) = (Vec::new(), Vec::new());
    for (index, provider) in (0..).zip(providers) {
        let look = || -> Result<_, CompileError> {
            let bytes = read(&provider.plugin, folder, provider.limits.file)?;
            let digest = digest(&bytes);
            check_pin(provider, &digest)?;
            let kind = compiler::inspect(cache, &digest, &bytes, seconds)?.kind;
            Ok((digest, kind, bytes))
        };
        match look() {
            Ok((digest, kind, bytes)) => {
                plugins.insert(digest, bytes);
                prepared.push(PreparedProvider {
                    provider: provider.clone(),
                    digest,
                    kind,
                    mounts: Vec::new(),
                });
            }
            Err(CompileError::Cache(error)) => return Err(error),
            Err(CompileError::Refused(problem)) => problems.push(ProviderProblem {
                provider: index,
                key: "plugin",
                message: format!("plugin `{}` {problem}", provider.plugin),
                help: None,
            }),
        }
    }
    Ok(if problems.is_empty() {
        Ok((prepared, plugins))
    } else {
        Err(problems)
    })
}

/// Refuses a file that is not the one that the scenario means.
fn check_pin(provider: &Provider, found: &Digest) -> Result<(), String> {
    match provider.sha256 {
        Some(pinned) if pinned != *found => Err(format!(
            "is not the file that `sha256` pins: its SHA-256 is {found}"
        )),
        _ => Ok(()),
    }
}

/// Reads a plugin's file, of at most `most` bytes, or the one that was built in a folder with its source. Problems are the rest
/// of a sentence that begins with the plugin.
pub(crate) fn read(plugin: &str, folder: &Path, most: u64) -> Result<PluginBytes, String> {
    let bytes = match plugin.strip_prefix("bundled:") {
        Some(name) => Cow::Borrowed(bundled(name)?),
        None => Cow::Owned(read_file(&file_of(&folder.join(plugin))?, most)?),
    };
    if bytes.len() as u64 > most {
        return Err(format!(
            "has more than {}, the `limits.file` of its provider; allow more there, or build it smaller",
            show_size(most)
        ));
    }
    check_magic(&bytes)?;
    Ok(Arc::new(bytes))
}

fn bundled(name: &str) -> Result<&'static [u8], String> {
    let found = BUNDLED.iter().find(|(known, _)| *known == name);
    found.map(|(_, bytes)| *bytes).ok_or_else(|| {
        let known = BUNDLED.map(|(name, _)| format!("`bundled:{name}`"));
        format!("is not part of this program; there is {}", known.join(", "))
    })
}

/// The file of a plugin that may be a folder with its source.
fn file_of(path: &Path) -> Result<PathBuf, String> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let source = Source::open(path).map_err(|problem| format!("cannot be used: {problem}"))?;
    let state = source.state();
    let lacks = match state.map_err(|problem| format!("cannot be used: {problem}"))? {
        SourceState::Fresh => return Ok(source.file()),
        SourceState::Stale => "was built from other source than there is now",
        SourceState::Missing => "has not been built",
    };
    let command = source.build_command();
    Err(format!(
        "{lacks}; build it: {command}, or with all others: runner exec --build"
    ))
}

fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let cannot = |error| format!("cannot be read: {error} ({})", path.display());
    let about = path.metadata().map_err(cannot)?;
    // Opening a pipe waits for its other end.
    if !about.is_file() {
        return Err(format!("is not a regular file ({})", path.display()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    // One byte more shows that there is more.
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    Ok(bytes)
}

fn check_magic(bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Err("is empty; build it again".to_owned());
    }
    PluginKind::of(bytes).map(drop).ok_or_else(|| {
        "is not WASM: it begins like neither a component nor a module; name the `.wasm` file that a plugin was built to"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{BUNDLED, read};

    #[test]
    fn bundled_plugins_are_components() {
        for (name, _) in BUNDLED {
            read(&format!("bundled:{name}"), "/nowhere".as_ref(), 1 << 20).unwrap();
        }
        let problem = read("bundled:none", "/nowhere".as_ref(), 1).unwrap_err();
        assert!(problem.contains("`bundled:echo`"), "{problem}");
    }

    #[test]
    fn files_that_are_no_plugins_say_why() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("text.wasm"), "#!/bin/sh\n").unwrap();
        fs::write(folder.path().join("empty.wasm"), "").unwrap();
        fs::write(folder.path().join("ok.wasm"), b"\0asm\x01\0\0\0").unwrap();
        let problem = |name: &str, most| read(name, folder.path(), most).err();
        assert_eq!(problem("ok.wasm", 8), None);
        for (name, most, says) in [
            ("ok.wasm", 7, "limits.file"),
            ("text.wasm", 100, "not WASM"),
            ("empty.wasm", 100, "empty"),
            (".", 100, "folder"),
            ("none.wasm", 100, "none.wasm"),
            ("/dev/null", 100, "regular"),
        ] {
            let problem = problem(name, most).unwrap();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
