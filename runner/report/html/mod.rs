//! One page for a browser: no network, no file beside it, and readable without scripts.
//!
//! All text is escaped by the templates. The page's own policy names its style and its script by their digests, so that
//! nothing else on it would run, whatever a guest has said.

mod failures;
mod graders;
mod group;
mod matrix;
mod origin;
mod parts;
mod statistics;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::words::{duration_or_dash, millis, outcome_words, percent};
use crate::{
    model::{count, number, plural, visible},
    view::{ProviderResult, RunReport},
};

pub(super) use parts::wide;
use parts::{Anchors, measured};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Bars of a histogram of durations.
const BARS: usize = 24;

pub(super) fn write(report: &RunReport, to: &mut dyn Write) -> io::Result<()> {
    let title = format!("{}: {}", report.head.scenario, outcome_words(report));
    page(&title, &content(report, Anchors::ALONE)?, to)
}

/// Writes one page for the runs of a group, with a part for each.
pub(super) fn write_group(reports: &[RunReport], to: &mut dyn Write) -> io::Result<()> {
    let parts = (1..).map(Anchors::of_run).zip(reports);
    let parts = parts.map(|(anchors, report)| {
        let content = content(report, anchors)?;
        Ok(html! { article id=(anchors.of("run")) { (content) } })
    });
    let parts = parts.collect::<io::Result<Vec<_>>>()?;
    let content = html! {
        (group::head(reports))
        @for part in &parts { (part) }
    };
    page(&group::title(reports), &content, to)
}

fn content(report: &RunReport, anchors: Anchors) -> io::Result<Markup> {
    Ok(html! {
        (summary(report))
        (providers(report))
        (graders::graders(report))
        (statistics::statistics(report))
        (failures::failures(report, anchors)?)
        (matrix::matrix(report, anchors))
        (origin::origin(report))
    })
}

/// Writes a page with everything that it needs in it.
pub(super) fn page(title: &str, content: &Markup, to: &mut dyn Write) -> io::Result<()> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { (content) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    to.write_all(shown(page).as_bytes())?;
    to.write_all(b"\n")
}

/// A page in which nothing turns the direction of a text or hides: such a character stands as `\u{202e}`. Neither the page's
/// own words nor its script have any.
pub(super) fn shown(page: Markup) -> String {
    let page = page.into_string();
    match visible(&page) {
        Cow::Borrowed(_) => page,
        Cow::Owned(shown) => shown,
    }
}

/// What the page may load and run: its own style and script, by what they are, and pictures that stand in it.
fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn summary(report: &RunReport) -> Markup {
    let head = &report.head;
    let counts = &head.counts;
    let done = counts.passed + counts.failed + counts.error + counts.timeout + counts.skipped;
    html! {
        h1 { (head.scenario) }
        p class=(format!("verdict {}", head.verdict.as_str())) { (outcome_words(report)) }
        p {
            (count(done)) " of " (plural(counts.planned, "trial")) " in " (millis(head.worked_ms)) ": "
            (count(counts.passed)) " passed, " (count(counts.failed)) " failed, " (plural(counts.error, "error")) ", "
            (plural(counts.timeout, "timeout")) ", " (count(counts.skipped)) " skipped"
            @if counts.flaky > 0 { ", " (count(counts.flaky)) " of the passed flaky" }
        }
        @if let Some(filter) = &head.filter {
            p { "Only trials that the filter means: " code { (filter) } }
        }
        p class="soft" {
            "Run " code { (head.run) } ", begun " (head.created_at)
            @if let Some(at) = head.completed_at { ", ended " (at) }
        }
    }
}

fn providers(report: &RunReport) -> Markup {
    let mut took: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for trial in &report.trials {
        if let Some(millis) = trial.duration_ms {
            took.entry(&trial.provider).or_default().push(millis);
        }
    }
    let has_metrics = report
        .head
        .providers
        .iter()
        .any(|of| !of.metrics.is_empty());
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "provider" }
                @for name in ["passed", "failed", "errors", "timeouts", "skipped", "flaky", "pass rate (95 %)", "p50", "p95", "max"] {
                    th scope="col" class="n" { (name) }
                }
                th scope="col" { "durations" }
                @if has_metrics { th scope="col" { "measured, in all" } }
            } }
            tbody { @for provider in &report.head.providers {
                (line(provider, took.get(&*provider.summary.provider).map_or(&[], |took| &took[..]), has_metrics))
            } }
        }
    };
    html! {
        h2 { "Providers" }
        (wide("Providers", &table))
    }
}

fn line(provider: &ProviderResult, took: &[f64], has_metrics: bool) -> Markup {
    let summary = &provider.summary;
    let counts = &summary.counts;
    let rate = provider.pass_rate.zip(provider.pass_rate_interval);
    html! {
        tr {
            th scope="row" { (summary.provider) }
            @for count in [counts.passed, counts.failed, counts.error, counts.timeout, counts.skipped, counts.flaky] {
                td class="n" { (crate::model::count(count)) }
            }
            td class="n" { @if let Some((rate, interval)) = rate { (percent(rate, interval)) } @else { "–" } }
            td class="n" { (duration_or_dash(summary.p50)) }
            td class="n" { (duration_or_dash(summary.p95)) }
            td class="n" { (duration_or_dash(Some(summary.max))) }
            td { (histogram(took)) }
            @if has_metrics { td { @for metric in &provider.metrics {
                (metric.name) " " (measured(&number(metric.sum), metric.unit.as_deref())) br;
            } } }
        }
    }
}

/// Bars on a logarithmic scale, from the shortest to the longest.
fn histogram(took: &[f64]) -> Markup {
    let least = took.iter().copied().fold(f64::INFINITY, f64::min).max(1e-3);
    let most = took.iter().copied().fold(0.0, f64::max).max(least);
    let span = (most / least).ln().max(1e-9);
    let mut bars = [0_u32; BARS];
    for millis in took {
        let part = (millis.max(least) / least).ln() / span;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of the bars is one of them"
        )]
        let bar = (part * BARS as f64) as usize;
        bars[bar.min(BARS - 1)] += 1;
    }
    let highest = bars.iter().copied().max().unwrap_or_default().max(1);
    let label = format!("durations from {} to {}", millis(least), millis(most));
    html! {
        @if !took.is_empty() {
            svg width="120" height="26" role="img" aria-label=(label) {
                title { (label) }
                @for (place, count) in bars.iter().enumerate() {
                    @let height = 26.0 * f64::from(*count) / f64::from(highest);
                    @if *count > 0 {
                        rect x=(place * 5) y=(format!("{:.1}", 26.0 - height)) width="4" height=(format!("{height:.1}")) {}
                    }
                }
            }
        }
    }
}
