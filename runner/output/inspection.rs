//! `plugin inspect`.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::Duration,
};

use owo_colors::OwoColorize as _;
use serde_json::{Value, json};

use super::{
    format::{self, pretty},
    runs::dim_field,
};
use crate::{
    model::Digest,
    plugin::{CommandForm, Compiled, ContractVersion, Description, Kind, Surface},
};

/// How wide the label before a value is.
const LABEL: usize = 10;
/// How many lines of imports, exports or requests are shown; a plugin of wasm-tools has some thirty of all.
const SHOWN_LINES: usize = 200;
/// Characters of one such line; a name may have 100,000.
const SHOWN_CHARACTERS: usize = 300;
/// How many imports and exports a document has of each.
const SHOWN_ELEMENTS: usize = 1_000;
/// How many lines of a schema are shown; `--json` has all of it.
const SHOWN_SCHEMA_LINES: usize = 1_000;

/// What is known of a plugin's file; of one that cannot be used it is less.
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The name of its bytes.
    pub sha256: Digest,
    /// Whether it begins like WASM.
    pub is_wasm: bool,
    /// What it imports and exports, if it is WASM, whole, and within the bounds of a plugin.
    pub surface: Option<Surface>,
    /// What it is, if it is a plugin that this runner knows how to call.
    pub kind: Option<Kind>,
    /// What it was compiled to, if it could be.
    pub loaded: Option<Loaded>,
    /// What it says of itself, if it does.
    pub description: Option<Description>,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

/// A plugin that is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// What it was compiled to.
    pub compiled: Compiled,
    /// How long it took to have that.
    pub took: Duration,
}

/// What is known, line by line, in lines of at most `width` characters where names can be put on the next one.
pub fn inspection_text(inspection: &Inspection, width: usize) -> String {
    let width = width.saturating_sub(LABEL);
    let mut lines = vec![format::path(&inspection.path).bold().to_string()];
    let mut field = |name: &str, value: String| lines.push(dim_field(name, &value));
    field("kind", kind(inspection));
    match protocol(inspection) {
        Some("json") => field("protocol", "json".to_owned()),
        Some(_) => field("protocol", "plain: it does not describe itself".to_owned()),
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
    if let Some(loaded) = inspection.loaded {
        let size = format::size(loaded.compiled.size);
        field("compiled", format!("{size} in {}", loaded_text(loaded)));
    }
    field("sha256", inspection.sha256.to_string());
    if let Some(surface) = &inspection.surface {
        listed(&grouped(surface, true, width), "imports", &mut field);
        listed(&grouped(surface, false, width), "missing", &mut field);
        listed(&surface.exports, "exports", &mut field);
    }
    if let Some(description) = &inspection.description {
        listed(&description.requests, "requests", &mut field);
        schema("config", description.config_schema.as_ref(), &mut lines);
        schema("input", description.input_schema.as_ref(), &mut lines);
    }
    lines.join("\n")
}

/// One document with what is known.
pub fn inspection_json(inspection: &Inspection) -> String {
    let surface = inspection.surface.as_ref();
    let imports = surface.map(|surface| {
        let imports = surface.imports.iter().take(SHOWN_ELEMENTS);
        let imports =
            imports.map(|import| json!({"name": import.name, "offered": import.is_offered}));
        imports.collect::<Vec<_>>()
    });
    let exports = surface.map(|surface| {
        let exports = surface.exports.iter().take(SHOWN_ELEMENTS);
        exports.collect::<Vec<_>>()
    });
    let left_out = surface.map_or(0, |surface| {
        let beyond = |count: usize| count.saturating_sub(SHOWN_ELEMENTS);
        beyond(surface.imports.len()) + beyond(surface.exports.len())
    });
    let mut document = json!({
        "v": 1,
        "file": inspection.path,
        "size": inspection.size,
        "sha256": inspection.sha256.to_string(),
        "kind": inspection.kind.map(Kind::as_str),
        "form": inspection.kind.and_then(form),
        "protocol": protocol(inspection),
        "contract": surface.and_then(Surface::contract),
        "lifecycle": surface.is_some_and(Surface::has_lifecycle),
        "imports": imports,
        "exports": exports,
        "compiled": inspection.loaded.map(|loaded| json!({
            "size": loaded.compiled.size,
            "cached": loaded.compiled.is_cached,
            "ms": format::millis(loaded.took),
        })),
        "description": inspection.description.as_ref().map(description_json),
        "problem": inspection.problem,
    });
    if left_out > 0 {
        document["left_out"] = left_out.into();
    }
    pretty(&document)
}

/// `1.2 ms, from the cache`.
pub(super) fn loaded_text(loaded: Loaded) -> String {
    let took = format::duration(loaded.took);
    if loaded.compiled.is_cached {
        format!("{took}, from the cache")
    } else {
        format!("{took}, compiled anew")
    }
}

fn description_json(description: &Description) -> Value {
    json!({
        "name": description.name,
        "version": description.version,
        "summary": description.summary,
        "config_schema": description.config_schema,
        "input_schema": description.input_schema,
        "requests": description.requests,
    })
}

fn kind(inspection: &Inspection) -> String {
    let surface = inspection.surface.as_ref();
    match inspection.kind {
        Some(Kind::Component { contract }) => {
            let lifecycle = surface.is_some_and(Surface::has_lifecycle);
            let lifecycle = if lifecycle { ", with lifecycle" } else { "" };
            format!("component of contract {contract}{lifecycle}")
        }
        Some(kind @ Kind::Command(_)) => format!("command ({})", form(kind).unwrap_or_default()),
        None => match surface {
            None if inspection.is_wasm => "WASM, and not read further".to_owned(),
            None => "no WASM".to_owned(),
            Some(surface) => match (surface.contract(), surface.is_component) {
                (Some(version), _) => {
                    let host = ContractVersion::HOST;
                    let version = format::visible_line(version);
                    format!("component of contract {version}; this runner speaks {host}")
                }
                (None, true) => "component, but no plugin".to_owned(),
                (None, false) => "module, but no plugin".to_owned(),
            },
        },
    }
}

/// By which protocol a command is called, if it could be asked.
fn protocol(inspection: &Inspection) -> Option<&'static str> {
    let is_command = matches!(inspection.kind, Some(Kind::Command(_)));
    let is_known = is_command && inspection.loaded.is_some();
    is_known.then_some(match inspection.description {
        Some(_) => "json",
        None => "plain",
    })
}

fn form(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Component { .. } => None,
        Kind::Command(CommandForm::Module) => Some("module of WASI preview 1"),
        Kind::Command(CommandForm::Component) => Some("component of WASI 0.2"),
    }
}

/// Imports by package, as `wasi:cli@0.2.6: environment, exit`, each name once, in lines of `width` characters.
fn grouped(surface: &Surface, is_offered: bool, width: usize) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    let (mut places, mut known) = (HashMap::new(), HashSet::new());
    for import in &surface.imports {
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
