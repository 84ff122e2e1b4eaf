//! Lines and tables that fit a width. Colours (`ESC [ … m`) have no width.

use std::iter::repeat_n;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns that a text on one line takes.
pub fn width(text: &str) -> usize {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.len();
    }
    pieces(text)
        .map(|(piece, is_style)| if is_style { 0 } else { piece.width() })
        .sum()
}

/// The text, or its beginning and `…` if it takes more columns.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (kept, rest) = text.split_at(split_at(text, columns.saturating_sub(1)));
    // Colours behind the cut stay, so that they end.
    let colours = pieces(rest).filter(|(_, is_style)| *is_style);
    let mark = if columns > 0 { "…" } else { "" };
    let parts = [kept, mark].into_iter();
    parts.chain(colours.map(|(colour, _)| colour)).collect()
}

/// Breaks lines between words, so that none takes more columns. Words that are longer than a line are broken too. What
/// follows on a new line is indented by two more than its line.
pub fn wrap(text: &str, columns: usize) -> String {
    let lines = text
        .split('\n')
        .map(|line| wrap_line(line, columns.max(20)));
    lines.collect::<Vec<_>>().join("\n")
}

fn wrap_line(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let indent = line
        .chars()
        .take_while(|character| *character == ' ')
        .count();
    let indent = (indent + 2).min(columns / 2);
    let mut wrapped = String::new();
    let mut at = 0;
    for word in line.split_inclusive(' ') {
        let mut word = word;
        loop {
            let wide = width(word.trim_end());
            if at + wide <= columns {
                break;
            }
            if wide + indent > columns {
                // It fits no line: as much of it as there is room for.
                let split = split_at(word, columns.saturating_sub(at));
                wrapped.push_str(&word[..split]);
                word = &word[split..];
            }
            wrapped.truncate(wrapped.trim_end_matches(' ').len());
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            at = indent;
        }
        wrapped.push_str(word);
        at += width(word);
    }
    wrapped.truncate(wrapped.trim_end_matches(' ').len());
    wrapped
}

/// The byte behind the characters that fit these columns.
fn split_at(word: &str, columns: usize) -> usize {
    let (mut at, mut left) = (0, columns);
    for (piece, is_style) in pieces(word) {
        if is_style {
            at += piece.len();
            continue;
        }
        for character in piece.chars() {
            let wide = character.width().unwrap_or(0);
            if wide > left {
                return at;
            }
            left -= wide;
            at += character.len_utf8();
        }
    }
    at
}

/// Splits a text into colours, which are `true`, and what is between them.
pub fn pieces(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let style = style_length(rest);
        let length = if style > 0 {
            style
        } else {
            let mut escapes = rest.match_indices('\u{1b}').map(|(at, _)| at);
            escapes
                .find(|at| style_length(&rest[*at..]) > 0)
                .unwrap_or(rest.len())
        };
        let piece = &rest[..length];
        rest = &rest[length..];
        Some((piece, style > 0))
    })
}

/// Bytes of the colour that a text begins with.
fn style_length(text: &str) -> usize {
    let Some(codes) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let end = codes.find(|character: char| !character.is_ascii_digit() && character != ';');
    match end {
        Some(end) if codes[end..].starts_with('m') => 2 + end + 1,
        _ => 0,
    }
}

/// A table of lines. Columns that matter less are left out if their cells are empty, or where there is no room for all.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

struct Column {
    title: &'static str,
    /// Columns with the highest rank go first; 0 stays.
    rank: u8,
    is_right: bool,
}

impl Column {
    fn title(&self, screen: Option<usize>) -> &'static str {
        let short = self.title.split(" (").next().unwrap_or(self.title);
        screen.map_or(self.title, |_| short)
    }
}

/// Between two columns.
const GAP: usize = 2;
/// What a column is not cut below.
const NARROWEST: usize = 8;

impl Table {
    /// A table with these columns: a title, with `>` behind it if cells stand at the right, and the rank. A screen shows
    /// no ` (…)` of a title.
    pub fn new(columns: &[(&'static str, u8)]) -> Self {
        let column = |(title, rank): &(&'static str, u8)| Column {
            title: title.trim_end_matches('>'),
            rank: *rank,
            is_right: title.ends_with('>'),
        };
        Self {
            columns: columns.iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with a cell for each column.
    pub fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    /// Lays the table out, within this many columns of a screen if there is one.
    pub fn render(&self, screen: Option<usize>) -> String {
        let title = |column: &Column| format!("\u{1b}[2m{}\u{1b}[0m", column.title(screen));
        let titles: Vec<_> = self.columns.iter().map(title).collect();
        let widest = |index: usize| self.rows.iter().map(|row| width(&row[index])).max();
        let columns = self.columns.iter().enumerate();
        let mut widths: Vec<(usize, usize)> = columns
            .map(|(index, column)| (index, column, widest(index).unwrap_or(0)))
            .filter(|(_, column, widest)| column.rank == 0 || *widest > 0)
            .map(|(index, column, widest)| (index, widest.max(column.title(screen).len())))
            .collect();
        if let Some(screen) = screen {
            self.fit(&mut widths, screen);
        }
        let lines = std::iter::once(&titles).chain(&self.rows);
        let lines: Vec<_> = lines.map(|row| self.line(row, &widths)).collect();
        lines.join("\n")
    }

    /// Leaves columns out, then cuts the widest, until all fit.
    fn fit(&self, widths: &mut Vec<(usize, usize)>, screen: usize) {
        let total = |widths: &[(usize, usize)]| -> usize {
            let cells: usize = widths.iter().map(|(_, width)| width).sum();
            cells + GAP * widths.len().saturating_sub(1)
        };
        while total(widths) > screen {
            let rank = |at: &usize| self.columns[widths[*at].0].rank;
            match (0..widths.len()).max_by_key(rank) {
                Some(least) if rank(&least) > 0 => {
                    widths.remove(least);
                }
                _ => break,
            }
        }
        let over = total(widths).saturating_sub(screen);
        if let Some((_, widest)) = widths.iter_mut().max_by_key(|(_, width)| *width) {
            *widest = (*widest).saturating_sub(over).max(NARROWEST.min(*widest));
        }
    }

    fn line(&self, cells: &[String], widths: &[(usize, usize)]) -> String {
        let mut text = String::new();
        for (index, columns) in widths {
            let cell = cut(&cells[*index], *columns);
            let space = columns.saturating_sub(width(&cell));
            let (before, after) = match self.columns[*index].is_right {
                true => (space, 0),
                false => (0, space),
            };
            text.extend(repeat_n(' ', before));
            text.push_str(&cell);
            text.extend(repeat_n(' ', after + GAP));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text
    }
}

#[cfg(test)]
#[path = "../tests/layout.rs"]
mod tests;
