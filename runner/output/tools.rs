//! `plugin doctor`.

use std::path::PathBuf;

use serde_json::json;

use super::{
    format::{self, pretty},
    table::{Cell, Column, Table},
    tone::Tone,
};

/// What is known about a tool that plugins are built with.
#[derive(Debug)]
pub struct ToolLine {
    /// The language that is built with it.
    pub language: &'static str,
    /// What people call it.
    pub tool: &'static str,
    /// Whether it is there.
    pub is_found: bool,
    /// Its version, where it is there.
    pub version: Option<String>,
    /// Where it is, if it is a program.
    pub path: Option<PathBuf>,
    /// How it is installed.
    pub install: String,
}

/// A table of tools in at most `width` characters, then how those are installed that are missing.
pub fn tools_text(lines: &[ToolLine], width: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new(""),
        Column::new("language"),
        Column::new("tool"),
        Column::new("version").cut(1, 12),
        Column::new("path").go(0),
    ]);
    for line in lines {
        let path = line.path.as_ref();
        let path = path.map(|path| format::path(path));
        table.row([
            mark(line),
            line.language.into(),
            line.tool.into(),
            line.version.as_deref().unwrap_or("missing").into(),
            path.unwrap_or_default().into(),
        ]);
    }
    let missing = lines.iter().filter(|line| !line.is_found);
    let hints: String = missing
        .map(|line| format!("  {}: {}\n", line.tool, line.install))
        .collect();
    let mut text = table.fitted(width) + "\n";
    if !hints.is_empty() {
        text += "\nin a plugin's folder, these install what is missing:\n";
        text += &hints;
    }
    text
}

fn mark(line: &ToolLine) -> Cell {
    match line.is_found {
        true => Cell::new("✓").painted(Tone::Good),
        false => Cell::new("✗").painted(Tone::Bad),
    }
}

/// One document with the tools.
pub fn tools_json(lines: &[ToolLine]) -> String {
    let tools: Vec<_> = lines
        .iter()
        .map(|line| {
            json!({
                "language": line.language,
                "tool": line.tool,
                "is_found": line.is_found,
                "version": line.version,
                "path": line.path,
                "install": line.install,
            })
        })
        .collect();
    pretty(&json!({ "v": 1, "tools": tools }))
}
