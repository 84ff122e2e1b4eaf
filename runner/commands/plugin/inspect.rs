//! `runner plugin inspect`.

use std::path::PathBuf;

use miette::miette;

use super::{file, workbench::Workbench};
use crate::{
    cli::InspectArgs,
    commands::Surroundings,
    error::{Error, ExitStatus},
    model::{Digest, Limits, chain},
    output::{self, Inspection, Loaded, Output},
    plugin::{Engine, Kind, PluginFile, Protocol, Surface},
    run,
};

/// Shows what a plugin is and what it needs.
pub(super) fn inspect(
    args: &InspectArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let path = file::find(&args.file, output)?;
    let bytes = PluginFile::read_bytes(&path, Limits::default().file)
        .map_err(|error| Error::usage(miette!("{}", chain(&error))))?;
    let bench = Workbench::new(Engine::new, surroundings, output)?;
    let inspection = look_at(path, bytes, &bench);
    if let Some(status) = bench.stopped() {
        return Ok(status);
    }

    output.data(&if args.json {
        output::inspection_json(&inspection)
    } else {
        output::inspection_text(&inspection, output.width())
    });
    match inspection.problem {
        None => Ok(ExitStatus::Success),
        Some(problem) => Err(Error::usage(miette!("{problem}"))),
    }
}

/// Finds out as much as the file lets anybody know.
fn look_at(path: PathBuf, bytes: Vec<u8>, bench: &Workbench) -> Inspection {
    let mut inspection = Inspection {
        size: bytes.len() as u64,
        sha256: Digest::of(&bytes),
        is_wasm: bytes.starts_with(b"\0asm"),
        surface: Surface::of(&bytes).ok(),
        kind: None,
        loaded: None,
        description: None,
        problem: None,
        path,
    };
    let described = describe(&mut inspection, bytes, bench);
    inspection.problem = described.err();
    inspection
}

/// Compiles the plugin and asks it what it is; fails with the reason why it cannot be used.
fn describe(inspection: &mut Inspection, bytes: Vec<u8>, bench: &Workbench) -> Result<(), String> {
    let path = &inspection.path;
    let file = PluginFile::from_bytes(path, bytes).map_err(|error| chain(&error))?;
    inspection.kind = Some(file.kind);
    let (plugin, took) = bench.link(&file);
    let plugin = plugin.map_err(|error| chain(&error))?;
    let compiled = plugin.compiled();
    inspection.loaded = Some(Loaded { compiled, took });

    let (limits, interrupt) = (Limits::default(), &bench.interrupt);
    let described = run::describe(&plugin, Protocol::Json, limits, bench.guests(), interrupt);
    match (bench.wait(described), file.kind) {
        (Ok(description), _) => inspection.description = description,
        // Most commands know nothing of the JSON protocol, and need not.
        (Err(_), Kind::Command(_)) => {}
        (Err(error), Kind::Component { .. }) => {
            return Err(format!(
                "plugin `{}` cannot be used: {error}",
                path.display()
            ));
        }
    }
    Ok(())
}
