//! [`inspect`]: reads the kind, imports and exports of a WASM file from its sections, without
//! compiling it.

use std::borrow::Cow;

use runner_model::provider::PluginKind;
use serde::{Deserialize, Serialize};
use wasmparser::{
    BinaryReaderError, ComponentExternalKind, Encoding, ExternalKind, Parser, Payload, TypeRef,
};

use super::bounds::{Counts, damaged};

const PACKAGE: &str = "runner:provider/";
/// The contract's export, without its version.
const CONTRACT: &str = "runner:provider/provider@";
const COMMANDS: [&str; 2] = ["wasi:cli/run@0.2.", "wasi:cli/run@0.3."];
/// The version of WASI whose functions need an engine with tasks.
const WASI_0_3: &str = "@0.3.";
/// The host's version of the contract.
const HOST: [u16; 3] = [0, 1, 2];
/// The module of all imports of a preview 1 program.
pub(crate) const PREVIEW_1: &str = "wasi_snapshot_preview1";
/// The functions of preview 1, from its specification.
const PREVIEW_1_FUNCTIONS: &str = "args_get args_sizes_get environ_get environ_sizes_get clock_res_get clock_time_get fd_advise \
    fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get \
    fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_get fd_prestat_dir_name fd_pwrite fd_read fd_readdir \
    fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory path_filestat_get path_filestat_set_times path_link \
    path_open path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff proc_exit proc_raise \
    sched_yield random_get sock_accept sock_recv sock_send sock_shutdown";
/// Packages that the host serves, with their compatible versions.
const SERVED: [(&str, &str); 16] = [
    (PACKAGE, "@0.1."),
    ("wasi:cli/", "@0.2."),
    ("wasi:clocks/", "@0.2."),
    ("wasi:filesystem/", "@0.2."),
    // Only outgoing requests. The handler of incoming ones is missing because nothing listens.
    ("wasi:http/outgoing-handler", "@0.2."),
    ("wasi:http/types", "@0.2."),
    ("wasi:io/", "@0.2."),
    ("wasi:random/", "@0.2."),
    ("wasi:sockets/", "@0.2."),
    ("wasi:cli/", WASI_0_3),
    ("wasi:clocks/", WASI_0_3),
    ("wasi:filesystem/", WASI_0_3),
    ("wasi:http/client", WASI_0_3),
    ("wasi:http/types", WASI_0_3),
    ("wasi:random/", WASI_0_3),
    ("wasi:sockets/", WASI_0_3),
];
/// Characters of a name in a message. The longest of WASI has 60, a hostile file may have one of
/// 100,000.
const SHOWN_CHARACTERS: usize = 120;

/// Facts about a plugin's file, without running it. Cached as JSON by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    pub kind: PluginKind,
    /// Version of the exported contract. `None` for commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// Interfaces such as `wasi:cli/stderr@0.2.6`, or functions of a module such as
    /// `wasi_snapshot_preview1::fd_write`.
    pub imports: Vec<String>,
    /// Interfaces and functions.
    #[serde(default)]
    pub exports: Vec<String>,
}

impl Inspection {
    /// Returns whether it uses interfaces of WASI 0.3, whose calls can wait at the same time.
    pub fn uses_wasi_0_3(&self) -> bool {
        let is_new = |name: &String| name.starts_with("wasi:") && name.contains(WASI_0_3);
        self.imports.iter().chain(&self.exports).any(is_new)
    }

    /// Refuses imports that the host does not offer, all in one message: wasmtime names only the first. It reports missing
    /// functions of a served interface itself.
    pub(super) fn check_imports(&self) -> Result<(), String> {
        let missing = self.imports.iter().map(String::as_str);
        let missing = missing.filter(|import| match import.split_once("::") {
            Some((PREVIEW_1, function)) => {
                PREVIEW_1_FUNCTIONS.split_ascii_whitespace().all(|known| known != function)
            }
            _ => !is_served(import),
        });
        let has_draft = self.imports.iter().any(|import| is_draft(import));
        let advice = if has_draft { "; build it for a final version of WASI" } else { "" };
        match listed(missing, "") {
            missing if missing.is_empty() => Ok(()),
            missing => {
                Err(format!("has imports that this runner does not offer: {missing}{advice}"))
            }
        }
    }
}

/// Inspects a file.
///
/// # Errors
///
/// The file is not a plugin. The message completes the sentence "plugin `FILE` …".
pub fn inspect(wasm: &[u8]) -> Result<Inspection, String> {
    inspect_and_count(wasm).map(|(inspection, _)| inspection)
}

