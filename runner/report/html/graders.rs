//! What graders said: of all trials together, and of one.

use maud::{Markup, html};

use super::parts::{block, measured, said_by_grader, wide};
use crate::{
    model::{count, number},
    report::words::millis,
    view::{GraderResult, RunReport, TrialGrade, grade_costs, grade_words},
};

/// The graders of the run, if there are any.
pub(super) fn graders(report: &RunReport) -> Markup {
    let graders = &report.head.graders;
    let has_metrics = graders.iter().any(|of| !of.metrics.is_empty());
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "grader" }
                @for name in ["pass", "fail", "skip", "no verdict", "mean score", "attempts", "took, in all"] {
                    th scope="col" class="n" { (name) }
                }
                @if has_metrics { th scope="col" { "measured, in all" } }
            } }
            tbody { @for grader in graders { (line(grader, has_metrics)) } }
        }
    };
    html! {
        @if !graders.is_empty() {
            h2 { "Graders" }
            (wide("Graders", &table))
        }
    }
}

fn line(grader: &GraderResult, has_metrics: bool) -> Markup {
    html! {
        tr {
            th scope="row" { (grader.grader) }
            @for number in [grader.passed, grader.failed, grader.skipped, grader.errors] {
                td class="n" { (count(number)) }
            }
            td class="n" { @match grader.mean_score { Some(score) => { (number(score)) }, None => { "–" } } }
            td class="n" { (count(grader.attempts)) }
            td class="n" { (millis(grader.duration_ms)) }
            @if has_metrics { td { @for metric in &grader.metrics {
                (metric.name) " " (measured(&number(metric.sum), metric.unit.as_deref())) br;
            } } }
        }
    }
}

/// What graders said of a trial.
pub(super) fn said(grades: &[TrialGrade]) -> Markup {
    html! { @for grade in grades { (grade_of(grade)) } }
}

fn grade_of(grade: &TrialGrade) -> Markup {
    let texts = [
        ("standard output", &grade.stdout),
        ("standard error", &grade.stderr),
    ];
    html! {
        h3 { "Grader " code { (grade.grader) } ": " (grade_words(grade)) }
        p class="soft" { (grade_costs(grade)) }
        @if let Some(text) = &grade.explanation { (block(text)) }
        @if let Some(error) = &grade.error { (block(&error.told())) }
        @if !grade.log.is_empty() {
            p class="soft" { "its log" }
            (block(&said_by_grader(grade)))
        }
        @for (name, text) in texts { @if !text.is_empty() {
            p class="soft" { "its " (name) }
            (block(text))
        } }
    }
}
