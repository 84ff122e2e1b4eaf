//! `runner plugin inspect`.

use std::path::Path;

use miette::miette;

use super::{file, workbench::Workbench};
use crate::{
    cli::InspectArgs,
    commands::Surroundings,
    error::{Error, ExitStatus},
    model::{Limits, chain},
    output::{self, Output},
    plugin::{CommandProtocol, Engine, Kind, PluginFile},
    run,
    view::{CompiledPlugin, PluginInspection},
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
    let inspection = look_at(&path, bytes, &bench);
    if let Some(status) = bench.stopped() {
        return Ok(status);
    }

    if args.json {
        output.document(&inspection);
    } else {
        output.data(&output::inspection_text(&inspection, output.width()));
    }
    match inspection.problem {
        None => Ok(ExitStatus::Success),
        Some(problem) => Err(Error::usage(miette!("{problem}"))),
    }
}

/// Finds out as much as the file lets anybody know.
fn look_at(path: &Path, bytes: Vec<u8>, bench: &Workbench) -> PluginInspection {
    let mut inspection = PluginInspection::of(path, &bytes);
    let described = describe(&mut inspection, bytes, bench);
    inspection.problem = described.err();
    inspection
}

/// Compiles the plugin and asks it what it is; fails with the reason why it cannot be used.
fn describe(
    inspection: &mut PluginInspection,
    bytes: Vec<u8>,
    bench: &Workbench,
) -> Result<(), String> {
    let file = PluginFile::from_bytes(&inspection.path, bytes).map_err(|error| chain(&error))?;
    inspection.set_kind(file.kind);
    let (plugin, took) = bench.link(&file);
    let plugin = plugin.map_err(|error| chain(&error))?;
    inspection.set_compiled(CompiledPlugin::new(plugin.compiled(), took));

    let (limits, interrupt) = (Limits::default(), &bench.interrupt);
    let described = run::describe(
        &plugin,
        CommandProtocol::Json,
        limits,
        bench.guests(),
        interrupt,
    );
    match (bench.wait(described), file.kind) {
        (Ok(Some(description)), _) => inspection.set_description(description),
        (Ok(None), _) => {}
        // Most commands know nothing of the JSON protocol, and need not.
        (Err(_), Kind::Command(_)) => {}
        (Err(error), Kind::Component { .. }) => {
            return Err(format!(
                "plugin `{}` cannot be used: {error}",
                inspection.path.display()
            ));
        }
    }
    Ok(())
}
