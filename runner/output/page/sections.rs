//! [`Sections`]: a page of named parts, of which the long ones are cut unless everything is asked for.

use owo_colors::OwoColorize as _;
use serde_json::Value;

use crate::output::{format, table::Table};

/// How many lines of a text are shown.
const MAX_LINES: usize = 40;
/// How many bytes of a line are.
const MAX_LINE_BYTES: usize = 2_000;

/// A page of named parts.
pub(super) struct Sections {
    text: String,
    is_full: bool,
    width: Option<usize>,
    /// Whether something was left out.
    is_cut: bool,
}

impl Sections {
    pub(super) fn new(is_full: bool, width: Option<usize>) -> Self {
        Self {
            text: String::new(),
            is_full,
            width,
            is_cut: false,
        }
    }

    /// What stands above all parts.
    pub(super) fn head(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Begins a part.
    pub(super) fn section(&mut self, title: &str) {
        let title = format::visible_line(title);
        self.text.push_str(&format!("\n\n{}", title.bold()));
    }

    /// A part of lines that are ours.
    pub(super) fn lines(&mut self, title: &str, lines: &str) {
        self.section(title);
        self.line(2, lines);
    }

    /// A part that is a table.
    pub(super) fn table(&mut self, title: &str, table: Table<'_>) {
        let width = self.width.map(|width| width.saturating_sub(2));
        self.lines(title, &table.fitted(width));
    }

    /// A part with somebody's text, of which it has none if that is empty.
    pub(super) fn text(&mut self, title: &str, text: &str) {
        if !text.is_empty() {
            self.section(title);
            self.body(2, text, str::to_owned);
        }
    }

    /// A part with a value.
    pub(super) fn value(&mut self, title: &str, value: &Value) {
        self.section(title);
        self.body(2, &laid_out(value), str::to_owned);
    }

    /// A value below a line of a part.
    pub(super) fn named_value(&mut self, name: &str, value: &Value) {
        let text = laid_out(value);
        if text.contains('\n') {
            self.line(6, &name.dimmed().to_string());
            self.body(8, &text, str::to_owned);
        } else {
            self.body(6, &format!("{name:<9}{text}"), str::to_owned);
        }
    }

    /// Somebody's text below a line of a part, with a name of its own if that is not empty; nothing if there is no text.
    pub(super) fn named_text(&mut self, name: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        if name.is_empty() {
            return self.body(6, text, str::to_owned);
        }
        self.line(6, &name.dimmed().to_string());
        self.body(8, text, str::to_owned);
    }

    /// A diff below a line of a part.
    pub(super) fn diff(&mut self, diff: &str) {
        self.body(6, diff, |line| match line.as_bytes().first() {
            Some(b'-') => line.red().to_string(),
            Some(b'+') => line.green().to_string(),
            _ => line.dimmed().to_string(),
        });
    }

    /// Lines that are ours, indented.
    pub(super) fn line(&mut self, indent: usize, lines: &str) {
        for line in lines.lines() {
            self.text.push_str(&format!("\n{:indent$}{line}", ""));
        }
    }

    /// Lines that are somebody else's, as many as are shown.
    fn body(&mut self, indent: usize, text: &str, paint: impl Fn(&str) -> String) {
        let text = format::visible(text);
        let (most, most_bytes) = match self.is_full {
            true => (usize::MAX, usize::MAX),
            false => (MAX_LINES, MAX_LINE_BYTES),
        };
        for line in text.lines().take(most) {
            let kept = &line[..line.floor_char_boundary(most_bytes)];
            let mut shown = paint(kept);
            if kept.len() < line.len() {
                let more = format!("… {} more", format::size((line.len() - kept.len()) as u64));
                shown += &more.dimmed().to_string();
                self.is_cut = true;
            }
            self.line(indent, if shown.is_empty() { " " } else { &shown });
        }
        let more = text.lines().count().saturating_sub(most);
        if more > 0 {
            self.is_cut = true;
            let more = format::plural(more as u64, "more line");
            self.line(indent, &format!("… {more}").dimmed().to_string());
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.is_cut {
            self.text.push_str("\n\n");
            self.text
                .push_str(&"`--full` shows what is cut here".dimmed().to_string());
        }
        self.text
    }
}

/// A text of several lines as it is, any other value as JSON.
fn laid_out(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains('\n') => text.clone(),
        Value::Array(_) | Value::Object(_) => {
            let line = format::compact(value);
            match line.len() <= 60 {
                true => line,
                false => format::pretty(value),
            }
        }
        other => format::compact(other),
    }
}
