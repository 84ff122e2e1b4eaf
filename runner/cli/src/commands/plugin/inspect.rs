//! `runner plugin inspect`: shows the kind and the needs of a plugin.

use std::iter;

use runner_engine::calls::{self, inspect};
use runner_model::provider::{Description, PluginKind, Protocol, Provider};
use runner_model::{Digest, exit::Exit, units::show_size, visible::visible_line};
use runner_prepare::development::is_development;
use runner_record::PluginCache;
use runner_report::VERSION;
use runner_report::schemars::{self, JsonSchema};
use serde::Serialize;

use super::provider::provider;
use crate::text::{CommandError, Out, progress::compiling_for_call, style};

/// Imports, and exports, that are shown.
const MAX_SHOWN: usize = 1_000;
/// The way in which a plugin answers as a grader.
const GRADER: &str = "replies with a verdict, a score or checks, or with an output such as {\"verdict\": \"pass\", \"score\": 0.9}";
const PLAIN_GRADER: &str = "passes with exit code 0; with `output = \"json\"`, it prints {\"verdict\": \"pass\", \"score\": 0.9}";

/// Show the kind, description and needs of a plugin
///
/// Prints its kind, its description with the grants that it requests, how it answers as a grader, its imports and its exports. The exit code is 2 if a run
/// would refuse the file.
#[derive(clap::Args)]
pub struct Args {
    /// A `.wasm` file, the folder of a built plugin, or `bundled:NAME`
    file: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// `runner plugin inspect`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct InspectDocument<'a> {
    /// Always [`VERSION`].
    pub v: u8,
    /// The plugin as the user typed it.
    pub plugin: &'a str,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Length of the file.
    pub bytes: u64,
    /// Kind of the plugin.
    pub kind: PluginKind,
    /// Whether it is a development form: a loader with the source as data.
    pub development: bool,
    /// Version of the exported contract. `null` for commands.
    pub contract: Option<&'a str>,
    /// The plugin's description of itself. `null` for plain commands.
    pub description: Option<&'a Description>,
    /// The way in which the plugin answers as a grader.
    pub grader: &'a str,
    /// The first imports.
    pub imports: &'a [String],
    /// The first exports.
    pub exports: &'a [String],
    /// Number of further imports and exports.
    pub left_out: usize,
    /// The reason why a run would refuse the file.
    pub problem: Option<String>,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let (sha256, bytes, inspection) = inspect(&args.file)?;
    let cache = PluginCache::open().map_err(CommandError::failed)?;
    let development = is_development(&cache, &sha256);
    let described = describe(&args.file, Protocol::Json, out);
    let described = match described {
        Err(stopped) if has_no_answer(&stopped) => return Err(stopped),
        // A command need not use the JSON protocol, but a run must be able to load it.
        Err(reason) if inspection.kind == PluginKind::Command => {
            let loaded = describe(&args.file, Protocol::Plain, out);
            if loaded.is_ok() {
                let reason = reason.message();
                let reason = reason.split("; its standard error").next().unwrap_or_default();
                out.hint(&format!(
                    "a plain command. If it is meant to use the JSON protocol: {reason}"
                ));
            }
            loaded
        }
        described => described,
    };
    let (description, problem) = match described {
        Ok(description) => (description, None),
        Err(stopped) if has_no_answer(&stopped) => return Err(stopped),
        Err(problem) => (None, Some(problem)),
    };
    let is_plain = inspection.kind == PluginKind::Command && description.is_none();
    let grader = if is_plain { PLAIN_GRADER } else { GRADER };
    let [imports, exports] = [&inspection.imports, &inspection.exports]
        .map(|names| names[..names.len().min(MAX_SHOWN)].to_vec());
    let left_out =
        inspection.imports.len() + inspection.exports.len() - imports.len() - exports.len();
    if args.json {
        out.document(&InspectDocument {
            v: VERSION,
            plugin: &args.file,
            sha256,
            bytes,
            kind: inspection.kind,
            development,
            contract: inspection.contract.as_deref(),
            description: description.as_ref(),
            grader,
            imports: &imports,
            exports: &exports,
            left_out,
            problem: problem.as_ref().map(CommandError::message),
        });
    } else {
        let form = if development { "development form of a " } else { "" };
        out.data(&format!(
            "{}: {form}{}, {}",
            style::bold(&visible_line(&args.file)),
            inspection.kind,
            show_size(bytes)
        ));
        line(out, "sha256", &sha256.to_string());
        inspection.contract.iter().for_each(|contract| line(out, "contract", contract));
        if let Some(description) = &description {
            print_description(description, out);
        }
        line(out, "grader", grader);
        for (title, names) in [("imports", &imports), ("exports", &exports)] {
            let titles = iter::once(title).chain(iter::repeat(""));
            titles.zip(names).for_each(|(title, name)| line(out, title, name));
        }
        if left_out > 0 {
            line(out, "", &format!("… and {left_out} more"));
        }
        if let Some(problem) = &problem {
            out.talk(problem.text());
        }
    }
    Ok(problem.map_or(Exit::Success, |_| Exit::Usage))
}

/// Returns whether a signal or a killed compilation ended a call, which shows nothing about the plugin.
fn has_no_answer(stopped: &CommandError) -> bool {
    matches!(stopped.exit(), Exit::Signal(_) | Exit::Held)
}

fn print_description(about: &Description, out: &Out) {
    line(out, "name", &format!("{} {}", about.name, about.version));
    if !about.summary.is_empty() {
        line(out, "summary", &about.summary);
    }
    about.requests.iter().for_each(|request| line(out, "requests", request));
    for (title, schema) in [("config", &about.config_schema), ("input", &about.input_schema)] {
        if let Some(schema) = schema {
            out.fact(9, title, &format!("{schema:#}"));
        }
    }
}

/// Loads the plugin and returns its own description. `None` for a plain command.
fn describe(
    file: &str,
    protocol: Protocol,
    out: &Out,
) -> Result<Option<Description>, CommandError> {
    let provider = Provider { protocol, ..provider(file)? };
    let described = calls::describe(&provider, &mut |plugin| compiling_for_call(out, plugin));
    out.set_bar(None);
    Ok(described?)
}

fn line(out: &Out, title: &str, text: &str) {
    out.fact(9, title, &visible_line(text));
}
