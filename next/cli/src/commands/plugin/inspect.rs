//! `runner plugin inspect`: shows what a plugin is and what it needs.

use std::iter;

use runner_engine::probe::{Answer, Call, call, look};
use runner_model::{
    exit::Exit,
    provider::{Description, PluginKind, Protocol, Provider},
    units::show_size,
    visible::{visible, visible_line},
};
use serde_json::json;

use crate::text::{CommandError, Out, style};

/// Imports and exports that are shown.
const MAX_SHOWN: usize = 1_000;

/// Show what a plugin is and what it needs
///
/// Prints its kind, what it says of itself, what it would like to be granted, and what it imports and exports. The exit code is
/// 2 if the file cannot be used as a plugin.
#[derive(clap::Args)]
pub struct Args {
    /// A `.wasm` file, the folder of a plugin that is built, or `bundled:NAME`
    file: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let (sha256, bytes, looked) = look(&args.file)?;
    let described = describe(&args.file, out);
    let (description, problem) = match described {
        Ok(description) => (description, None),
        // Most commands know nothing of the JSON protocol, and need not.
        Err(reason) if looked.kind == PluginKind::Command => {
            out.hint(&format!("a plain command: {}", reason.message()));
            (None, None)
        }
        Err(problem) => (None, Some(problem)),
    };
    let cut = |names: &[String]| names[..names.len().min(MAX_SHOWN)].to_vec();
    let (imports, exports) = (cut(&looked.imports), cut(&looked.exports));
    let all = looked.imports.len() + looked.exports.len();
    let left_out = all - imports.len() - exports.len();
    if args.json {
        out.document(&json!({
            "v": 1,
            "plugin": args.file,
            "sha256": sha256,
            "bytes": bytes,
            "kind": looked.kind,
            "contract": looked.contract,
            "description": description,
            "imports": imports,
            "exports": exports,
            "left_out": left_out,
            "problem": problem.as_ref().map(CommandError::message),
        }));
    } else {
        out.data(&format!(
            "{}: {}, {}",
            style::bold(&visible_line(&args.file)),
            looked.kind,
            show_size(bytes)
        ));
        out.data(&format!("sha256    {sha256}"));
        if let Some(contract) = &looked.contract {
            out.data(&format!("contract  {}", visible_line(contract)));
        }
        if let Some(description) = &description {
            show_description(description, out);
        }
        for (title, names) in [("imports", &imports), ("exports", &exports)] {
            let titles = iter::once(title).chain(iter::repeat(""));
            for (title, name) in titles.zip(names) {
                out.data(&format!("{title:9} {}", visible_line(name)));
            }
        }
        if left_out > 0 {
            out.data(&format!("{:9} … and {left_out} more", ""));
        }
        if let Some(problem) = &problem {
            out.error(problem);
        }
    }
    Ok(problem.map_or(Exit::Success, |_| Exit::Usage))
}

fn show_description(about: &Description, out: &Out) {
    let line = |title: &str, text: &str| out.data(&visible(&format!("{title:9} {text}")));
    line("name", &format!("{} {}", about.name, about.version));
    if !about.summary.is_empty() {
        line("summary", &about.summary);
    }
    for request in &about.requests {
        line("asks for", &visible_line(request));
    }
    for (title, schema) in [("config", &about.config_schema), ("input", &about.input_schema)] {
        if let Some(schema) = schema {
            line(title, &schema.to_string());
        }
    }
}

/// Lets the plugin describe itself.
fn describe(file: &str, out: &Out) -> Result<Option<Description>, CommandError> {
    let provider = Provider { protocol: Protocol::Json, ..super::provider(file)? };
    let only = Call {
        provider,
        files: Default::default(),
        secret_files: Vec::new(),
        artifacts: None,
        task: None,
    };
    let mut described = None;
    let mut hear = |answer: Answer<'_>| match answer {
        Answer::Compiling(plugin) => out.hint(&format!("compiling {}", visible_line(plugin))),
        Answer::Described(description) => described = description,
        _ => {}
    };
    call(only, &mut hear)?;
    Ok(described)
}
