//! The matrix of tests and providers, within the columns of a screen, and marks of results.

use std::{
    collections::HashSet,
    iter::{once, repeat_n},
    ops::Range,
};

use runner_model::{Counts, units::grouped, visible::visible_line};
use runner_report::{Mark, MatrixCell, MatrixTest, phrases};

use super::layout::{cut, cut_middle, width, without_keys};
use super::style::{self, Paint};

/// Columns that the ids of tests keep.
const NARROWEST_ID: usize = 16;
/// Columns of a provider's name next to short cells.
const MOST_NAME: usize = 18;
/// Spaces between two columns.
const GAP: usize = 2;

/// Formats the sign of a result.
pub fn mark(mark: Option<Mark>) -> String {
    let Some(mark) = mark else { return style::dim("·") };
    let paint: Paint = match mark {
        Mark::Passed => style::green,
        Mark::Flaky | Mark::Skipped => style::yellow,
        Mark::Failed | Mark::Error | Mark::Timeout | Mark::UnexpectedPass => style::red,
        Mark::Known => style::dim,
    };
    paint(&mark.sign().to_string())
}

/// Returns a legend of the signs, of runs with these counts.
pub fn legend<'a>(runs: impl IntoIterator<Item = &'a Counts>) -> String {
    let (mut has_known, mut has_passes) = (false, false);
    for counts in runs {
        has_known |= counts.known > 0;
        has_passes |= counts.unexpected_passes > 0;
    }
    let shown = Mark::ALL.into_iter().filter(|one| match one {
        Mark::Known => has_known,
        Mark::UnexpectedPass => has_passes,
        _ => true,
    });
    let signs = shown.map(|one| {
        // Elsewhere, a test can be flaky by the results of several runs, too.
        let words =
            if one == Mark::Flaky { "passed on a retry or in some repeats" } else { word(one) };
        format!("{} {words}", mark(Some(one)))
    });
    format!("{}  {} no result", signs.collect::<Vec<_>>().join("  "), mark(None))
}

fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Passed => "passed",
        Mark::Flaky => "flaky",
        Mark::Failed => "failed",
        Mark::Error => "error",
        Mark::Timeout => "timeout",
        Mark::UnexpectedPass => "passes although known",
        Mark::Known => "known",
        Mark::Skipped => "skipped",
    }
}

/// Formats a cell: a word for one trial, the share that passed for repeats, and the score. The short form has no word and no
/// score.
fn cell(cell: Option<&MatrixCell>, is_short: bool) -> String {
    let Some(cell) = cell else { return mark(None) };
    let counts = &cell.counts;
    let all = Mark::of(&cell.counts);
    let words = match (counts.done(), all) {
        (2.., _) => format!(" {}/{}", grouped(counts.passed), grouped(counts.done())),
        (_, Some(_)) if !is_short && counts.unexpected_passes > 0 => " unexpected".to_owned(),
        (_, Some(mark)) if !is_short => format!(" {}", word(mark)),
        _ => String::new(),
    };
    let score = cell.score.filter(|_| !is_short);
    let score = score.map(|score| format!(" {}", phrases::number((score * 100.0).round() / 100.0)));
    format!("{}{words}{}", mark(all), style::dim(&score.unwrap_or_default()))
}

/// A row of a matrix.
pub struct MatrixRow {
    id: String,
    /// A cell for each provider: in words, and short.
    cells: [Vec<String>; 2],
}

impl MatrixRow {
    pub fn new(id: &str, cells: [Vec<String>; 2]) -> Self {
        Self { id: visible_line(id).into_owned(), cells }
    }
}

impl From<&MatrixTest> for MatrixRow {
    fn from(test: &MatrixTest) -> Self {
        let cells = [false, true]
            .map(|is_short| test.cells.iter().map(|one| cell(one.as_ref(), is_short)).collect());
        Self::new(&test.test, cells)
    }
}

/// The columns of a matrix: the tests or other rows, then the providers. All rows are measured before the first line.
pub struct MatrixLayout {
    title: &'static str,
    names: Vec<String>,
    /// The names next to short cells.
    short_names: Vec<String>,
    /// Columns of the ids of rows.
    id: usize,
    /// Columns of the cells of each provider: in words, and short.
    cells: [Vec<usize>; 2],
}

impl MatrixLayout {
    pub fn new(title: &'static str, providers: &[String]) -> Self {
        let names: Vec<_> = providers.iter().map(|name| visible_line(name).into_owned()).collect();
        let short_names = names.iter().map(|name| without_keys(name)).collect();
        let cells = [vec![0; names.len()], vec![0; names.len()]];
        Self { title, names, short_names, id: width(title), cells }
    }

    pub fn measure(&mut self, row: &MatrixRow) {
        self.id = self.id.max(width(&row.id));
        for (widths, cells) in self.cells.iter_mut().zip(&row.cells) {
            for (columns, one) in widths.iter_mut().zip(cells) {
                *columns = width(one).max(*columns);
            }
        }
    }

