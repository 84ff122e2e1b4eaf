//! A page for a browser with everything that there is to tell of a comparison.

use std::io::{self, Write};

use maud::{Markup, html};

use super::told::TOLD;
use crate::{
    model::{count, plural},
    report::html::{page, wide},
    view::{
        CaseClass, CaseCounts, Compared, ComparedCase, ComparedMeasure, ComparedProvider,
        ComparedRun, Comparison,
    },
};

/// How many tests of each class are in the page.
const MAX_CASES: usize = 2_000;
/// How many of them are seen at once; more are folded.
const MAX_OPEN: usize = 50;
/// How wide the picture of an interval is.
const PICTURE: f64 = 120.0;

pub(super) fn write(compared: &Compared, to: &mut dyn Write) -> io::Result<()> {
    let words = compared.counts().words();
    let groups = match compared {
        Compared::Runs(comparison) => {
            let title = format!("{}: {words}", comparison.new.scenario);
            return page(&title, &content(comparison), to);
        }
        Compared::Groups(groups) => groups,
    };
    let content = html! {
        h1 { "Group " (groups.new) " against " (groups.base) }
        p class=(format!("verdict {}", tone(groups.counts))) { (words) }
        @for words in groups.unshared() { p class="flaky" { "Not quite fair: " (words) "." } }
        ul { @for (place, run) in (1..).zip(&groups.runs) {
            li { a href=(format!("#run-{place}")) { (run.new.scenario) } ": " (run.counts.words()) }
        } }
        @for (place, run) in (1..).zip(&groups.runs) {
            article id=(format!("run-{place}")) { (content(run)) }
        }
    };
    page(&words, &content, to)
}

fn content(comparison: &Comparison) -> Markup {
    html! {
        h1 { (comparison.new.scenario) }
        p class=(format!("verdict {}", tone(comparison.counts))) { (comparison.counts.words()) }
        @if let Some(filter) = &comparison.filter {
            p { "Only tests of which the filter means a trial: " code { (filter) } }
        }
        @for warning in &comparison.warnings { p class="flaky" { "Not quite fair: " (warning.text) "." } }
        (sides(comparison))
        (measures(&comparison.providers))
        @for class in TOLD { (cases(comparison, class)) }
        (differences(comparison))
    }
}

fn tone(counts: CaseCounts) -> &'static str {
    match (counts.regressed, counts.fixed) {
        (0, 0) => "",
        (0, _) => "good",
        _ => "bad",
    }
}

fn sides(comparison: &Comparison) -> Markup {
    let line = |name: &str, run: &ComparedRun| {
        let counts = &run.counts;
        html! {
            tr {
                th scope="row" { (name) }
                td { code { (run.run) } }
                td { @if let Some(provider) = &run.provider { (provider) } @else { "all" } }
                td { (run.standing()) }
                td { (run.started_at) }
                td class="n" { (count(counts.passed)) }
                td class="n" { (count(counts.failed + counts.error + counts.timeout)) }
                td class="n" { (count(counts.planned)) }
            }
        }
    };
    let table = html! {
        table {
            thead { tr {
                @for name in ["side", "run", "providers", "status", "began"] { th scope="col" { (name) } }
                @for name in ["passed", "not passed", "trials"] { th scope="col" class="n" { (name) } }
            } }
            tbody { (line("base", &comparison.base)) (line("new", &comparison.new)) }
        }
    };
    wide("The runs", &table)
}

fn measures(providers: &[ComparedProvider]) -> Markup {
    html! {
        @for provider in providers {
            h2 {
                @if let Some(base) = &provider.base_provider { (base) " → " }
                (provider.provider)
            }
            p { (provider.counts.words()) }
            @if !provider.measures.is_empty() {
                (wide(&format!("Measures of {}", provider.provider), &measure_lines(&provider.measures)))
            }
        }
        p class="soft" {
            "Repeats of a test are averaged first. Intervals are by a paired bootstrap. p is the chance of such a "
            "difference if there were none, for passes by the exact test of McNemar, corrected for all measures here by "
            "Holm’s method."
        }
    }
}

