//! Finds the plugins that a scenario names, and keys and grants without effect on them.

use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::{collections::HashMap, fs::File, os::unix::fs::FileExt as _, sync::Arc};

use runner_model::provider::{OutputForm, PluginKind, PreparedProvider, Provider};
use runner_model::visible::{shown_path, visible_line};
use runner_model::{Digest, prepare::RefusedPart, units::show_size};
use runner_record::PluginCache;
use runner_scenario::{ProviderProblem, SuiteFile, check_kind, files_beside, similar};

use crate::compiler::{self, Inspection};
use crate::content_source::{self, ContentSource, Origin};
use crate::source::{Source, SourceState};
use crate::{PrepareError, machine};

/// Plugins that are part of this program.
const BUNDLED: [(&str, &[u8]); 6] = [
    ("agent", include_bytes!("../../../plugins/bundled/agent.wasm")),
    ("cases", include_bytes!("../../../plugins/bundled/cases.wasm")),
    ("chat", include_bytes!("../../../plugins/bundled/chat.wasm")),
    ("echo", include_bytes!("../../../plugins/bundled/echo.wasm")),
    ("http", include_bytes!("../../../plugins/bundled/http.wasm")),
    ("units", include_bytes!("../../../plugins/bundled/units.wasm")),
];

const NET_OF_MODULE: &str = "`net` does nothing for a module of WASI preview 1, which has no network; a component has one by `wasi:http`";
const SECRETS_OF_MODULE: &str = "`secrets` does nothing for a module of WASI preview 1; it gets one by `env`, as in `env = { TOKEN = \"{{secret.API_KEY}}\" }`";
const SECRETS_WITHOUT_NET: &str = "`secrets` without `net` does nothing for a command, which gets one only in the headers of its requests, or by `env`, as in `env = { TOKEN = \"{{secret.API_KEY}}\" }`";

#[derive(Debug)]
pub struct FoundPlugin {
    pub digest: Digest,
    pub bytes: u64,
    pub origin: Origin,
    /// An unnamed copy of the file, which no other process can change.
    pub copy: File,
}

