//! `runner plugin doctor`: shows which build tools are installed.

use std::path::PathBuf;

use runner_model::{
    exit::Exit,
    visible::{shown_path, visible_line},
};
use runner_prepare::source::Source;
use runner_report::VERSION;
use runner_report::schemars::{self, JsonSchema};
use serde::Serialize;

use crate::templates;
use crate::text::{CommandError, Out, Table, mistake, style};
use crate::tools::{self, ToolStatus};

/// Show which tools for building plugins are installed, and how to install the others
///
/// In the folder of a plugin, the list has only the tools of its language. Only programs on `PATH` are run. Tools in the folder
/// (`.venv/bin`, `node_modules`) are found by their files.
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

/// `runner plugin doctor`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DoctorDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The tools of all languages.
    pub tools: Vec<ToolStatus>,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    if !args.folder.is_dir() {
        let folder = shown_path(&args.folder);
        return Err(mistake!("`{folder}` is not a folder"));
    }
    let source = Source::open(&args.folder).ok();
    let built_with = source.and_then(|source| tools::language(&source));
    let tools = tools::find(&args.folder, args.language.as_deref().or(built_with));
    let is_complete = !tools.iter().any(ToolStatus::is_missing);
    if args.json {
        out.document(&DoctorDocument { v: VERSION, tools });
    } else {
        let mut table = Table::new([("language", 0), ("tool", 0), ("version", 0)]);
        for tool in &tools {
            let found = match (&tool.file, &tool.version) {
                (Some(file), None) => shown_path(file),
                (_, Some(version)) => visible_line(version).into_owned(),
                (None, None) => style::yellow("missing"),
            };
            table.row([tool.language_name.clone(), tool.tool.clone(), found]);
        }
        out.data(table.render(out.columns()).trim_end());
        for tool in tools.iter().filter(|tool| tool.is_missing()) {
            out.hint(&format!("{}: {}", tool.tool, tool.install));
        }
    }
    Ok(if args.language.is_some() && !is_complete { Exit::Bad } else { Exit::Success })
}
