//! `plugin doctor` and `plugin new`.

use std::path::{Path, PathBuf};

use super::{
    Output, format, quoted,
    table::{Cell, Column, Table},
    tone::Tone,
};
use crate::{
    session::CreatedPlugin,
    view::{ToolList, ToolState},
};

/// Says what a new plugin is, and prints the commands that go on with it.
pub fn print_created(created: &CreatedPlugin, output: &Output) {
    output.plain(&format!(
        "wrote a {} in {} into `{}`: {} files, README.md says what each is for",
        created.kind.as_str(),
        created.language.name(),
        format::path(&created.folder),
        created.files.len()
    ));
    output.talk("to go on:\n");
    created
        .steps
        .iter()
        .for_each(|step| output.plain_data(step));
}

/// Says that a file was written.
pub fn written_line(file: &Path) -> String {
    format!("wrote {}", format::path(file))
}

/// Says what was written of a new project, and what to type.
pub fn print_project(files: &[PathBuf], scenario: &Path, output: &Output) {
    for file in files {
        output.plain(&written_line(file));
    }
    output.talk("to go on:\n");
    let scenario = quoted(&scenario.to_string_lossy());
    output.plain_data(&format!("runner exec {scenario}"));
}

/// A table of tools in at most `width` characters, then how those are installed that are missing.
pub fn tools_text(list: &ToolList, width: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new(""),
        Column::new("language"),
        Column::new("tool"),
        Column::new("version").cut(1, 12),
        Column::new("path").go(0),
    ]);
    for line in &list.tools {
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
    let missing = list.tools.iter().filter(|line| !line.is_found);
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

fn mark(line: &ToolState) -> Cell<'static> {
    match line.is_found {
        true => Cell::new("✓").painted(Tone::Good),
        false => Cell::new("✗").painted(Tone::Bad),
    }
}