    /// Fits the columns to a screen. If it is too small for words, cells are short, and names and ids are cut. If it is still too
    /// small, the providers are distributed over several blocks.
    pub fn fit(&self, screen: Option<usize>) -> Vec<MatrixColumns> {
        let screen = screen.unwrap_or(usize::MAX);
        let words = fitted(&self.names, &self.cells[0], usize::MAX);
        if total(self.id, &words) <= screen {
            let providers = 0..words.len();
            return vec![MatrixColumns { id: self.id, widths: words, providers, is_short: false }];
        }
        let least = self.id.min(NARROWEST_ID);
        let most = (MOST_NAME..=screen.saturating_sub(least + GAP)).find(|most| {
            let mut cuts = HashSet::new();
            self.short_names.iter().all(|name| cuts.insert(cut_middle(name, *most)))
        });
        let widths = fitted(&self.short_names, &self.cells[1], most.unwrap_or(MOST_NAME));
        let mut blocks = Vec::new();
        let mut start = 0;
        let mut id = self.id;
        while start < widths.len() {
            let ends = (start + 2..=widths.len())
                .take_while(|end| total(least, &widths[start..*end]) <= screen);
            let end = ends.last().unwrap_or(start + 1);
            let widths = widths[start..end].to_vec();
            id = id.min(screen.saturating_sub(total(0, &widths))).max(least);
            blocks.push(MatrixColumns { id, widths, providers: start..end, is_short: true });
            start = end;
        }
        blocks.iter_mut().for_each(|block| block.id = id);
        blocks
    }

    /// Formats the line of names.
    pub fn titles(&self, columns: &MatrixColumns) -> String {
        let names = if columns.is_short { &self.short_names } else { &self.names };
        let names = names[columns.providers.clone()].iter().zip(&columns.widths);
        let names = names.map(|(name, columns)| style::dim(&cut_middle(name, *columns)));
        columns.line(style::dim(self.title), names)
    }
}

/// Columns that fit a screen: the ids of rows, and some of the providers.
pub struct MatrixColumns {
    id: usize,
    widths: Vec<usize>,
    providers: Range<usize>,
    /// Whether cells have no words.
    pub is_short: bool,
}

impl MatrixColumns {
    /// Formats a row.
    pub fn row(&self, row: &MatrixRow) -> String {
        let cells = &row.cells[usize::from(self.is_short)];
        self.line(cut(&row.id, self.id), cells[self.providers.clone()].iter().cloned())
    }

    fn line(&self, id: String, cells: impl Iterator<Item = String>) -> String {
        let mut line = String::new();
        let columns = once(&self.id).chain(&self.widths);
        for (cell, columns) in once(id).chain(cells).zip(columns) {
            line.push_str(&cell);
            line.extend(repeat_n(' ', columns.saturating_sub(width(&cell)) + GAP));
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    }
}

/// Returns the widths of columns whose names may have `most` columns of the screen.
fn fitted(names: &[String], cells: &[usize], most: usize) -> Vec<usize> {
    let names = names.iter().map(|name| width(name).min(most));
    names.zip(cells).map(|(name, cell)| name.max(*cell)).collect()
}

fn total(id: usize, cells: &[usize]) -> usize {
    id + cells.iter().map(|cell| GAP + cell).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use runner_model::Counts;
    use runner_report::{MatrixCell, MatrixTest};

    use super::MatrixLayout;
    use crate::text::{layout::width, style::plain};

    #[test]
    fn every_line_fits_the_screen() {
        let cell = |passed, failed| {
            let counts = Counts { passed, failed, ..Counts::default() };
            Some(MatrixCell::new(counts, Some(0.126)))
        };
        let long = "long/".repeat(20);
        let tests = [("a", [cell(0, 1), cell(3, 2), None]), (&long, [None, cell(0, 1), None])];
        let tests =
            tests.map(|(id, cells)| MatrixTest { test: id.to_owned(), cells: cells.into() });
        let providers = ["small", "model-with-a-long-name", "x\u{1b}[2J"].map(str::to_owned);
        let shown = |screen| {
            let mut layout = MatrixLayout::new("test", &providers);
            tests.iter().for_each(|test| layout.measure(&test.into()));
            let blocks = layout.fit(screen);
            let lines = blocks.iter().flat_map(|columns| {
                let tests = tests.iter().map(|test| columns.row(&test.into()));
                std::iter::once(layout.titles(columns)).chain(tests)
            });
            lines.map(|line| plain(&line)).collect::<Vec<_>>()
        };
        for columns in 40..200 {
            let lines = shown(Some(columns));
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:#?}");
            assert!(lines.iter().any(|line| line.contains("3/5")), "{columns}: {lines:#?}");
        }
        let wide = shown(None);
        let names = "  small          model-with-a-long-name  x\\u{1b}[2J";
        assert!(wide[0].ends_with(names), "{wide:#?}");
        assert!(wide[1].ends_with("✗ failed 0.13  ~ 3/5 0.13              ·"), "{wide:#?}");
        let narrow = shown(Some(60));
        assert!(narrow[0].ends_with("small  model-wi…long-name  x\\u{1b}[2J"), "{narrow:#?}");
        let blocks = shown(Some(40));
        let titles: Vec<_> = blocks.iter().step_by(3).collect();
        let names = ["small", "model-wi…long-name", "x\\u{1b}[2J"];
        assert_eq!(titles, names.map(|name| format!("{:22}{name}", "test")).each_ref());
    }

    #[test]
    fn short_names_are_distinct() {
        let names = |names: [&str; 2], screen| {
            let layout = MatrixLayout::new("test", &names.map(str::to_owned));
            let blocks = layout.fit(Some(screen)).into_iter();
            blocks.map(|columns| plain(&layout.titles(&columns))).collect::<Vec<_>>()
        };
        let matrix = ["m[model=small,prompt=teacher]", "m[model=large,prompt=teacher]"];
        assert_eq!(names(matrix, 70), [format!("test  {}  {}", matrix[0], matrix[1])]);
        assert_eq!(names(matrix, 60), ["test  m[small,teacher]  m[large,teacher]"]);
        let models = ["provider/small-2026-11-05", "provider/large-2026-11-05"];
        assert_eq!(names(models, 50), ["test  provider/s…2026-11-05  provider/l…2026-11-05"]);
    }
}
