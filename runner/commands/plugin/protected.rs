//! What no guest of `plugin run` may write to because this process reads or writes it.
//!
//! The list is made of all that the command is told, field by field: whoever adds a field is asked by the compiler whether
//! it names something that belongs here.

use std::path::Path;

use crate::{
    cli::RehearseArgs, commands::Surroundings, run::Protected, session::protected, toolchain,
};

/// What `plugin run` uses; `plugin` is the file that was found for its argument.
pub(super) fn of_rehearsal(
    args: &RehearseArgs,
    plugin: &Path,
    surroundings: &Surroundings,
) -> Vec<Protected> {
    let RehearseArgs {
        file,
        input,
        config,
        attachments,
        stdin,
        secrets,
        artifacts,
        seed: _,
        timeout: _,
        repeat: _,
        protocol: _,
        output: _,
        args: _,
        grants: _,
        limits: _,
        fuel: _,
        json: _,
    } = args;
    let mut kept = Vec::new();
    if file.is_dir() {
        let folders = toolchain::folders(file);
        let folders = folders.iter();
        kept.extend(folders.map(|folder| Protected::folder("the source of the plugin", folder)));
    } else {
        kept.push(Protected::file("the plugin", file));
    }
    // One that was built is in another place than the argument says.
    kept.push(Protected::file("the plugin", plugin));
    let values = [
        ("the input", input),
        ("the configuration", config),
        ("the standard input", stdin),
    ];
    kept.extend(values.into_iter().filter_map(|(what, text)| {
        let path = text.as_deref()?.strip_prefix('@')?;
        Some(Protected::file(what, Path::new(path)))
    }));
    kept.extend(attachments.iter().filter_map(|text| {
        let (_, path) = text.split_once('=')?;
        Some(Protected::file("an attachment", Path::new(path)))
    }));
    let artifacts = artifacts.iter();
    kept.extend(artifacts.map(|folder| Protected::folder("the folder of its artifacts", folder)));
    kept.extend(protected::of_root(
        &surroundings.results,
        &surroundings.host,
    ));
    kept.extend(protected::of_secrets(&secrets.files));
    kept.extend(protected::of_process(&surroundings.host));
    kept
}
