//! Lines and tables that fit a width. Colours (`ESC [ … m`) take no columns.

use std::iter::repeat_n;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Returns the most columns that a line takes: some terminals draw the emoji of a joined sequence one by one.
pub fn width(text: &str) -> usize {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.len();
    }
    pieces(text)
        .filter(|(_, is_style)| !is_style)
        .map(|(piece, _)| piece.width().max(piece.chars().filter_map(|one| one.width()).sum()))
        .sum()
}

/// Returns the text, cut and ended with `…` if it takes more than `columns`.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (kept, rest) = text.split_at(split_at(text, columns.saturating_sub(1)));
    // The colours after the cut stay, because one of them is the reset.
    let colours = pieces(rest).filter(|(_, is_style)| *is_style).map(|(colour, _)| colour);
    let mark = if columns > 0 { "…" } else { "" };
    [kept, mark].into_iter().chain(colours).collect()
}

/// Returns the text without colours, with `…` in place of its middle if it takes more than `columns`.
pub fn cut_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let start = split_at(text, room / 2);
    let mut ends = text.char_indices().map(|(at, _)| at).filter(|at| *at >= start);
    let end = ends.find(|at| width(&text[*at..]) <= room - room / 2);
    format!("{}…{}", &text[..start], &text[end.unwrap_or(text.len())..])
}

/// Shortens the name of a provider of a matrix, at the end of a text: `gpt[size=small,temp=0]` to `gpt[small,0]`.
pub fn without_keys(text: &str) -> String {
    let name = text.rfind('@').map_or(0, |at| at + 1);
    let values = text[name..].find('[').map(|start| text.split_at(name + start + 1));
    values
        .and_then(|(start, values)| {
            let values =
                values.strip_suffix(']')?.split(',').map(|pair| Some(pair.split_once('=')?.1));
            Some(format!("{start}{}]", values.collect::<Option<Vec<_>>>()?.join(",")))
        })
        .unwrap_or_else(|| text.to_owned())
}

/// Starts of texts that end with their line and may be pasted into a shell: commands of the program, and the folder of a run.
/// The terminal wraps them, so that a copy has no line break.
const PASTED: [&str; 2] = [": runner ", "results: "];

/// Wraps lines between words to at most `columns`, and at least 20. Words that fit no line are split, except [`PASTED`] texts.
/// Continued lines are indented, see [`hanging`].
pub fn wrap(text: &str, columns: usize) -> String {
    text.split('\n').map(|line| wrap_line(line, columns.max(20))).collect::<Vec<_>>().join("\n")
}

fn wrap_line(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    if let Some(at) = PASTED.iter().find_map(|start| Some(line.find(start)? + start.find(':')?)) {
        let (text, pasted) = line.split_at(at + 1);
        return wrap_line(text, columns) + pasted;
    }
    let indent = hanging(line, columns / 2);
    let mut wrapped = String::new();
    let mut column = 0;
    for mut word in words(line) {
        loop {
            let wide = width(word.trim_end());
            if column + wide <= columns {
                break;
            }
            let room = columns.saturating_sub(column);
            if wide + indent > columns && (column <= indent || room > columns / 3) {
                // The word fits no line. A third of a line is enough room for its first part.
                let split = split_word(word, room);
                wrapped.push_str(&word[..split]);
                word = &word[split..];
            }
            wrapped.truncate(wrapped.trim_end_matches(' ').len());
            wrapped.push('\n');
            wrapped.extend(repeat_n(' ', indent));
            column = indent;
        }
        wrapped.push_str(word);
        column += width(word);
    }
    wrapped.truncate(wrapped.trim_end_matches(' ').len());
    wrapped
}

/// Returns the indent of continued lines: the column of the text after a title and two spaces if that is at most `most`, else
/// two more than the line's own indent.
fn hanging(line: &str, most: usize) -> usize {
    let lead = line.len() - line.trim_start_matches(' ').len();
    let text = line[lead..].find("  ").map(|title| {
        let text = line[lead + title..].trim_start_matches(' ');
        width(&line[..line.len() - text.len()])
    });
    text.filter(|columns| *columns <= most).unwrap_or(most.min(lead + 2))
}

/// Splits a line into words with the spaces after them. A number and the word after it stay together, as in `20 ms`.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut last = ' ';
    let mut has_number = false;
    line.split_inclusive(move |character| {
        let is_space = character == ' ';
        let is_end = is_space && (has_number || !last.is_ascii_digit());
        has_number = !is_end && (has_number || is_space);
        last = character;
        is_end
    })
}

