//! `runner plugin doctor`: shows which build tools are installed.

use std::path::PathBuf;

use runner_model::{exit::Exit, visible::shown_path};
use runner_prepare::source::Source;
use runner_report::VERSION;
use serde::Serialize;
use serde_json::json;

use crate::source_build::version_command;
use crate::templates::{self, Template, Tool};
use crate::text::{CommandError, Out, Table, style};

/// Show which tools for building plugins are installed, and how to install the others
///
/// In the folder of a plugin, only the tools of its language. Runs only programs on `PATH`. Tools in the folder (`.venv/bin`, `node_modules`) are found by their files and not run.
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
    /// Version of the tool on `PATH`. `None` if the folder has its own tool, or if the tool is missing.
    version: Option<String>,
    /// The folder's own tool, which a build uses.
    file: Option<PathBuf>,
    install: String,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    if !args.folder.is_dir() {
        let folder = shown_path(&args.folder);
        return Err(CommandError::usage(format!("`{folder}` is not a folder")));
    }
    let mut tools = Vec::new();
    let templates = Template::all();
    let built_with = Source::open(&args.folder).ok();
    let built_with = built_with.and_then(|source| {
        let template = templates.iter().find(|template| template.builds(source.build_line()));
        template.map(|template| template.language().to_owned())
    });
    let language = args.language.clone().or(built_with);
    for template in &templates {
        let only = language.as_deref();
        let language = template.language();
        if only.is_none_or(|only| only == language) {
            tools.extend(template.manifest.tools.iter().map(|tool| {
                let mut files = tool.files.iter().map(|name| args.folder.join(name));
                let file = files.find(|file| file.is_file());
                ToolStatus {
                    language,
                    language_name: template.manifest.language.clone(),
                    tool: tool.name.clone(),
                    version: if file.is_none() { version(tool) } else { None },
                    file,
                    install: tool.install.clone(),
                }
            }));
        }
    }
    let is_complete = !tools.iter().any(ToolStatus::is_missing);
    if args.json {
        out.document(&json!({"v": VERSION, "tools": tools}));
    } else {
        let mut table = Table::new([("language", 0), ("tool", 0), ("version", 0)]);
        for tool in &tools {
            let found = match (&tool.file, &tool.version) {
                (Some(file), _) => shown_path(file),
                (None, Some(version)) => version.clone(),
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

impl ToolStatus {
    fn is_missing(&self) -> bool {
        self.version.is_none() && self.file.is_none()
    }
}

/// Returns the first version in the output of a tool on `PATH`, such as 1.27.3 of `go1.27.3`. `None` if the tool is missing.
fn version(tool: &Tool) -> Option<String> {
    let output = version_command(tool.check.as_deref()?).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.split(|character: char| !character.is_ascii_digit() && character != '.');
    let version = numbers.find(|number| number.contains('.') && number.len() > 2);
    Some(version.map_or("found", |version| version.trim_matches('.')).to_owned())
}
