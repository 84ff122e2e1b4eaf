//! The table of tests and providers.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, PreEscaped, html};
use serde::Serialize;

use super::{failures::told, parts::wide};
use crate::{
    model::{escape_json, plural},
    report::words::outcome_word,
    view::{ReportTrial, RunReport},
};

/// Tests that are in the page as a table; those beyond are data that the script pages through.
const MAX_LINES: usize = 2_000;
/// What a cell says where nothing was planned.
const NOTHING: MatrixCell = (String::new(), String::new(), None);

/// The classes of a cell, its text, and the place in the plan of the trial that it leads to.
type MatrixCell = (String, String, Option<u64>);

/// A test with its tags and a cell for each provider.
#[derive(Serialize)]
struct Line<'a>(&'a str, String, Vec<MatrixCell>);

pub(super) fn matrix(report: &RunReport) -> Markup {
    let mut providers: Vec<&str> = Vec::new();
    for trial in &report.trials {
        if !providers.contains(&&*trial.provider) {
            providers.push(&trial.provider);
        }
    }
    let told = told(report);
    let lines = lines(report, &providers, &told);
    let (table, rest) = lines.split_at(lines.len().min(MAX_LINES));
    let table = html! {
        table id="tests" {
            thead { tr { th scope="col" { "test" } @for provider in &providers { th scope="col" { (provider) } } } }
            tbody { @for Line(test, tags, cells) in table {
                tr data-tags=(tags) {
                    td class="test" { (test) }
                    @for (words, text, trial) in cells { td class=(words) {
                        @if let Some(trial) = trial { a href=(format!("#trial-{trial}")) { (text) } } @else { (text) }
                    } }
                }
            } }
        }
    };
    html! {
        h2 { "Tests" }
        div class="filters" hidden {
            label { "Find " input id="search" type="search" placeholder="test or tag"; }
            @for word in ["passed", "failed", "error", "timeout", "skipped", "flaky", "none"] {
                label { input type="checkbox" value=(word) checked; " " @if word == "none" { "not run" } @else { (word) } }
            }
            span id="shown" class="soft" role="status" {}
        }
        (wide("Tests", &table))
        button id="more" type="button" hidden { "Show more" }
        @if !rest.is_empty() {
            noscript { p { (rest.len()) " more tests are not in this table; the CSV report has all." } }
            script id="rest" type="application/json" { (PreEscaped(as_data(rest))) }
        }
    }
}

fn lines<'a>(report: &'a RunReport, providers: &[&str], told: &BTreeSet<u64>) -> Vec<Line<'a>> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut tests: Vec<(&'a ReportTrial, BTreeMap<&str, Vec<&'a ReportTrial>>)> = Vec::new();
    for trial in &report.trials {
        let place = *places.entry(&trial.test).or_insert_with(|| {
            tests.push((trial, BTreeMap::new()));
            tests.len() - 1
        });
        tests[place]
            .1
            .entry(&trial.provider)
            .or_default()
            .push(trial);
    }
    let each = tests.into_iter();
    each.map(|(first, mut trials)| {
        let cells = providers
            .iter()
            .map(|provider| match trials.remove(provider) {
                Some(trials) => cell(&trials, told),
                None => NOTHING,
            });
        Line(&first.test, first.tags.join(" "), cells.collect())
    })
    .collect()
}

/// One trial by its word; several by how many of them passed.
fn cell(trials: &[&ReportTrial], told: &BTreeSet<u64>) -> MatrixCell {
    let mut words: Vec<&str> = trials.iter().map(|trial| outcome_word(trial)).collect();
    let passed = words.iter().filter(|word| **word == "passed").count();
    let are_alike = words.windows(2).all(|pair| pair[0] == pair[1]);
    let text = match words[..] {
        _ if words.iter().all(|word| *word == "none") => "not run".to_owned(),
        [word] => word.to_owned(),
        ["error", ..] if are_alike => plural(words.len() as u64, "error"),
        ["timeout", ..] if are_alike => plural(words.len() as u64, "timeout"),
        [word, ..] if are_alike => format!("{} {word}", words.len()),
        _ => format!("{passed} of {} passed", words.len()),
    };
    let is_flaky = trials.iter().any(|trial| trial.is_flaky);
    if is_flaky {
        words.push("flaky");
    }
    words.sort_unstable();
    words.dedup();
    let text = if is_flaky {
        format!("{text}, flaky")
    } else {
        text
    };
    let mut ordinals = trials.iter().map(|trial| trial.ordinal);
    let trial = ordinals.find(|ordinal| told.contains(ordinal));
    (words.join(" "), text, trial)
}

/// JSON in which nothing can end the element around it.
fn as_data(lines: &[Line<'_>]) -> String {
    let mut json = serde_json::to_vec(lines).expect("texts are JSON");
    escape_json(&mut json, 0);
    let json = String::from_utf8(json).expect("JSON is UTF-8");
    json.replace('<', "\\u003c")
}