/// Finds and inspects the plugin of each provider. Returns a problem for each missing or invalid plugin.
///
/// # Errors
///
/// The cache cannot be used.
pub fn find(
    providers: &[Provider],
    folder: &Path,
    cache: &PluginCache,
) -> Result<(Vec<PreparedProvider>, ContentSource, Vec<ProviderProblem>), PrepareError> {
    let (mut prepared, mut origins, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    // An interpreter of 26 MB is often the plugin of each program in a folder.
    let mut inspected = HashMap::<&str, (u64, Digest, Origin, Arc<Inspection>)>::new();
    for (index, provider) in (0..).zip(providers) {
        let check_pin = |digest| match provider.sha256 {
            Some(pinned) if pinned != digest => {
                Err(PrepareError::Refused(wrong_pin(&folder.join(&provider.plugin), &digest)))
            }
            _ => Ok(()),
        };
        let mut inspect = || -> Result<_, PrepareError> {
            let before = inspected.get(&*provider.plugin);
            let (digest, origin, inspection) = match before {
                Some((bytes, digest, origin, inspection)) if *bytes <= provider.limits.file => {
                    check_pin(*digest)?;
                    (*digest, origin.clone(), Arc::clone(inspection))
                }
                _ => {
                    let found = read(&provider.plugin, folder, provider.limits.file)?;
                    let FoundPlugin { digest, bytes, origin, copy } = found;
                    check_pin(digest)?;
                    let inspection = Arc::new(compiler::inspect(cache, &digest, copy)?);
                    let known = (bytes, digest, origin.clone(), Arc::clone(&inspection));
                    inspected.insert(&provider.plugin, known);
                    (digest, origin, inspection)
                }
            };
            if provider.deterministic.is_some()
                && let Some(interface) = inspection.wasi_0_3()
            {
                return Err(PrepareError::Refused(format!(
                    "uses WASI 0.3 (`{}`), whose calls can end in any order, and a run with `deterministic` or `journal` refuses \
                     that; build it for WASI 0.2, or run without both",
                    visible_line(interface)
                )));
            }
            Ok((digest, origin, inspection.kind))
        };
        match inspect() {
            Ok((digest, origin, kind)) => {
                origins.push((digest, origin));
                let provider = provider.clone();
                let found = PreparedProvider { provider, digest, kind, mounts: Vec::new() };
                problems.extend(tool_problem(index, &found, providers));
                prepared.push(found);
            }
            Err(PrepareError::Refused(problem)) => problems.push(ProviderProblem {
                provider: index,
                key: "plugin",
                message: match Source::open(&folder.join(&provider.plugin)) {
                    Ok(source) if provider.plugin == "." => {
                        format!("plugin `{}` {problem}", source.name())
                    }
                    _ => format!("plugin `{}` {problem}", provider.plugin),
                },
                help: None,
                refused: RefusedPart::default(),
            }),
            Err(PrepareError::Interrupted(problem)) => {
                let problem = format!("plugin `{}` {problem}", provider.plugin);
                return Err(PrepareError::Interrupted(problem));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((prepared, ContentSource::new(origins), problems))
}

/// Returns the problem of a plugin with another digest than the pinned one.
fn wrong_pin(path: &Path, digest: &Digest) -> String {
    let problem = "is not the file that `sha256` pins:";
    match Source::open(path) {
        Ok(source) if source.is_built_as_development() => format!(
            "{problem} it is a development form, whose SHA-256 changes with each edit; to build the final form: {}",
            source.build_command()
        ),
        Ok(_) => format!("{problem} the SHA-256 of its final form is {digest}"),
        Err(_) => format!("{problem} its SHA-256 is {digest}"),
    }
}

/// Returns the problem of a command that is granted tools, or of a tool without a description that a provider may call. A
/// grader is written for its tools, and a model of a provider learns their purposes from the descriptions.
fn tool_problem(
    provider: u16,
    prepared: &PreparedProvider,
    all: &[Provider],
) -> Option<ProviderProblem> {
    let PreparedProvider { provider: Provider { name, plugin, grants, tool, .. }, kind, .. } =
        prepared;
    let is_undescribed = tool.as_ref().is_some_and(|tool| tool.description.is_none());
    let calls = |one: &Provider| {
        one.grading.is_none() && one.grants.tools.iter().any(|tool| *tool == **name)
    };
    let (key, message, help) = if *kind == PluginKind::Command && !grants.tools.is_empty() {
        let message =
            format!("plugin `{plugin}` is a command, and only a component can call tools");
        ("grants.tools", message, "build it as a component of the contract, or remove `tools`")
    } else if prepared.is_plain() && is_undescribed && all.iter().any(calls) {
        let message =
            format!("tool `{name}` has no `description`, and a plain command has none of its own");
        ("plugin", message, "add its purpose: `description = \"Runs Python code\"`")
    } else {
        return None;
    };
    let refused = RefusedPart::default();
    Some(ProviderProblem { provider, key, message, help: Some(help.to_owned()), refused })
}

/// Reads a plugin of at most `most` bytes: a bundled plugin, a file, or the built file of a source folder. Refusals complete a
/// sentence that starts with the plugin.
pub fn read(plugin: &str, folder: &Path, most: u64) -> Result<FoundPlugin, PrepareError> {
    let (origin, path) = match plugin.strip_prefix("bundled:") {
        Some(name) => (Origin::Bundled(bundled(name)?), plugin.into()),
        None => {
            let path = file_of(&folder.join(plugin))?;
            (Origin::File(SuiteFile { path: path.clone(), bytes: most }), path)
        }
    };
    let no_file = |error: io::Error| PrepareError::Machine(machine::no_temporary_file(&error));
    let cannot = |error: io::Error| match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => no_file(error),
        _ => format!("cannot be read: {error} ({})", shown_path(&path)).into(),
    };
    let mut copy = tempfile::tempfile().map_err(no_file)?;
    // Reading one byte more detects a file that is too long.
    let source = origin.open().map_err(cannot)?;
    let source = source.take(most.saturating_add(1));
    let (digest, bytes) = content_source::copy(source, &mut copy).map_err(cannot)?;
    if bytes > most {
        return Err(format!(
            "is larger than {}, the `limits.file` of its provider; raise that limit, or build a smaller file",
            show_size(most)
        ).into());
    }
    if bytes == 0 {
        return Err("is empty; build it again".to_owned().into());
    }
    let mut head = [0; 8];
    let read = copy.read_exact_at(&mut head, 0);
    if read.is_err() || PluginKind::of(&head).is_none() {
        return Err(
            "is not WASM: it has the header of neither a component nor a module; name the `.wasm` file of a built plugin"
                .to_owned()
                .into(),
        );
    }
    Ok(FoundPlugin { digest, bytes, origin, copy })
}

fn bundled(name: &str) -> Result<&'static [u8], String> {
    let found = BUNDLED.iter().find(|(known, _)| *known == name);
    found.map(|(_, bytes)| *bytes).ok_or_else(|| {
        let known = BUNDLED.map(|(name, _)| format!("`bundled:{name}`"));
        match similar(name, BUNDLED.iter().map(|(name, _)| *name)) {
            Some(nearest) => format!("is not bundled; did you mean `bundled:{nearest}`?"),
            None => format!("is not bundled; the bundled plugins are {}", known.join(", ")),
        }
    })
}

/// Returns the built file of a source folder, or the path itself if it is not a folder.
fn file_of(path: &Path) -> Result<PathBuf, String> {
    check_kind(path, |about| about.is_file() || about.is_dir()).map_err(|problem| {
        let near = files_beside(path, Path::new(".")).filter(|_| !path.exists());
        near.map_or_else(|| problem.clone(), |near| format!("{problem}; {near}"))
    })?;
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let source = Source::open(path).map_err(|problem| format!("cannot be used: {problem}"))?;
    let state = source.state();
    let lacks = match state.map_err(|problem| format!("cannot be used: {problem}"))? {
        SourceState::Fresh => return Ok(source.file()),
        _ if matches!(source.lock(), Ok(None)) => {
            return Err("is being built by another process; run this again after that".to_owned());
        }
        SourceState::Stale(why) => format!("is out of date: {why}"),
        SourceState::Missing => "has not been built".to_owned(),
    };
    Err(format!("{lacks}; to build it: {}", source.rebuild_command()))
}

/// Returns a notice for each key and grant that has no effect on its plugin.
pub fn unused_keys(providers: &[PreparedProvider], plugins: &ContentSource) -> Vec<String> {
    let mut notices = Vec::new();
    let mut modules = HashMap::new();
    for prepared in providers {
        let name = &prepared.provider.name;
        let grants = &prepared.provider.grants;
        let role = prepared.provider.role();
        let ignored = ignored(prepared).into_iter().flatten();
        notices.extend(ignored.map(|key| {
            let kind = prepared.kind.as_str();
            format!("{role} `{name}`: `{key}` does nothing for a {kind}")
        }));
        let has_net = !grants.net.is_empty();
        let has_secrets = !grants.secrets.is_empty() || !grants.bound_secrets.is_empty();
        if prepared.kind == PluginKind::Component || !has_net && !has_secrets {
            continue;
        }
        // Commands are modules or components, and only components have `wasi:http`.
        let is_module = *modules.entry(prepared.digest).or_insert_with(|| {
            let head = plugins.head(&prepared.digest);
            head.is_ok_and(|head| PluginKind::of(&head) == Some(PluginKind::Command))
        });
        let texts = [
            (is_module && has_net).then_some(NET_OF_MODULE),
            (is_module && has_secrets).then_some(SECRETS_OF_MODULE),
            (!is_module && !has_net).then_some(SECRETS_WITHOUT_NET),
        ];
        let texts = texts.into_iter().flatten();
        notices.extend(texts.map(|text| format!("{role} `{name}`: {text}")));
    }
    notices
}

/// Returns the keys of a provider that only affect plugins of the other kind.
fn ignored(prepared: &PreparedProvider) -> [Option<&'static str>; 4] {
    let provider = &prepared.provider;
    let is_component = prepared.kind == PluginKind::Component;
    [
        (is_component && !provider.args.templates().is_empty()).then_some("args"),
        (is_component && provider.stdin.is_some()).then_some("stdin"),
        (is_component && provider.output != OutputForm::Text).then_some("output"),
        (!is_component && provider.reuse.is_some()).then_some("reuse"),
    ]
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
        let problem = read("bundled:none", "/nowhere".as_ref(), 1).unwrap_err().to_string();
        assert!(problem.contains("`bundled:echo`"), "{problem}");
    }

    #[test]
    fn invalid_plugins_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("text.wasm"), "#!/bin/sh\n").unwrap();
        fs::write(folder.path().join("empty.wasm"), "").unwrap();
        fs::write(folder.path().join("ok.wasm"), b"\0asm\x01\0\0\0").unwrap();
        let problem =
            |name: &str, most| read(name, folder.path(), most).err().map(|error| error.to_string());
        assert_eq!(problem("ok.wasm", 8), None);
        for (name, most, says) in [
            ("ok.wasm", 7, "limits.file"),
            ("text.wasm", 100, "not WASM"),
            ("empty.wasm", 100, "empty"),
            (".", 100, "folder"),
            ("none.wasm", 100, "does not exist"),
            ("/dev/null", 100, "is neither a file nor a folder"),
        ] {
            let problem = problem(name, most).unwrap();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
