//! The matrix of tests and providers, within the columns of a screen, and marks of results.

use std::iter::{once, repeat_n};

use runner_model::{units::grouped, visible::visible_line};
use runner_report::{Mark, MatrixCell, MatrixTest, phrases};

use super::layout::{cut, cut_middle, width};
use super::style::{self, Paint};

/// Columns that the ids of tests keep.
const NARROWEST_ID: usize = 16;
/// Columns that the name of a provider keeps.
const NARROWEST_NAME: usize = 4;
/// Spaces between two columns.
const GAP: usize = 2;

/// Formats the sign of a result.
pub fn mark(mark: Option<Mark>) -> String {
    let Some(mark) = mark else { return style::dim("·") };
    let paint: Paint = match mark {
        Mark::Passed => style::green,
        Mark::Flaky | Mark::Skipped => style::yellow,
        Mark::Failed | Mark::Error | Mark::Timeout => style::red,
    };
    paint(&mark.sign().to_string())
}

/// Returns a legend of the signs.
pub fn legend() -> String {
    let signs = Mark::ALL.map(|one| format!("{} {}", mark(Some(one)), word(one)));
    format!("{}  {} no result", signs.join("  "), mark(None))
}

fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Passed => "passed",
        Mark::Flaky => "flaky",
        Mark::Failed => "failed",
        Mark::Error => "error",
        Mark::Timeout => "timeout",
        Mark::Skipped => "skipped",
    }
}

/// Formats a cell: a word for one trial, the share that passed for repeats, and the score. The short form has no word and no
/// score.
fn cell(cell: Option<&MatrixCell>, is_short: bool) -> String {
    let Some(cell) = cell else { return mark(None) };
    let (counts, sign) = (&cell.counts, mark(cell.mark()));
    let words = match (counts.done(), cell.mark()) {
        (2.., _) => format!(" {}/{}", grouped(counts.passed), grouped(counts.done())),
        (_, Some(mark)) if !is_short => format!(" {}", word(mark)),
        _ => String::new(),
    };
    let score = cell.score.filter(|_| !is_short);
    let score = score.map(|score| format!(" {}", phrases::number((score * 100.0).round() / 100.0)));
    format!("{sign}{words}{}", style::dim(&score.unwrap_or_default()))
}

/// The columns of a matrix: the tests, then the providers. All tests are measured before the first line.
pub struct MatrixLayout {
    names: Vec<String>,
    /// Columns of the ids of tests.
    id: usize,
    /// Columns of the cells of each provider: in words, and short.
    cells: [Vec<usize>; 2],
}

impl MatrixLayout {
    pub fn new(providers: &[String]) -> Self {
        let names: Vec<_> = providers.iter().map(|name| visible_line(name).into_owned()).collect();
        let cells = [vec![0; names.len()], vec![0; names.len()]];
        Self { names, id: width("test"), cells }
    }

    pub fn measure(&mut self, test: &MatrixTest) {
        self.id = self.id.max(width(&visible_line(&test.test)));
        for (widths, is_short) in self.cells.iter_mut().zip([false, true]) {
            for (columns, one) in widths.iter_mut().zip(&test.cells) {
                *columns = width(&cell(one.as_ref(), is_short)).max(*columns);
            }
        }
    }

    /// Fits the columns to a screen: if it is too small for words, cells are short, and then ids and names are cut.
    pub fn fit(&self, screen: Option<usize>) -> MatrixColumns {
        let with_names = |cells: &[usize]| {
            let both = cells.iter().zip(&self.names);
            once(self.id).chain(both.map(|(cell, name)| width(name).max(*cell))).collect::<Vec<_>>()
        };
        let is_over = |widths: &[usize]| {
            let all = widths.iter().sum::<usize>() + GAP * self.names.len();
            screen.is_some_and(|screen| all > screen)
        };
        let mut widths = with_names(&self.cells[0]);
        let is_short = is_over(&widths);
        if is_short {
            widths = with_names(&self.cells[1]);
            let cells = self.cells[1].iter().map(|cell| NARROWEST_NAME.max(*cell));
            let least: Vec<_> = once(NARROWEST_ID).chain(cells).collect();
            while is_over(&widths) {
                let can_shrink = |at: &usize| widths[*at] > least[*at];
                match (0..widths.len()).filter(can_shrink).max_by_key(|at| widths[*at]) {
                    Some(at) => widths[at] -= 1,
                    None => break,
                }
            }
        }
        MatrixColumns { widths, is_short }
    }

    /// Formats the line of names.
    pub fn titles(&self, columns: &MatrixColumns) -> String {
        let titles = once("test").chain(self.names.iter().map(String::as_str));
        let titles = titles.zip(&columns.widths);
        columns.line(titles.map(|(name, columns)| style::dim(&cut_middle(name, *columns))))
    }
}

/// Columns that fit a screen.
pub struct MatrixColumns {
    widths: Vec<usize>,
    /// Whether cells have no words.
    pub is_short: bool,
}

impl MatrixColumns {
    /// Formats a test.
    pub fn test(&self, test: &MatrixTest) -> String {
        let id = cut(&visible_line(&test.test), self.widths[0]);
        let cells = test.cells.iter().map(|one| cell(one.as_ref(), self.is_short));
        self.line(once(id).chain(cells))
    }

    fn line(&self, cells: impl Iterator<Item = String>) -> String {
        let mut line = String::new();
        for (cell, columns) in cells.zip(&self.widths) {
            line.push_str(&cell);
            line.extend(repeat_n(' ', columns.saturating_sub(width(&cell)) + GAP));
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    }
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
            let mut layout = MatrixLayout::new(&providers);
            tests.iter().for_each(|test| layout.measure(test));
            let columns = layout.fit(screen);
            let tests = tests.iter().map(|test| columns.test(test));
            let lines = std::iter::once(layout.titles(&columns)).chain(tests);
            lines.map(|line| plain(&line)).collect::<Vec<_>>()
        };
        for columns in 35..200 {
            let lines = shown(Some(columns));
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:#?}");
            assert!(lines[1].contains("3/5"), "{columns}: {lines:#?}");
        }
        let wide = shown(None);
        let names = "  small          model-with-a-long-name  x\\u{1b}[2J";
        assert!(wide[0].ends_with(names), "{wide:#?}");
        assert!(wide[1].ends_with("✗ failed 0.13  ~ 3/5 0.13              ·"), "{wide:#?}");
        let narrow = shown(Some(60));
        assert!(narrow[0].ends_with("small  model-wit…long-name  x\\u{1b}[2J"), "{narrow:#?}");
    }
}
