//! Tests on providers: a line for each test, a column for each provider, and repeats folded into one cell.

use std::collections::HashMap;

use crate::{
    model::Outcome,
    output::{
        format,
        table::{Cell, Column, Table},
        tone::Tone,
    },
    view::{ReportTrial, RunReport},
};

/// The trials of a test by the place of their provider.
struct MatrixLine<'a> {
    test: &'a str,
    cells: Vec<Vec<&'a ReportTrial>>,
}

/// The whole matrix, in at most `width` characters.
pub(super) fn matrix_text(report: &RunReport, width: Option<usize>) -> String {
    let (providers, lines) = lines(report);
    table(&providers, &lines, width)
}

/// The matrix, if it has at most `most` tests and more than one provider.
pub(super) fn small(report: &RunReport, most: usize, width: Option<usize>) -> Option<String> {
    let (providers, lines) = lines(report);
    let is_small = (1..=most).contains(&lines.len()) && providers.len() > 1;
    is_small.then(|| table(&providers, &lines, width))
}

fn table(providers: &[&str], lines: &[MatrixLine<'_>], width: Option<usize>) -> String {
    // The names of providers are cut first, those that come last go when nothing else helps.
    let columns = providers.iter().enumerate().map(|(place, provider)| {
        let later = u8::try_from(providers.len() - place).unwrap_or(u8::MAX);
        Column::new(format::visible_line(provider))
            .brief(0)
            .cut(1, 7)
            .go(later.saturating_add(10).min(254))
    });
    let test = Column::new("test").cut(2, 12).cut(255, 4);
    let mut table = Table::new([test].into_iter().chain(columns).collect::<Vec<_>>());
    for line in lines {
        let cells = line.cells.iter().map(|trials| cell(trials));
        let test = Cell::from(line.test);
        table.row([test].into_iter().chain(cells).collect::<Vec<_>>());
    }
    table.fitted(width)
}

/// One trial by its word, several by how many of them have passed.
fn cell(trials: &[&ReportTrial]) -> Cell<'static> {
    let is_passed = |trial: &&&ReportTrial| trial.outcome == Some(Outcome::Passed);
    let passed = trials.iter().filter(is_passed).count();
    let is_flaky = trials.iter().any(|trial| trial.is_flaky);
    let is_bad = trials.iter().any(|trial| trial.is_bad());
    let settled = trials
        .iter()
        .filter(|trial| trial.outcome.is_some())
        .count();
    let text = match trials {
        [] => return Cell::new(""),
        _ if settled == 0 => "·".to_owned(),
        [trial] => match trial.outcome {
            Some(Outcome::Passed) if is_flaky => "✓ flaky".to_owned(),
            Some(Outcome::Passed) => "✓".to_owned(),
            Some(outcome) if is_bad => format!("✗ {}", outcome.as_str()),
            other => other.map_or("·", Outcome::as_str).to_owned(),
        },
        _ if is_flaky => format!("{passed}/{} flaky", trials.len()),
        _ => format!("{passed}/{}", trials.len()),
    };
    let brief = text.split(' ').next().unwrap_or_default().to_owned();
    let text = match mean_score(trials) {
        Some(score) => format!("{text} {}", format::number(score)),
        None => text,
    };
    Cell::new(text).or(brief).painted(match (is_bad, settled) {
        (true, _) => Tone::Bad,
        (false, 0) => Tone::Plain,
        (false, _) if is_flaky => Tone::Open,
        (false, _) => Tone::Good,
    })
}

fn mean_score(trials: &[&ReportTrial]) -> Option<f64> {
    let scores: Vec<f64> = trials.iter().filter_map(|trial| trial.score).collect();
    let count = u32::try_from(scores.len())
        .ok()
        .filter(|count| *count > 0)?;
    Some(scores.iter().sum::<f64>() / f64::from(count))
}

fn lines(report: &RunReport) -> (Vec<&str>, Vec<MatrixLine<'_>>) {
    let mut providers: Vec<&str> = Vec::new();
    let mut lines: Vec<MatrixLine<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for trial in &report.trials {
        let known = providers.iter().position(|known| *known == trial.provider);
        let column = known.unwrap_or_else(|| {
            providers.push(&trial.provider);
            providers.len() - 1
        });
        let line = *places.entry(&trial.test).or_insert_with(|| {
            lines.push(MatrixLine {
                test: &trial.test,
                cells: Vec::new(),
            });
            lines.len() - 1
        });
        let cells = &mut lines[line].cells;
        if cells.len() <= column {
            cells.resize_with(column + 1, Vec::new);
        }
        cells[column].push(trial);
    }
    for line in &mut lines {
        line.cells.resize_with(providers.len(), Vec::new);
    }
    (providers, lines)
}
