//! [`Table`]: a table that is no wider than the screen.

use std::borrow::Cow;

use owo_colors::OwoColorize as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::tone::Tone;
use crate::model;

/// What is between two columns.
const GAP: usize = 2;

/// A table without lines. Where there is less room than it wants, its columns give way, those of the lowest rank first.
pub(super) struct Table<'a> {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell<'a>>>,
}

/// A column, and what it does where there is too little room.
pub(super) struct Column {
    name: String,
    is_right: bool,
    gives: Vec<(u8, Give)>,
}

/// How a column gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Give {
    /// Its cells say it shorter.
    Brief,
    /// Its cells are cut, to this many characters at the least.
    Cut(usize),
    /// It goes.
    Go,
}

/// A cell of one line.
#[derive(Clone)]
pub(super) struct Cell<'a> {
    text: Cow<'a, str>,
    /// How wide it is: tables of many lines ask for that again and again.
    width: usize,
    brief: Option<Cow<'a, str>>,
    tone: Tone,
}

impl<'a> Cell<'a> {
    pub(super) fn new(text: impl Into<Cow<'a, str>>) -> Self {
        // A cell has one line, whoever chose its words.
        let text = one_line(text.into());
        Self {
            width: width_of(&text),
            text,
            brief: None,
            tone: Tone::Plain,
        }
    }

    /// What it says where its column must be brief.
    pub(super) fn or(mut self, brief: impl Into<Cow<'a, str>>) -> Self {
        self.brief = Some(one_line(brief.into()));
        self
    }

    /// Tells whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn say(&mut self, text: Cow<'a, str>) {
        self.width = width_of(&text);
        self.text = text;
    }

    pub(super) fn painted(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Cell<'a> {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl Column {
    /// A column that stays as it is.
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_right: false,
            gives: Vec::new(),
        }
    }

    /// Numbers end at its right.
    pub(super) fn right(mut self) -> Self {
        self.is_right = true;
        self
    }

    /// Says it shorter at this rank.
    pub(super) fn brief(self, rank: u8) -> Self {
        self.gives(rank, Give::Brief)
    }

    /// Is cut at this rank, down to `least` characters.
    pub(super) fn cut(self, rank: u8, least: usize) -> Self {
        self.gives(rank, Give::Cut(least))
    }

    /// Goes at this rank.
    pub(super) fn go(self, rank: u8) -> Self {
        self.gives(rank, Give::Go)
    }

    /// Appends a text that is so `wide`, in so many characters, and a gap.
    fn pad(&self, line: &mut String, painted: &str, wide: usize, width: usize) {
        let room = width.saturating_sub(wide);
        let (before, after) = if self.is_right { (room, 0) } else { (0, room) };
        push_spaces(line, before);
        line.push_str(painted);
        push_spaces(line, after + GAP);
    }

    fn gives(mut self, rank: u8, give: Give) -> Self {
        self.gives.push((rank, give));
        self
    }
}

impl<'a> Table<'a> {
    pub(super) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, with a cell for each column.
    pub(super) fn row(&mut self, cells: impl Into<Vec<Cell<'a>>>) {
        self.rows.push(cells.into());
    }

    /// Adds rows that were made elsewhere.
    pub(super) fn rows(&mut self, rows: Vec<Vec<Cell<'a>>>) {
        self.rows.extend(rows);
    }

    /// The table's lines, in at most `width` characters; a reader that is no terminal has room for everything.
    pub(super) fn fitted(mut self, width: Option<usize>) -> String {
        if let Some(width) = width {
            self.fit(width);
        }
        let columns = 0..self.columns.len();
        let widths: Vec<_> = columns.map(|index| self.column_width(index)).collect();
        let mut header = String::new();
        for (column, width) in self.columns.iter().zip(&widths) {
            column.pad(&mut header, &column.name, width_of(&column.name), *width);
        }
        let mut text = header.trim_end().dimmed().to_string();
        for row in &self.rows {
            let start = text.len() + 1;
            text.push('\n');
            for ((column, cell), width) in self.columns.iter().zip(row).zip(&widths) {
                let painted = cell.tone.paint(&cell.text);
                column.pad(&mut text, &painted, cell.width, *width);
            }
            text.truncate(start + text[start..].trim_end_matches(' ').len());
        }
        text
    }

    fn fit(&mut self, width: usize) {
        let mut gives: Vec<_> = self.columns.iter().enumerate().flat_map(gives_of).collect();
        gives.sort_by_key(|(rank, _, _)| *rank);
        // `None` for a column that goes.
        let columns = 0..self.columns.len();
        let mut widths: Vec<_> = columns
            .map(|index| Some(self.column_width(index)))
            .collect();
        for (_, index, give) in gives {
            let over = total(&widths).saturating_sub(width);
            if over == 0 {
                break;
            }
            match give {
                Give::Brief => {
                    self.shorten(index);
                    widths[index] = Some(self.column_width(index));
                }
                Give::Cut(least) => {
                    widths[index] =
                        widths[index].map(|old| old.min(least.max(old.saturating_sub(over))));
                }
                Give::Go => widths[index] = None,
            }
        }
        // What went later may have left room for what was cut before.
        for index in 0..widths.len() {
            let room = width.saturating_sub(total(&widths));
            let wanted = self.column_width(index);
            widths[index] = widths[index].map(|old| wanted.min(old + room));
        }
        self.lay_out(&widths);
    }

