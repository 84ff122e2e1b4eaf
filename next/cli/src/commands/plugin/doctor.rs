//! `runner plugin doctor`: says which tools that build plugins are here.

use std::path::PathBuf;

use runner_model::exit::Exit;
use serde::Serialize;

use crate::{
    source_build::shell,
    templates::{Template, Tool},
    text::{CommandError, Out, Table, style},
};

/// Show which tools that build plugins are here, and how the others are installed
#[derive(clap::Args)]
pub struct Args {
    /// The folder of a plugin, which may have tools of its own
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Look for the tools of this language alone, and exit with 1 if one is missing
    #[arg(long = "lang", value_name = "LANGUAGE", value_parser = super::language())]
    language: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What was found out about a tool.
#[derive(Serialize)]
struct Finding {
    language: &'static str,
    #[serde(skip)]
    shown: String,
    tool: String,
    /// None if it is not there.
    version: Option<String>,
    install: String,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    if !args.folder.is_dir() {
        let folder = args.folder.display();
        return Err(CommandError::usage(format!("`{folder}` is no folder")));
    }
    let mut findings = Vec::new();
    for template in Template::all() {
        let word = template.word();
        let wanted = args.language.as_deref();
        if wanted.is_none_or(|language| language == word) {
            for tool in &template.about.tools {
                findings.push(Finding {
                    language: word,
                    shown: template.about.language.clone(),
                    tool: tool.name.clone(),
                    version: version(args, tool),
                    install: tool.install.clone(),
                });
            }
        }
    }
    let is_complete = findings.iter().all(|finding| finding.version.is_some());
    if args.json {
        out.document(&findings);
    } else {
        let mut table = Table::new([("language", 0), ("tool", 0), ("version", 0)]);
        for finding in &findings {
            let version = match &finding.version {
                Some(version) => version.clone(),
                None => style::yellow("missing"),
            };
            table.row([finding.shown.clone(), finding.tool.clone(), version]);
        }
        out.data(table.render(out.columns()).trim_end());
        for finding in findings.iter().filter(|finding| finding.version.is_none()) {
            out.hint(&format!("{}: {}", finding.tool, finding.install));
        }
    }
    Ok(if args.language.is_some() && !is_complete { Exit::Bad } else { Exit::Success })
}

/// The first version in what a tool prints: `go1.27.3` and `v20.20.2` have one too.
fn version(args: &Args, tool: &Tool) -> Option<String> {
    let answer = shell(&tool.check, &args.folder).output().ok()?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let mut words = text.split(|character| !u8::try_from(character).is_ok_and(is_number));
    let version = words.find(|word| word.contains('.') && word.len() > 2);
    answer.status.success().then(|| match version {
        Some(version) => version.trim_matches('.').to_owned(),
        None => "found".to_owned(),
    })
}