/// Returns where to split a word that fits no line: after a mark in the second half of `columns`, else at `columns`.
fn split_word(word: &str, columns: usize) -> usize {
    let end = split_at(word, columns);
    let mark = word[..end].rfind(['/', '-', '_', '@', ',', '&']);
    mark.map_or(end, |mark| if mark > end / 2 { mark + 1 } else { end })
}

/// Returns the byte after the characters that fit into `columns`.
fn split_at(word: &str, columns: usize) -> usize {
    let mut at = 0;
    let mut left = columns;
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

/// Splits a text into colours, with `true`, and the texts between them.
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

/// Returns the length of the colour at the start of a text, or 0.
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

/// A table with `N` columns, each with a title and a rank. A title that ends with `>` aligns its cells to the right, and `…`
/// shortens the names of providers, which have no colours, and then cuts their middle. Columns with a rank above 0 are left out if all their cells are empty, and for lack of room, the highest rank first.
pub struct Table<const N: usize> {
    columns: [(&'static str, u8); N],
    rows: Vec<[String; N]>,
}

/// Spaces between two columns.
const GAP: usize = 2;
/// Width that a column is cut to before another is left out.
const WIDE: usize = 24;
/// Width that a column is never cut below.
const NARROWEST: usize = 8;

impl<const N: usize> Table<N> {
    /// Creates a table with these columns. On a screen, a ` (…)` at the end of a title is left out.
    pub fn new(columns: [(&'static str, u8); N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row. A line break in a cell is shown as `\n`, so that no cell can imitate a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| cell.replace('\r', r"\r").replace('\n', r"\n")));
    }

    /// Renders the table, within the columns of a screen if there is one. If all titles are empty, it has no line of titles.
    pub fn render(&self, screen: Option<usize>) -> String {
        let titles = self.columns.map(|(title, _)| {
            let title = title.trim_end_matches(['>', '…']);
            let short = screen.and_then(|_| title.split_once(" ("));
            format!("\u{1b}[2m{}\u{1b}[0m", short.map_or(title, |(short, _)| short))
        });
        let has_titles = titles.iter().any(|title| width(title) > 0);
        let lines = std::iter::once(&titles).filter(|_| has_titles).chain(&self.rows);
        let shown = (0..N).filter(|index| {
            let (_, rank) = self.columns[*index];
            rank == 0 || self.rows.iter().any(|row| !row[*index].is_empty())
        });
        let widest = |index: usize| lines.clone().map(|row| width(&row[index])).max();
        let mut widths: Vec<(usize, usize)> =
            shown.map(|index| (index, widest(index).unwrap_or(0))).collect();
        if let Some(screen) = screen {
            self.fit(&mut widths, screen);
        }
        let mut rows: Vec<_> = lines.clone().cloned().collect();
        for (index, columns) in &mut widths {
            let is_cut = widest(*index).is_some_and(|widest| widest > *columns);
            if is_cut && self.columns[*index].0.ends_with('…') {
                rows.iter_mut().for_each(|row| row[*index] = without_keys(&row[*index]));
                let shortest = rows.iter().map(|row| width(&row[*index])).max();
                *columns = shortest.unwrap_or(0).min(*columns);
            }
        }
        rows.iter().map(|row| self.line(row, &widths)).collect::<Vec<_>>().join("\n")
    }

    /// Leaves columns out and then cuts the widest, until the rest fits.
    fn fit(&self, widths: &mut Vec<(usize, usize)>, screen: usize) {
        while is_over(widths, WIDE, screen) {
            let ranks = widths.iter().map(|(column, _)| self.columns[*column].1);
            match ranks.enumerate().max_by_key(|(_, rank)| *rank) {
                Some((least, rank)) if rank > 0 => {
                    widths.remove(least);
                }
                _ => break,
            }
        }
        while is_over(widths, usize::MAX, screen) {
            match widths.iter_mut().max_by_key(|(_, width)| *width) {
                Some((_, widest)) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
    }

    fn line(&self, cells: &[String; N], widths: &[(usize, usize)]) -> String {
        let mut text = String::new();
        for (index, columns) in widths {
            let title = self.columns[*index].0;
            let cut = if title.ends_with('…') { cut_middle } else { cut };
            let cell = cut(&cells[*index], *columns);
            let space = columns.saturating_sub(width(&cell));
            let is_right = title.ends_with('>');
            let (before, after) = if is_right { (space, 0) } else { (0, space) };
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

fn is_over(widths: &[(usize, usize)], most: usize, screen: usize) -> bool {
    let columns = widths.iter().map(|(_, width)| GAP + most.min(*width));
    columns.sum::<usize>() > screen + GAP
}
