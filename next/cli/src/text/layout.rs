//! Lines and tables that fit a width. Colours (`ESC [ … m`) have no width.

use std::iter::repeat_n;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns that a text on one line takes at most: not every terminal joins emoji to one.
pub fn width(text: &str) -> usize {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.len();
    }
    let apart = |piece: &str| piece.chars().filter_map(|one| one.width()).sum();
    pieces(text)
        .filter(|(_, is_style)| !is_style)
        .map(|(piece, _)| piece.width().max(apart(piece)))
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
    let lines = text.split('\n').map(|line| wrap_line(line, columns.max(20)));
    lines.collect::<Vec<_>>().join("\n")
}

fn wrap_line(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let indent = hanging(line, columns / 2);
    let (mut wrapped, mut at) = (String::new(), 0);
    for mut word in words(line) {
        loop {
            let wide = width(word.trim_end());
            if at + wide <= columns {
                break;
            }
            let room = columns.saturating_sub(at);
            if wide + indent > columns && (at <= indent || room > columns / 3) {
                // It fits no line: as much of it as there is room for, but no scrap of it.
                let split = split_word(word, room);
                wrapped.push_str(&word[..split]);
                word = &word[split..];
            }
            wrapped.truncate(wrapped.trim_end_matches(' ').len());
            wrapped.push('\n');
            wrapped.extend(repeat_n(' ', indent));
            at = indent;
        }
        wrapped.push_str(word);
        at += width(word);
    }
    wrapped.truncate(wrapped.trim_end_matches(' ').len());
    wrapped
}

/// Columns before what follows on a new line: as many as are before the text if the line has a title and two spaces, else two
/// more than are before the line.
fn hanging(line: &str, most: usize) -> usize {
    let lead = line.len() - line.trim_start_matches(' ').len();
    let text = line[lead..].find("  ").map(|title| {
        let text = line[lead + title..].trim_start_matches(' ');
        width(&line[..line.len() - text.len()])
    });
    text.filter(|columns| *columns <= most).unwrap_or(most.min(lead + 2))
}

/// Words with the spaces behind them. A number and the word behind it are one.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let (mut last, mut has_number) = (' ', false);
    line.split_inclusive(move |character| {
        let is_space = character == ' ';
        let is_end = is_space && (has_number || !last.is_ascii_digit());
        has_number = !is_end && (has_number || is_space);
        last = character;
        is_end
    })
}

/// Splits a word that fits no line: behind a mark in its second half that fits, else wherever the line ends.
fn split_word(word: &str, columns: usize) -> usize {
    let end = split_at(word, columns);
    let mark = word[..end].rfind(['/', '-', '_', '@', ',', '&']);
    mark.map_or(end, |mark| if mark > end / 2 { mark + 1 } else { end })
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
            escapes.find(|at| style_length(&rest[*at..]) > 0).unwrap_or(rest.len())
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

/// A table of lines with `N` columns: a title, with `>` behind it if cells stand at the right, and a rank. Columns with a rank are
/// left out if their cells are empty, and where there is no room for all, those with the highest first.
pub struct Table<const N: usize> {
    columns: [(&'static str, u8); N],
    rows: Vec<[String; N]>,
}

/// Between two columns.
const GAP: usize = 2;
/// What a column is cut to before others are left out.
const WIDE: usize = 24;
/// What a column is not cut below.
const NARROWEST: usize = 8;

impl<const N: usize> Table<N> {
    /// A table with these columns. A screen shows no ` (…)` of a title.
    pub fn new(columns: [(&'static str, u8); N]) -> Self {
        let rows = Vec::new();
        Self { columns, rows }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Lays the table out, within this many columns of a screen if there is one. Without a title there is no line of titles.
    pub fn render(&self, screen: Option<usize>) -> String {
        let titles = self.columns.map(|(title, _)| {
            let title = title.trim_end_matches('>');
            let short = screen.and_then(|_| title.split_once(" ("));
            format!("\u{1b}[2m{}\u{1b}[0m", short.map_or(title, |(short, _)| short))
        });
        let has_titles = titles.iter().any(|title| width(title) > 0);
        let lines = std::iter::once(&titles).filter(|_| has_titles);
        let lines = lines.chain(&self.rows);
        let has_cells = |index: &usize| {
            let (_, rank) = self.columns[*index];
            rank == 0 || self.rows.iter().any(|row| !row[*index].is_empty())
        };
        let widest = |index: usize| lines.clone().map(|row| width(&row[index])).max();
        let mut widths: Vec<(usize, usize)> =
            (0..N).filter(has_cells).map(|index| (index, widest(index).unwrap_or(0))).collect();
        if let Some(screen) = screen {
            self.fit(&mut widths, screen);
        }
        let lines: Vec<_> = lines.map(|row| self.line(row, &widths)).collect();
        lines.join("\n")
    }

    /// Leaves columns out, then cuts the widest, until all fit.
    fn fit(&self, widths: &mut Vec<(usize, usize)>, screen: usize) {
        let is_over = |widths: &[(usize, usize)], most: usize| {
            let columns = widths.iter().map(|(_, width)| GAP + most.min(*width));
            columns.sum::<usize>() > screen + GAP
        };
        while is_over(widths, WIDE) {
            let rank = |at: &usize| self.columns[widths[*at].0].1;
            match (0..widths.len()).max_by_key(rank) {
                Some(least) if rank(&least) > 0 => {
                    widths.remove(least);
                }
                _ => break,
            }
        }
        while is_over(widths, usize::MAX) {
            match widths.iter_mut().max_by_key(|(_, width)| *width) {
                Some((_, widest)) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
    }

    fn line(&self, cells: &[String; N], widths: &[(usize, usize)]) -> String {
        let mut text = String::new();
        for (index, columns) in widths {
            let cell = cut(&cells[*index], *columns);
            let space = columns.saturating_sub(width(&cell));
            let (before, after) = match self.columns[*index].0.ends_with('>') {
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
