//! `runner plugin doctor`: shows which build tools are installed.

use std::path::PathBuf;

use runner_model::exit::Exit;
use serde::Serialize;

use crate::source_build::shell;
use crate::templates::{self, Template, Tool};
use crate::text::{CommandError, Out, Table, style};

/// Show which tools for building plugins are installed, and how to install the others
#[derive(clap::Args)]
pub struct Args {
    /// The folder of a plugin, which may have its own tools
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Check only the tools of this language, and exit with 1 if one is missing
    #[arg(long = "lang", value_name = "LANGUAGE", value_parser = templates::languages())]
    language: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ToolStatus {
    language: &'static str,
    #[serde(skip)]
    language_name: String,
    tool: String,
    /// `None` if the tool is missing.
    version: Option<String>,
    install: String,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    if !args.folder.is_dir() {
        let folder = args.folder.display();
        return Err(CommandError::usage(format!("`{folder}` is not a folder")));
    }
    let mut tools = Vec::new();
    for template in Template::all() {
        let language = template.language();
        if args.language.as_deref().is_none_or(|only| only == language) {
            tools.extend(template.manifest.tools.iter().map(|tool| ToolStatus {
                language,
                language_name: template.manifest.language.clone(),
                tool: tool.name.clone(),
                version: version(args, tool),
                install: tool.install.clone(),
            }));
        }
    }
    let is_complete = tools.iter().all(|tool| tool.version.is_some());
    if args.json {
        out.document(&tools);
    } else {
        let mut table = Table::new([("language", 0), ("tool", 0), ("version", 0)]);
        for tool in &tools {
            let version = tool.version.clone().unwrap_or_else(|| style::yellow("missing"));
            table.row([tool.language_name.clone(), tool.tool.clone(), version]);
        }
        out.data(table.render(out.columns()).trim_end());
        for tool in tools.iter().filter(|tool| tool.version.is_none()) {
            out.hint(&format!("{}: {}", tool.tool, tool.install));
        }
    }
    Ok(if args.language.is_some() && !is_complete { Exit::Bad } else { Exit::Success })
}

/// Returns the first version in the output of a tool, such as 1.27.3 of `go1.27.3`. `None` if the tool is missing.
fn version(args: &Args, tool: &Tool) -> Option<String> {
    let output = shell(&tool.check, &args.folder).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.split(|character: char| !character.is_ascii_digit() && character != '.');
    let version = numbers.find(|number| number.contains('.') && number.len() > 2);
    Some(version.map_or("found", |version| version.trim_matches('.')).to_owned())
}
