//! [`create_plugin`]: the folder of a new plugin.

use std::path::{Path, PathBuf};

use miette::miette;

use super::tools::on_path;
use crate::{
    error::Error,
    model::{chain, quoted},
    session::Host,
    toolchain::{Language, SourceKind, Starter, StarterError},
};

/// What is asked for: a new plugin.
#[derive(Clone, Debug)]
pub struct CreatePlugin {
    /// The folder; its last part is the plugin's name.
    pub folder: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// What it becomes; without it what is usual for the language.
    pub kind: Option<SourceKind>,
}

/// A plugin that was created.
#[derive(Clone, Debug)]
pub struct CreatedPlugin {
    /// What it becomes.
    pub kind: SourceKind,
    /// What it is written in.
    pub language: Language,
    /// Its folder.
    pub folder: PathBuf,
    /// Its files, relative to the folder.
    pub files: Vec<PathBuf>,
    /// The commands to go on with, in order; a shell reads them as they are.
    pub steps: Vec<String>,
}

/// Writes the folder of a new plugin, which builds as it is.
///
/// # Errors
///
/// Fails if there is no template for it, if the folder's name cannot be a plugin's, or if the folder cannot be written.
pub fn create_plugin(request: &CreatePlugin, host: &Host) -> Result<CreatedPlugin, Error> {
    let CreatePlugin {
        folder,
        language,
        kind,
    } = request;
    let refused = |error| refused(&error, *language);
    let starter = Starter::new(*language, *kind).map_err(refused)?;
    let files = starter.write(folder).map_err(refused)?;
    let runner = runner(host);
    let mut steps = vec![format!("cd {}", quoted(&folder.display().to_string()))];
    steps.extend(starter.steps().iter().map(|step| (*step).to_owned()));
    steps.push(format!("{runner} plugin build"));
    steps.push(format!("{runner} exec scenario.toml"));
    Ok(CreatedPlugin {
        kind: starter.kind(),
        language: *language,
        folder: folder.clone(),
        files,
        steps,
    })
}

/// How this program is called again: by its name where a shell finds it, else by its path.
fn runner(host: &Host) -> String {
    match on_path(Path::new("runner"), host) {
        Some(_) => "runner".to_owned(),
        None => quoted(&host.program.display().to_string()),
    }
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
