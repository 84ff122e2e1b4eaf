//! [`inspect_plugin`]: what a plugin is and what it needs.

use std::path::Path;

use miette::miette;

use super::{
    bench::{Bench, Interruptible},
    file::plugin_file,
};
use crate::{
    error::Error,
    model::{Limits, chain},
    plugin::{CommandProtocol, Engine, Kind, PluginFile},
    run,
    session::{Host, Observe},
    view::{CompiledPlugin, PluginInspection},
};

/// Finds out as much of a plugin as its file lets anybody know; what is wrong with one that cannot be used is part of the
/// answer.
///
/// # Errors
///
/// Fails if `path` is neither a file that can be read nor the folder of a plugin that is built.
pub fn inspect_plugin(
    path: &Path,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Interruptible<PluginInspection>, Error> {
    let path = plugin_file(path, observe)?;
    let bytes = PluginFile::read_bytes(&path, Limits::default().file)
        .map_err(|error| Error::usage(miette!("{}", chain(&error))))?;
    let bench = Bench::new(Engine::new, host)?;
    let mut inspection = PluginInspection::of(&path, &bytes);
    let described = describe(&mut inspection, bytes, &bench);
    inspection.problem = described.err();
    Ok(match bench.interrupted() {
        None => Interruptible::Done(inspection),
        Some(signal) => Interruptible::Interrupted(signal),
    })
}

/// Compiles the plugin and asks it what it is; fails with the reason why it cannot be used.
fn describe(
    inspection: &mut PluginInspection,
    bytes: Vec<u8>,
    bench: &Bench,
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
