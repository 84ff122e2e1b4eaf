//! `runner plugin new`: writes the folder of a new plugin.

use std::path::{Path, PathBuf};
use std::{fs, io};

use runner_model::exit::Exit;
use runner_model::visible::{quoted_path, shown_path};

use crate::commands::init::write_new;
use crate::templates::{self, Template};
use crate::text::{CommandError, Out, mistake};

/// Write the folder of a new plugin that builds as it is
///
/// The folder has source, a test, a scenario, the contract, and a README with the next steps.
#[derive(clap::Args)]
pub struct Args {
    /// The folder; its last part is the plugin's name
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// The language of its source
    #[arg(long = "lang", value_name = "LANGUAGE", value_parser = templates::languages())]
    language: String,
    /// The kind of plugin; an agent is a component that calls tools [default: a component, but a command in C and Go]
    #[arg(long, value_parser = ["component", "command", "agent"])]
    kind: Option<String>,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let template = template(&args.language, args.kind.as_deref())?;
    let name = name(&args.folder)?;
    if template.manifest.sdk && name == "runner-sdk" {
        return Err(mistake!(
            "choose another name: plugins in Rust use a crate that is named `runner-sdk`"
        ));
    }
    check_free(&args.folder)?;
    let mut build = "runner plugin build";
    for (path, text) in template.files(&name) {
        if path == Path::new("plugin.toml") && text.contains("[dev]") {
            build = "runner plugin build --dev";
        }
        let path = args.folder.join(path);
        write_new(&path, text.as_bytes()).map_err(|error| {
            // The folder was missing or empty, and the command can be repeated.
            let _ = fs::remove_dir_all(&args.folder);
            CommandError::cannot_write(&path, &error)
        })?;
    }
    out.data(&format!("wrote {}", shown_path(&args.folder)));
    let folder = quoted_path(&args.folder);
    let mut next = format!("next, type:\n  cd {folder}");
    let own = [build, "runner exec scenario.toml"];
    for step in template.manifest.steps.iter().map(String::as_str).chain(own) {
        next.push_str(&format!("\n  {step}"));
    }
    out.hint(&next);
    Ok(Exit::Success)
}

fn template(language: &str, kind: Option<&str>) -> Result<Template, CommandError> {
    let mut templates = Template::all();
    templates.retain(|template| template.language() == language);
    if let Some(place) =
        templates.iter().position(|template| kind.is_none_or(|kind| template.kind() == kind))
    {
        return Ok(templates.swap_remove(place));
    }
    let Some(template) = templates.first() else {
        return Err(mistake!("no template for `--lang {language}`"));
    };
    Err(mistake!(
        "plugins in {} are {}s; leave out `--kind`",
        template.manifest.language,
        template.manifest.kind
    ))
}

/// Returns the last part of a path, if it is a valid name.
fn name(folder: &Path) -> Result<String, CommandError> {
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    let name = name.to_string_lossy();
    let is_name = name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_name {
        return Ok(name.into_owned());
    }
    Err(mistake!(
        "invalid plugin name `{name}`: use lower-case letters, digits and `-`, start with a letter, at most 64 characters"
    ))
}

/// Checks that the folder is empty or missing.
fn check_free(folder: &Path) -> Result<(), CommandError> {
    let shown = shown_path(folder);
    let is_free = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => false,
        Err(error) => {
            let problem = format!("cannot read {shown}: {error}");
            return Err(CommandError::new(Exit::Storage, problem));
        }
    };
    if is_free {
        return Ok(());
    }
    Err(mistake!("`{shown}` already exists and is not an empty folder; choose another name"))
}
