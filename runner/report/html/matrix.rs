//! The table of tests and providers.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, PreEscaped, html};
use serde::Serialize;
use serde_json::Value;

use super::{
    failures::told,
    parts::{Anchors, wide},
};
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

/// The most tags and values of metadata that are offered to whoever looks for one.
const MAX_OFFERED: usize = 200;

/// A test with what it says of itself, a line each, and a cell for each provider.
#[derive(Serialize)]
struct Line<'a>(&'a str, String, Vec<MatrixCell>);

pub(super) fn matrix(report: &RunReport, anchors: Anchors) -> Markup {
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
        table id=(anchors.of("tests")) data-trials=(anchors.trials()) {
            thead { tr { th scope="col" { "test" } @for provider in &providers { th scope="col" { (provider) } } } }
            tbody { @for Line(test, labels, cells) in table {
                tr data-labels=(labels) {
                    td class="test" { (test) }
                    @for (words, text, trial) in cells { td class=(words) {
                        @if let Some(trial) = trial { a href={ "#" (anchors.trial(*trial)) } { (text) } } @else { (text) }
                    } }
                }
            } }
        }
    };
    html! {
        h2 { "Tests" }
        section class="tests" {
            (filters(&lines, anchors))
            (wide("Tests", &table))
            button type="button" hidden { "Show more" }
            @if !rest.is_empty() {
                noscript { p { (rest.len()) " more tests are not in this table; the CSV report has all." } }
                script type="application/json" { (PreEscaped(as_data(rest))) }
            }
        }
    }
}

/// What the script shows tests by: their names, what they say of themselves, and what they came to.
fn filters(lines: &[Line<'_>], anchors: Anchors) -> Markup {
    let labels = lines.iter().flat_map(|Line(_, labels, _)| labels.lines());
    let mut offered = BTreeSet::new();
    for label in labels {
        offered.insert(label);
        if offered.len() > MAX_OFFERED {
            // What nearly every test has another value of is no choice.
            offered.clear();
            break;
        }
    }
    let list = anchors.of("labels");
    html! {
        div class="filters" hidden {
            label {
                "Find "
                input type="search" placeholder="test, tag or key=value" list=[(!offered.is_empty()).then_some(&list)];
            }
            @if !offered.is_empty() {
                datalist id=(list) { @for label in &offered { option value=(label) {} } }
            }
            @for word in ["passed", "failed", "error", "timeout", "skipped", "flaky", "none"] {
                label { input type="checkbox" value=(word) checked; " " @if word == "none" { "not run" } @else { (word) } }
            }
            span id=(anchors.of("shown")) class="soft" role="status" {}
        }
    }
}

/// The tags of a test and its metadata, a line each.
fn labels(trial: &ReportTrial) -> String {
    let said = trial.meta.iter().map(|(key, value)| match value {
        Value::String(text) => format!("{key}={text}"),
        value => format!("{key}={value}"),
    });
    // A text may have several lines, and a tag or a value is one.
    let each = trial.tags.iter().cloned().chain(said);
    let each = each.map(|label| label.replace(['\n', '\r'], " "));
    each.collect::<Vec<_>>().join("\n")
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
        Line(&first.test, labels(first), cells.collect())
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