    /// Cuts columns to their widths, and takes those away that have none.
    fn lay_out(&mut self, widths: &[Option<usize>]) {
        let mut stays = widths.iter().map(Option::is_some);
        self.columns.retain(|_| stays.next().unwrap_or(true));
        for row in &mut self.rows {
            for (cell, width) in row.iter_mut().zip(widths) {
                let width = width.unwrap_or(0);
                if cell.width > width {
                    cell.say(cut(&cell.text, width).into());
                }
            }
            let mut stays = widths.iter().map(Option::is_some);
            row.retain(|_| stays.next().unwrap_or(true));
        }
    }

    fn shorten(&mut self, index: usize) {
        for cell in self.rows.iter_mut().map(|row| &mut row[index]) {
            if let Some(brief) = cell.brief.take() {
                cell.say(brief);
            }
        }
    }

    fn column_width(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[index].width);
        let header = self.columns[index].name.width();
        cells.chain([header]).max().unwrap_or(0)
    }
}

fn push_spaces(line: &mut String, mut count: usize) {
    const SPACES: &str = "                                                                ";
    while count > 0 {
        let piece = count.min(SPACES.len());
        line.push_str(&SPACES[..piece]);
        count -= piece;
    }
}

/// A text as a cell has it, which mostly is as it was.
fn one_line(text: Cow<'_, str>) -> Cow<'_, str> {
    match model::visible_line(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(visible) => visible.into(),
    }
}

fn gives_of((index, column): (usize, &Column)) -> Vec<(u8, usize, Give)> {
    let gives = column.gives.iter();
    gives.map(|(rank, give)| (*rank, index, *give)).collect()
}

/// How wide columns of these widths are together.
fn total(widths: &[Option<usize>]) -> usize {
    let stays = widths.iter().flatten();
    stays.clone().sum::<usize>() + GAP * stays.count().saturating_sub(1)
}

/// How wide a text without control characters is, which is soon said of most.
fn width_of(text: &str) -> usize {
    match text.is_ascii() {
        true => text.len(),
        false => text.width(),
    }
}

/// Cuts a text that is longer to `width` characters, with a sign that it was.
fn cut(text: &str, width: usize) -> String {
    let mut room = width.saturating_sub(1);
    let fits = |character: &char| {
        let wanted = character.width().unwrap_or(0);
        let fits = wanted <= room;
        room = room.saturating_sub(wanted);
        fits
    };
    let kept: String = text.chars().take_while(fits).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::{Cell, Column, Table};
    use crate::output::tone::Tone;

    fn table() -> Table<'static> {
        let mut table = Table::new([
            Column::new("run").brief(0),
            Column::new("scenario").cut(1, 4).go(3),
            Column::new("done").right().go(2),
        ]);
        for (run, scenario, done) in [("2026-abc", "a long name", "10"), ("2026-def", "ü", "1")] {
            let brief = &run[5..];
            table.row([Cell::new(run).or(brief), scenario.into(), done.into()]);
        }
        table
    }

    #[test]
    fn columns_give_way_by_their_ranks_until_the_table_fits() {
        let shown = |width| {
            let table = table().fitted(width);
            let plain = anstream::adapter::strip_str(&table).to_string();
            if let Some(width) = width {
                assert!(plain.lines().all(|line| line.width() <= width), "{plain}");
            }
            plain
        };
        let full = "\
run       scenario     done
2026-abc  a long name    10
2026-def  ü               1";
        assert_eq!(shown(None), full);
        assert_eq!(shown(Some(27)), full);
        assert_eq!(
            shown(Some(22)),
            "run  scenario     done\nabc  a long name    10\ndef  ü               1"
        );
        assert_eq!(
            shown(Some(19)),
            "run  scenario  done\nabc  a long …    10\ndef  ü            1"
        );
        assert_eq!(shown(Some(13)), "run  scenario\nabc  a long …\ndef  ü");
        assert_eq!(shown(Some(5)), "run\nabc\ndef");
    }

    #[test]
    fn a_colour_is_on_its_cell_alone() {
        let mut table = Table::new([Column::new("a"), Column::new("b")]);
        table.row([Cell::new("x"), Cell::new("x").painted(Tone::Bad)]);
        let text = table.fitted(None);
        assert!(text.ends_with("x  \u{1b}[31mx\u{1b}[39m"), "{text:?}");
    }
}
