//! `plugin inspect`.

use std::collections::{HashMap, HashSet};

use owo_colors::OwoColorize as _;
use serde_json::Value;

use super::{
    format::{self, pretty},
    runs::dim_field,
};
use crate::{
    plugin::{ContractVersion, Kind},
    view::{CompiledPlugin, PluginImport, PluginInspection},
};

/// How wide the label before a value is.
const LABEL: usize = 10;
/// How many lines of imports, exports or requests are shown; a plugin of wasm-tools has some thirty of all.
const SHOWN_LINES: usize = 200;
/// Characters of one such line; a name may have 100,000.
const SHOWN_CHARACTERS: usize = 300;
/// How many lines of a schema are shown; `--json` has all of it.
const SHOWN_SCHEMA_LINES: usize = 1_000;

/// How a plugin answers as a grader that speaks the contract or its protocol.
const GRADES_BY_REPLY: &str =
    "verdict, score and checks, or an output like {\"verdict\": \"pass\"}";
/// The same of a plain command.
const GRADES_BY_EXIT_CODE: &str =
    "exit code 0 passes; what it prints says why, or is JSON with a score";

/// What is known, line by line, in lines of at most `width` characters where names can be put on the next one.
pub fn inspection_text(inspection: &PluginInspection, width: usize) -> String {
    let width = width.saturating_sub(LABEL);
    let mut lines = vec![format::path(&inspection.path).bold().to_string()];
    let mut field = |name: &str, value: String| lines.push(dim_field(name, &value));
    field("kind", kind(inspection));
    match inspection.protocol {
        Some("json") => field("protocol", "json".to_owned()),
        Some(_) => field("protocol", "plain: it does not describe itself".to_owned()),
        None => {}
    }
    match inspection.grades_by {
        Some("reply") => field("grades by", GRADES_BY_REPLY.to_owned()),
        Some(_) => field("grades by", GRADES_BY_EXIT_CODE.to_owned()),
        None => {}
    }
    if let Some(description) = &inspection.description {
        let name = format!("{} {}", description.name, description.version);
        field("name", format::visible_line(&name));
        field(
            "summary",
            format::visible(&description.summary).into_owned(),
        );
    }
    field("size", format::size(inspection.size));
    if let Some(compiled) = &inspection.compiled {
        let size = format::size(compiled.size);
        field("compiled", format!("{size} in {}", loaded_text(compiled)));
        let sandboxes = match &compiled.unpooled {
            None => "pooled".to_owned(),
            Some(why) => format!("made on demand: {}", format::visible(why)),
        };
        field("sandboxes", sandboxes);
    }
    field("sha256", inspection.sha256.to_string());
    if let Some(imports) = &inspection.imports {
        listed(&grouped(imports, true, width), "imports", &mut field);
        listed(&grouped(imports, false, width), "missing", &mut field);
    }
    if let Some(exports) = &inspection.exports {
        listed(exports, "exports", &mut field);
    }
    if let Some(description) = &inspection.description {
        listed(&description.requests, "requests", &mut field);
        schema("config", description.config_schema.as_ref(), &mut lines);
        schema("input", description.input_schema.as_ref(), &mut lines);
    }
    lines.join("\n")
}

/// `1.2 ms, from the cache`.
pub(super) fn loaded_text(compiled: &CompiledPlugin) -> String {
    let took = format::duration(compiled.took);
    if compiled.is_cached {
        format!("{took}, from the cache")
    } else {
        format!("{took}, compiled anew")
    }
}

fn kind(inspection: &PluginInspection) -> String {
    match inspection.kind {
        Some(Kind::Component { contract }) => {
            let lifecycle = match inspection.lifecycle {
                true => ", with lifecycle",
                false => "",
            };
            format!("component of contract {contract}{lifecycle}")
        }
        Some(Kind::Command(_)) => format!("command ({})", inspection.form.unwrap_or_default()),
        None if inspection.imports.is_none() => match inspection.is_wasm {
            true => "WASM, and not read further".to_owned(),
            false => "no WASM".to_owned(),
        },
        None => match (&inspection.contract, inspection.is_component) {
            (Some(version), _) => {
                let host = ContractVersion::HOST;
                let version = format::visible_line(version);
                format!("component of contract {version}; this runner speaks {host}")
            }
            (None, true) => "component, but no plugin".to_owned(),
            (None, false) => "module, but no plugin".to_owned(),
        },
    }
}

/// Imports by package, as `wasi:cli@0.2.6: environment, exit`, each name once, in lines of `width` characters.
fn grouped(imports: &[PluginImport], is_offered: bool, width: usize) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    let (mut places, mut known) = (HashMap::new(), HashSet::new());
    for import in imports {
        // A module may import a function more than once.
        if import.is_offered != is_offered || !known.insert(&import.name) {
            continue;
        }
        let (package, name) = in_package(&import.name);
        let place = *places.entry(package).or_insert_with_key(|package| {
            groups.push((package.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(name);
    }
    let lines = groups.into_iter();
    lines
        .flat_map(|(package, names)| wrapped(package, &names, width))
        .collect()
}

fn wrapped(package: String, names: &[&str], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = package;
    for (index, name) in names.iter().filter(|name| !name.is_empty()).enumerate() {
        line += if index == 0 { ": " } else { "," };
        // With the blank before it and the comma behind it.
        if line.chars().count() + name.chars().count() + 2 > width {
            lines.push(std::mem::replace(&mut line, " ".to_owned()));
        }
        if index > 0 {
            line += " ";
        }
        line += name;
    }
    lines.push(line);
    lines
}

/// `wasi:cli/exit@0.2.6` is `exit` in `wasi:cli@0.2.6`.
fn in_package(import: &str) -> (String, &str) {
    if let Some((module, name)) = import.split_once("::") {
        return (module.to_owned(), name);
    }
    let Some((package, rest)) = import.split_once('/') else {
        return (import.to_owned(), "");
    };
    match rest.split_once('@') {
        Some((name, version)) => (format!("{package}@{version}"), name),
        None => (package.to_owned(), rest),
    }
}

/// A field with a line for each element.
fn listed(elements: &[String], name: &str, field: &mut impl FnMut(&str, String)) {
    for (index, element) in elements.iter().take(SHOWN_LINES).enumerate() {
        let element = match element.char_indices().nth(SHOWN_CHARACTERS) {
            Some((end, _)) => format::visible_line(&element[..end]) + "…",
            None => format::visible_line(element),
        };
        let element = match name {
            "missing" => element.red().to_string(),
            _ => element,
        };
        field(if index == 0 { name } else { "" }, element);
    }
    let more = elements.len().saturating_sub(SHOWN_LINES);
    if more > 0 {
        field("", format!("… and {more} more"));
    }
}

fn schema(name: &str, schema: Option<&Value>, lines: &mut Vec<String>) {
    if let Some(schema) = schema {
        lines.push(String::new());
        lines.push(format!("schema of its {name}").dimmed().to_string());
        let text = pretty(schema);
        lines.extend(text.lines().take(SHOWN_SCHEMA_LINES).map(str::to_owned));
        let more = text.lines().count().saturating_sub(SHOWN_SCHEMA_LINES);
        if more > 0 {
            lines.push(format!("… and {more} more lines, which `--json` shows"));
        }
    }
}