/// Inspects a file and counts its parts.
pub(super) fn inspect_and_count(wasm: &[u8]) -> Result<(Inspection, Counts), String> {
    if wasm.is_empty() {
        return Err("is empty; build it again".to_owned());
    }
    if !wasm.starts_with(b"\0asm") {
        return Err("is not WASM; name the `.wasm` file that its build creates".to_owned());
    }
    let mut surface = Surface::default();
    let mut counts = Counts::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| damaged(&error))?;
        counts.count(&payload)?;
        // Nested modules and components do not matter here.
        if counts.depth() == 1 {
            surface.add(payload).map_err(|error| damaged(&error))?;
        }
    }
    Ok((surface.inspection()?, counts))
}

/// Imports and exports of the outermost module or component.
#[derive(Default)]
struct Surface {
    is_component: bool,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Surface {
    fn add(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.is_component = encoding == Encoding::Component;
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let kind = match import.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => "",
                        TypeRef::Memory(_) => " (memory)",
                        TypeRef::Table(_) => " (table)",
                        TypeRef::Global(_) => " (global)",
                        TypeRef::Tag(_) => " (tag)",
                    };
                    let name = format!("{}::{}{kind}", import.module, import.name);
                    self.imports.push(name);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.exports.push(export.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    let kinds = [ComponentExternalKind::Instance, ComponentExternalKind::Func];
                    if kinds.contains(&export.kind) {
                        self.exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn inspection(self) -> Result<Inspection, String> {
        let (kind, contract) = if self.is_component {
            self.component()?
        } else if self.exports.iter().any(|name| name == "_start") {
            (PluginKind::Command, None)
        } else {
            return Err("is a library, because it has no `_start`; build it as a program for WASI"
                .to_owned());
        };
        Ok(Inspection { kind, contract, imports: self.imports, exports: self.exports })
    }

    fn component(&self) -> Result<(PluginKind, Option<String>), String> {
        // Before the exports, because a command may import the contract, too.
        for import in &self.imports {
            let interface = import.strip_prefix(PACKAGE);
            if let Some((_, version)) = interface.and_then(|interface| interface.split_once('@')) {
                check_version(version)?;
            }
        }
        if let Some(version) = self.exports.iter().find_map(|name| name.strip_prefix(CONTRACT)) {
            check_version(version)?;
            return Ok((PluginKind::Component, Some(version.to_owned())));
        }
        let is_run = |name: &String| COMMANDS.iter().any(|run| name.starts_with(run));
        if self.exports.iter().any(|name| is_run(name) && !is_draft(name)) {
            return Ok((PluginKind::Command, None));
        }
        let is_service = |name: &String| name.starts_with("wasi:http/");
        let advice = if self.exports.iter().any(is_service) {
            "nothing calls a service, so build a command or a provider"
        } else {
            "build it for the world `plugin` of `runner:provider`; in Rust, add `runner_sdk::export!(…)`"
        };
        Err(format!(
            "is a component without a provider: it exports neither `runner:provider/provider` nor `wasi:cli/run` of WASI 0.2 or 0.3, but {}; \
             {advice}",
            listed(self.exports.iter().map(String::as_str), "nothing at all")
        ))
    }
}

/// Returns whether components may import an interface of this name and version.
pub(crate) fn is_served(import: &str) -> bool {
    let is_known =
        |(package, version): &(&str, &str)| import.starts_with(package) && import.contains(version);
    SERVED.iter().any(is_known) && !is_draft(import)
}

/// Returns whether the version of an interface comes before a final one, such as `wasi:cli/run@0.3.0-rc-2026-02-09`.
fn is_draft(name: &str) -> bool {
    name.rsplit_once('@').is_some_and(|(_, version)| version.contains('-'))
}

/// Shortens a name for a message.
fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

/// Lists the first names for a message, and the number of the others. Returns `nothing` without
/// names.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>, nothing: &str) -> String {
    const SHOWN: usize = 20;
    let mut names = names.map(|name| format!("`{}`", shortened(name)));
    let shown: Vec<String> = names.by_ref().take(SHOWN).collect();
    match names.count() {
        0 if shown.is_empty() => nothing.to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Refuses a version of the contract that this host does not support.
fn check_version(text: &str) -> Result<(), String> {
    let numbers: Option<Vec<u16>> = text.split('.').map(|number| number.parse().ok()).collect();
    let version: Option<[u16; 3]> = numbers.and_then(|numbers| numbers.try_into().ok());
    let [major, minor, patch] = HOST;
    if version.as_ref().is_some_and(|version| version[..2] == HOST[..2] && version[2] <= patch) {
        return Ok(());
    }
    let remedy = match version {
        Some(version) if version > HOST => "; it needs a newer runner",
        _ => "; build it for this version",
    };
    Err(format!(
        "is built for version {} of the contract `runner:provider`, but this runner supports {major}.{minor}.{patch}{remedy}",
        shortened(text)
    ))
}

#[cfg(test)]
#[path = "../tests/inspect.rs"]
mod tests;