fn measure_lines(measures: &[ComparedMeasure]) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "measure" }
                @for name in ["base", "new", "change", "95 %", "p", "tests"] { th scope="col" class="n" { (name) } }
                th scope="col" { "interval around no change" }
            } }
            tbody { @for measure in measures { (measure_line(measure)) } }
        }
    }
}

fn measure_line(measure: &ComparedMeasure) -> Markup {
    let words = measure.words();
    let class = match (measure.is_significant, measure.is_worse()) {
        (true, Some(true)) => "n bad",
        (true, Some(false)) => "n good",
        _ => "n",
    };
    html! {
        tr {
            th scope="row" { (words.name) }
            td class="n" { (words.base) }
            td class="n" { (words.new) }
            td class=(class) { (words.change) @if measure.is_significant { " significant" } }
            td class="n" { (words.interval) }
            td class="n" { (words.p) }
            td class="n" { (count(measure.tests)) }
            td { (picture(measure, &words.interval)) }
        }
    }
}

/// The interval as a bar, with a line where nothing has changed.
fn picture(measure: &ComparedMeasure, label: &str) -> Markup {
    let Some((low, high)) = measure.interval else {
        return html! {};
    };
    let reach = low.abs().max(high.abs());
    if reach == 0.0 || !reach.is_finite() {
        return html! {};
    }
    let at = |value: f64| PICTURE / 2.0 * (1.0 + value / reach * 0.95);
    let place = |value: f64| format!("{:.1}", at(value));
    let width = format!("{:.1}", (at(high) - at(low)).max(1.0));
    html! {
        svg width=(PICTURE) height="16" role="img" aria-label=(label) {
            title { (label) }
            rect x=(place(low)) y="6" width=(width) height="4" {}
            rect x=(format!("{:.1}", at(measure.change) - 2.0)) y="3" width="4" height="10" {}
            line x1=(PICTURE / 2.0) x2=(PICTURE / 2.0) y1="0" y2="16" stroke="currentColor" {}
        }
    }
}

fn cases(comparison: &Comparison, class: CaseClass) -> Markup {
    let all = comparison.counts.of(class);
    let title = format!("{} {}", plural(all, "test"), class.words());
    let is_open = class == CaseClass::Regressed && all <= MAX_OPEN as u64;
    let table = html! {
        table {
            thead { tr { @for name in ["test", "provider", "base → new", "why"] { th scope="col" { (name) } } } }
            tbody { @for case in comparison.of_class(class).take(MAX_CASES) { (case_line(case)) } }
        }
    };
    html! {
        @if all > 0 {
            h2 { (title) }
            details open[is_open] {
                summary { "Which" }
                (wide(&title, &table))
                @if all > MAX_CASES as u64 { p { "… and " (count(all - MAX_CASES as u64)) " more; the JSON has all." } }
            }
        }
    }
}

fn case_line(case: &ComparedCase) -> Markup {
    html! {
        tr {
            td class="test" { (case.test) }
            td { (case.provider) }
            td { (case.change()) }
            td class="test" { @if let Some(why) = &case.why { (why) } }
        }
    }
}

fn differences(comparison: &Comparison) -> Markup {
    let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "–".to_owned());
    let table = html! {
        table {
            thead { tr { @for name in ["what", "base", "new"] { th scope="col" { (name) } } } }
            tbody { @for part in &comparison.differences {
                tr { th scope="row" { (part.what) } td class="test" { (text(&part.base)) } td class="test" { (text(&part.new)) } }
            } }
        }
    };
    html! {
        @if !comparison.differences.is_empty() {
            h2 { "What else is different" }
            (wide("What else is different", &table))
        }
    }
}
