//! `runner plugin new`: writes the folder of a new plugin.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use runner_model::{exit::Exit, provider::PluginKind, visible::visible_line};
use runner_report::phrases::quoted;

use crate::{
    commands::write_new,
    templates::Template,
    text::{CommandError, Out},
};

/// Write the folder of a new plugin, which builds as it is
///
/// It has source, a test, a scenario that uses it, the contract, and a README that says how to go on.
#[derive(clap::Args)]
pub struct Args {
    /// The folder; its last part is the plugin's name
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// What it is written in
    #[arg(long = "lang", value_name = "LANGUAGE", value_parser = super::language())]
    language: String,
    /// What it becomes [default: a component, but a command in C and Go]
    #[arg(long, value_parser = ["component", "command"])]
    kind: Option<String>,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let template = template(&args.language, args.kind.as_deref())?;
    let name = name(&args.folder)?;
    if template.about.sdk && name == "runner-sdk" {
        return Err(CommandError::usage(
            "`runner-sdk` cannot be the name of a plugin in Rust: the crate that it is written with is called so",
        ));
    }
    check_free(&args.folder)?;
    for (path, text) in template.files(&name) {
        let path = args.folder.join(path);
        write_new(&path, text.as_bytes())
            .map_err(|error| CommandError::cannot_write(&path, error))?;
    }
    let folder = args.folder.display().to_string();
    out.data(&format!("wrote {}", visible_line(&folder)));
    let mut next = format!("next, type:\n  cd {}", quoted(&folder));
    let own = ["runner plugin build", "runner exec scenario.toml"];
    for step in template.about.steps.iter().map(String::as_str).chain(own) {
        next.push_str(&format!("\n  {step}"));
    }
    out.hint(&next);
    Ok(Exit::Success)
}

fn template(language: &str, kind: Option<&str>) -> Result<Template, CommandError> {
    let kind = kind.and_then(PluginKind::parse);
    let mut templates = Template::all();
    templates.retain(|template| template.word() == language);
    let known: Vec<_> =
        templates.iter().map(|template| format!("`--kind {}`", template.about.kind)).collect();
    templates
        .into_iter()
        .find(|template| kind.is_none_or(|kind| template.about.kind == kind))
        .ok_or_else(|| {
            let known = known.join(" and ");
            CommandError::usage(format!(
                "there is no such template for `--lang {language}`; there is {known}"
            ))
        })
}

/// Takes the last part of a path for the name of a plugin.
fn name(folder: &Path) -> Result<String, CommandError> {
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    let name = name.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_plain);
    if is_name {
        return Ok(name.into_owned());
    }
    Err(CommandError::usage(format!(
        "`{name}` cannot be a plugin's name, which is of lower-case letters, digits and `-`, begins with a letter, and is at most 64 long"
    )))
}

/// Makes sure that the folder is empty, or can be made.
fn check_free(folder: &Path) -> Result<(), CommandError> {
    let shown = folder.display();
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
    Err(CommandError::usage(format!(
        "`{shown}` is there already, and is no empty folder; choose another name"
    )))
}
