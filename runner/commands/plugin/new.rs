//! `runner plugin new`.

use std::path::Path;

use miette::miette;

use super::{
    super::Surroundings,
    languages::{language, on_path},
};
use crate::{
    cli::{NewArgs, PluginKind},
    error::{Error, ExitStatus},
    model::chain,
    output::{self, Output},
    toolchain::{Language, SourceKind, Starter, StarterError},
};

/// Writes the folder of a new plugin, and says how to go on.
pub(super) fn new(
    args: &NewArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let kind = args.kind.map(|kind| match kind {
        PluginKind::Component => SourceKind::Component,
        PluginKind::Command => SourceKind::Command,
    });
    let in_language = language(args.language);
    let refused = |error| refused(&error, in_language);
    let starter = Starter::new(in_language, kind).map_err(refused)?;
    let files = starter.write(&args.folder).map_err(refused)?;

    output.plain(&format!(
        "wrote a {} in {} into `{}`: {} files, README.md says what each is for",
        starter.kind().as_str(),
        in_language.name(),
        args.folder.display(),
        files.len()
    ));
    output.talk("to go on:\n");
    let runner = runner(surroundings);
    output.plain_data(&format!("cd {}", quoted(&args.folder)));
    for step in starter.steps() {
        output.data(step);
    }
    output.plain_data(&format!("{runner} plugin build"));
    output.plain_data(&format!("{runner} exec scenario.toml"));
    Ok(ExitStatus::Success)
}

/// How this program is called again: by its name where a shell finds it, else by its path.
fn runner(surroundings: &Surroundings) -> String {
    let name = Path::new("runner");
    match on_path(name, &surroundings.host.search_path) {
        Some(_) => "runner".to_owned(),
        None => quoted(&surroundings.host.program),
    }
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    output::quoted(&path.display().to_string())
}

fn refused(error: &StarterError, in_language: Language) -> Error {
    let text = chain(error);
    let help = match error {
        StarterError::Kind { language, .. } => help_for_kind(*language),
        StarterError::Name(_) | StarterError::Taken => format!(
            "for example: runner plugin new word-count --lang {}",
            in_language.as_str()
        ),
        StarterError::Exists(_) => "choose another name, or remove what is there".to_owned(),
        StarterError::NoFolder(_) | StarterError::Write { .. } => {
            return Error::usage(miette!("{text}"));
        }
    };
    Error::usage(miette!(help = help, "{text}"))
}

fn help_for_kind(language: Language) -> String {
    let kind = language.usual_kind();
    let others: Vec<_> = Language::ALL
        .into_iter()
        .filter(|other| other.usual_kind() != kind)
        .map(|other| format!("`--lang {}`", other.as_str()))
        .collect();
    let (last, others) = others.split_last().expect("each kind has languages");
    format!(
        "leave `--kind` out for a {}, or choose {} or {last}",
        kind.as_str(),
        others.join(", ")
    )
}
