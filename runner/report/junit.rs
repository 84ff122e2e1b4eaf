//! JUnit's XML, as Jenkins describes it: a suite a provider, a case a trial.
//!
//! The elements and attributes are those of the schema that Jenkins' xUnit plugin has, which GitLab and the reporters of
//! GitHub read as well: <https://github.com/jenkinsci/xunit-plugin> (`junit-10.xsd`).

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use quick_xml::{
    Writer,
    escape::partial_escape,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

use crate::{
    model::{CheckVerdict, Outcome},
    view::{ReportTrial, RunReport, TrialGrade, grade_costs, grade_words},
};

pub(super) fn write(reports: &[RunReport], to: &mut dyn Write) -> io::Result<()> {
    let mut xml = Writer::new_with_indent(to, b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut suites = BytesStart::new("testsuites");
    let names = reports.iter().map(|report| plain(&report.head.scenario));
    let names = names.collect::<Vec<_>>().join(", ");
    suites.push_attribute(("name", names.as_str()));
    xml.write_event(Event::Start(suites))?;
    for report in reports {
        let mut suites: BTreeMap<&str, Vec<&ReportTrial>> = BTreeMap::new();
        for trial in &report.trials {
            suites.entry(&trial.provider).or_default().push(trial);
        }
        for (provider, trials) in suites {
            suite(&mut xml, report, provider, &trials)?;
        }
    }
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    xml.get_mut().write_all(b"\n")
}

fn suite(
    xml: &mut Writer<&mut dyn Write>,
    report: &RunReport,
    provider: &str,
    trials: &[&ReportTrial],
) -> io::Result<()> {
    let count = |wanted: &dyn Fn(Option<Outcome>) -> bool| {
        let counted = trials.iter().filter(|trial| wanted(trial.outcome));
        counted.count().to_string()
    };
    let took: f64 = trials.iter().filter_map(|trial| trial.duration_ms).sum();
    let mut suite = BytesStart::new("testsuite");
    let attributes = [
        ("name", plain(provider)),
        ("tests", trials.len().to_string()),
        ("failures", count(&|it| it == Some(Outcome::Failed))),
        (
            "errors",
            count(&|it| matches!(it, Some(Outcome::Error | Outcome::Timeout))),
        ),
        (
            "skipped",
            count(&|it| {
                matches!(
                    it,
                    None | Some(Outcome::Skipped | Outcome::Stopped | Outcome::Ungraded)
                )
            }),
        ),
        ("time", seconds(took)),
        (
            "timestamp",
            report
                .head
                .created_at
                .strftime("%Y-%m-%dT%H:%M:%S")
                .to_string(),
        ),
    ];
    for (key, value) in &attributes {
        suite.push_attribute((*key, value.as_str()));
    }
    xml.write_event(Event::Start(suite))?;
    for trial in trials {
        case(xml, &report.head.scenario, &*report.in_full(trial)?)?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuite")))
}

fn case(xml: &mut Writer<&mut dyn Write>, scenario: &str, trial: &ReportTrial) -> io::Result<()> {
    let name = match trial.repeat {
        1 => plain(&trial.test),
        repeat => format!("{}#{repeat}", plain(&trial.test)),
    };
    let class = format!("{}.{}", plain(scenario), plain(&trial.provider));
    let took = seconds(trial.duration_ms.unwrap_or_default());
    let mut case = BytesStart::new("testcase");
    case.push_attribute(("name", name.as_str()));
    case.push_attribute(("classname", class.as_str()));
    case.push_attribute(("time", took.as_str()));
    if trial.outcome == Some(Outcome::Passed) && trial.grades.is_empty() {
        return xml.write_event(Event::Empty(case));
    }
    xml.write_event(Event::Start(case))?;
    let message = message(trial);
    match trial.outcome {
        Some(Outcome::Passed) => {}
        Some(Outcome::Failed) => problem(xml, "failure", "failed", &message, &details(trial))?,
        Some(Outcome::Error) => {
            let code = match &trial.error {
                Some(error) => error.word(),
                None => "error",
            };
            problem(xml, "error", code, &message, &details(trial))?;
        }
        Some(Outcome::Timeout) => problem(xml, "error", "timeout", &message, &details(trial))?,
        Some(Outcome::Skipped) => problem(xml, "skipped", "", &message, "")?,
        Some(Outcome::Ungraded) => problem(xml, "skipped", "", "not graded", "")?,
        None | Some(Outcome::Stopped) => problem(xml, "skipped", "", "not run to its end", "")?,
    }
    let evidence = trial.evidence.as_ref();
    let mut out = evidence.map_or_else(String::new, |evidence| {
        [&*evidence.log, &*evidence.stdout].concat()
    });
    // What is wrong stands with the failure.
    if trial.outcome == Some(Outcome::Passed) {
        out.push_str(&grades(trial).join("\n"));
    }
    let err = evidence.map_or("", |evidence| &*evidence.stderr);
    for (element, text) in [("system-out", out.as_str()), ("system-err", err)] {
        if !text.is_empty() {
            element_with(xml, &BytesStart::new(element), text)?;
        }
    }
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

fn problem(
    xml: &mut Writer<&mut dyn Write>,
    element: &'static str,
    kind: &str,
    message: &str,
    details: &str,
) -> io::Result<()> {
    let mut start = BytesStart::new(element);
    let (kind, message) = (plain(kind), plain(message));
    if !kind.is_empty() {
        start.push_attribute(("type", kind.as_str()));
    }
    if !message.is_empty() {
        start.push_attribute(("message", message.as_str()));
    }
    element_with(xml, &start, details)
}

fn element_with(
    xml: &mut Writer<&mut dyn Write>,
    start: &BytesStart<'_>,
    text: &str,
) -> io::Result<()> {
    let end = start.to_end().into_owned();
    xml.write_event(Event::Start(start.borrow()))?;
    let text = plain(text);
    xml.write_event(Event::Text(BytesText::from_escaped(partial_escape(
        text.as_str(),
    ))))?;
    xml.write_event(Event::End(end))
}

/// What went wrong, on one line.
fn message(trial: &ReportTrial) -> String {
    if let Some(error) = &trial.error {
        return error.message.to_string();
    }
    let mut refused = trial.grades.iter();
    if let Some(grade) = refused.find(|grade| grade.verdict == Some(CheckVerdict::Fail)) {
        return of_grade(grade);
    }
    let checks = trial.evidence.iter().flat_map(|evidence| &evidence.checks);
    let mut failed = checks.filter(|check| check.verdict == CheckVerdict::Fail);
    let first = failed.next().map(|check| match &check.message {
        Some(message) => format!("{}: {message}", check.name),
        None => check.name.to_string(),
    });
    first.or_else(|| trial.summary.clone()).unwrap_or_default()
}

/// What graders said, each with what that took.
fn grades(trial: &ReportTrial) -> Vec<String> {
    let each = trial.grades.iter();
    each.map(|grade| format!("{}\n  {}", of_grade(grade), grade_costs(grade)))
        .collect()
}

fn of_grade(grade: &TrialGrade) -> String {
    let said = match (&grade.explanation, &grade.error) {
        (Some(text), _) => format!(": {text}"),
        (None, Some(error)) => format!(": {}", error.message),
        (None, None) => String::new(),
    };
    format!("grader {}: {}{said}", grade.grader, grade_words(grade))
}

fn details(trial: &ReportTrial) -> String {
    let mut lines = grades(trial);
    for check in trial.evidence.iter().flat_map(|evidence| &evidence.checks) {
        if check.verdict != CheckVerdict::Fail {
            continue;
        }
        let message = check.message.as_deref().unwrap_or("did not hold");
        lines.push(format!("{}: {message}", check.name));
        let [expected, actual] = check.compared();
        if let Some(expected) = expected {
            lines.push(format!("expected: {expected}"));
        }
        if let Some(actual) = actual {
            lines.push(format!("actual:   {actual}"));
        }
        lines.extend(check.diff.as_ref().map(ToString::to_string));
    }
    lines.join("\n")
}

/// Seconds as the schema has them: with no more than three digits after the point.
fn seconds(millis: f64) -> String {
    format!("{:.3}", millis / 1e3)
}

/// A text without the characters that XML cannot have at all.
fn plain(text: &str) -> String {
    let is_allowed = |character: char| match character {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => other >= ' ',
    };
    let shown = |character| match is_allowed(character) {
        true => character,
        false => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(shown).collect()
}
