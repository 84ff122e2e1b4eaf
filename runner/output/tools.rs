//! `plugin doctor`.

use std::path::PathBuf;

use owo_colors::OwoColorize as _;
use serde_json::json;

use super::{
    runs::{pretty, with_dim_header},
    summary::{plain_table, trimmed},
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

/// A table of tools, then how those are installed that are missing.
pub fn tools_text(lines: &[ToolLine]) -> String {
    let mut table = plain_table(&["", "language", "tool", "version", "path"]);
    for line in lines {
        let path = line.path.as_ref();
        table.add_row(vec![
            mark(line).to_owned(),
            line.language.to_owned(),
            line.tool.to_owned(),
            line.version.clone().unwrap_or_else(|| "missing".to_owned()),
            path.map(|path| path.display().to_string())
                .unwrap_or_default(),
        ]);
    }
    let missing = lines.iter().filter(|line| !line.is_found);
    let hints: String = missing
        .map(|line| format!("  {}: {}\n", line.tool, line.install))
        .collect();
    let mut text = coloured(lines, &with_dim_header(&trimmed(&table)));
    if !hints.is_empty() {
        text += "\nin a plugin's folder, these install what is missing:\n";
        text += &hints;
    }
    text
}

/// The table with its marks in their colours: it counts the characters of its cells, not their colours.
fn coloured(lines: &[ToolLine], table: &str) -> String {
    let mut rows = table.lines();
    let header = rows.next().unwrap_or_default().to_owned() + "\n";
    let rows = lines.iter().zip(rows).map(|(line, row)| {
        let mark = mark(line);
        let coloured = match line.is_found {
            true => mark.green().to_string(),
            false => mark.red().to_string(),
        };
        row.replacen(mark, &coloured, 1) + "\n"
    });
    header + &rows.collect::<String>()
}

fn mark(line: &ToolLine) -> &'static str {
    match line.is_found {
        true => "✓",
        false => "✗",
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
