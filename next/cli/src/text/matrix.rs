//! The matrix of tests and providers, within the columns of a screen, and marks of results.

use std::iter::{once, repeat_n};

use runner_model::{units::grouped, visible::visible_line};
use runner_report::{Mark, MatrixCell, MatrixDocument, phrases};

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

/// Explains the signs.
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
    let (counts, sign) = (cell.counts(), mark(cell.mark()));
    let words = match (counts.done(), cell.mark()) {
        (2.., _) => format!(" {}/{}", grouped(counts.passed), grouped(counts.done())),
        (_, Some(mark)) if !is_short => format!(" {}", word(mark)),
        _ => String::new(),
    };
    let score = cell.score.filter(|_| !is_short);
    let score =
        score.map(|score| format!(" {}", phrases::number((score * 100.0).round() as f64 / 100.0)));
    format!("{sign}{words}{}", style::dim(&score.unwrap_or_default()))
}

/// Formats the matrix: a line of names, and one for each test. On a screen that is too small for words, cells are signs, and then
/// names are cut.
pub fn lines(matrix: &MatrixDocument, screen: Option<usize>) -> impl Iterator<Item = String> {
    let names = matrix.providers.iter().map(|name| visible_line(name).into_owned());
    let names: Vec<_> = names.collect();
    let cells = move |test: usize, is_short: bool| {
        matrix.tests[test].cells.iter().map(move |one| cell(one.as_ref(), is_short))
    };
    let ids = matrix.tests.iter().map(|test| width(&visible_line(&test.test)));
    let id = ids.max().unwrap_or(0).max(width("test"));
    let widest = |is_short| {
        let mut widths = vec![0; names.len()];
        for test in 0..matrix.tests.len() {
            for (column, text) in widths.iter_mut().zip(cells(test, is_short)) {
                *column = width(&text).max(*column);
            }
        }
        widths
    };
    let with_names = |cells: &[usize]| {
        let both = cells.iter().zip(&names);
        once(id).chain(both.map(|(cell, name)| width(name).max(*cell))).collect::<Vec<_>>()
    };
    let over = |widths: &[usize]| {
        let all = widths.iter().sum::<usize>() + GAP * names.len();
        all.saturating_sub(screen.unwrap_or(usize::MAX))
    };
    let mut widths = with_names(&widest(false));
    let is_short = over(&widths) > 0;
    if is_short {
        let cells = widest(true);
        widths = with_names(&cells);
        let cells = cells.iter().map(|cell| NARROWEST_NAME.max(*cell));
        let least: Vec<_> = once(NARROWEST_ID).chain(cells).collect();
        while over(&widths) > 0 {
            let can_shrink = |at: &usize| widths[*at] > least[*at];
            match (0..widths.len()).filter(can_shrink).max_by_key(|at| widths[*at]) {
                Some(at) => widths[at] -= 1,
                None => break,
            }
        }
    }
    let line = move |cells: Vec<String>, widths: &[usize]| {
        let mut line = String::new();
        for (cell, columns) in cells.iter().zip(widths) {
            line.push_str(cell);
            line.extend(repeat_n(' ', columns.saturating_sub(width(cell)) + GAP));
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    };
    let titles = once("test").chain(names.iter().map(String::as_str)).zip(&widths);
    let titles = titles.map(|(name, columns)| style::dim(&cut_middle(name, *columns)));
    let titles = line(titles.collect(), &widths);
    let tests = (0..matrix.tests.len()).map(move |test| {
        let id = cut(&visible_line(&matrix.tests[test].test), widths[0]);
        line(once(id).chain(cells(test, is_short)).collect(), &widths)
    });
    let legend = is_short.then(legend);
    once(titles).chain(tests).chain(legend)
}

#[cfg(test)]
mod tests {
    use runner_report::{MatrixCell, MatrixDocument, MatrixTest};
    use serde_json::json;

    use super::lines;
    use crate::text::{layout::width, style::plain, tests::run};

    #[test]
    fn every_line_fits_the_screen() {
        let one = MatrixCell { failed: 1, score: Some(0.126), ..MatrixCell::default() };
        let many = MatrixCell { passed: 3, failed: 2, ..one };
        let test = |id: &str, cells: [Option<MatrixCell>; 3]| MatrixTest {
            test: id.into(),
            cells: cells.into(),
        };
        let long = "long/".repeat(20);
        let matrix = MatrixDocument {
            v: 1,
            run: run(&json!({})),
            providers: ["small", "model-with-a-long-name", "x\u{1b}[2J"].map(Box::from).into(),
            tests: vec![
                test("a", [Some(one), Some(many), None]),
                test(&long, [None, Some(one), None]),
            ],
        };
        let shown = |screen| lines(&matrix, screen).map(|line| plain(&line)).collect::<Vec<_>>();
        for columns in 35..200 {
            let lines = shown(Some(columns));
            assert!(lines[..3].iter().all(|line| width(line) <= columns), "{columns}: {lines:#?}");
            assert!(lines[1].contains("3/5"), "{columns}: {lines:#?}");
        }
        let wide = shown(None);
        assert!(
            wide[0].ends_with("  small          model-with-a-long-name  x\\u{1b}[2J"),
            "{wide:#?}"
        );
        assert!(wide[1].ends_with("✗ failed 0.13  ~ 3/5 0.13              ·"), "{wide:#?}");
        let narrow = shown(Some(60));
        assert!(narrow[0].ends_with("small  model-with-a-long-name  x\\u{1b}[2J"), "{narrow:#?}");
        assert!(narrow[3].starts_with("✓ passed  ~ flaky"), "{narrow:#?}");
    }
}
