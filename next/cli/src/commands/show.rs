//! `runner show`: a run, or one of its trials.

use std::{path::Path, time::Duration};

use runner_model::{
    Time, TrialId,
    exit::Exit,
    units::{plural, show_duration},
    visible::visible_line,
};
use runner_record::{GroupPlace, ResultsRoot, RunDir, now};
use runner_report::{Found, ProviderTable, RunDocument, TrialDocument, Which, find_trial};

use super::group;
use crate::{
    args::{JsonArgs, RootArgs, RunArg},
    text::{
        error::CommandError,
        failures::{BLOCK_LINES, Failures, row_block},
        grants, history,
        layout::Table,
        out::Out,
        page, style, summary,
    },
};

/// Trials that a message names.
const MOST_CANDIDATES: usize = 10;

/// Show a run, or one of its trials
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArg,
    /// The trial: its id, or a part of it that no other trial has
    #[arg(value_name = "TRIAL")]
    trial: Option<String>,
    /// Only trials that failed, ended in an error or timed out, with their reasons
    #[arg(long, conflicts_with = "trial")]
    failed: bool,
    /// Show the sessions of the run, with their pauses, and every change of its status
    #[arg(long, conflicts_with_all = ["trial", "failed"])]
    history: bool,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let path = args.root.path();
    let of_record = |error| CommandError::of_record(error, &path);
    let root = ResultsRoot::existing(&path).map_err(of_record)?;
    let name = args.run.name();
    let members = name.as_deref().map(|name| group::find(&root, name));
    if let Some(runs) = members.transpose().map_err(of_record)?.flatten() {
        if args.trial.is_some() || args.failed || args.history {
            let text = "that is a group: name one of its runs";
            return Err(CommandError::usage(text));
        }
        if args.json.json {
            out.document(&group::document(runs));
        } else {
            group::show(runs, &args.root.flag(), out);
        }
        return Ok(Exit::Success);
    }
    let run = root
        .find(name.as_deref().unwrap_or("latest"))
        .map_err(of_record)?;
    if let Some(trial) = &args.trial {
        let document = trial_document(&root, &run, trial, &path)?;
        if args.json.json {
            out.document(&document);
        } else {
            out.data(&page::page(&document));
        }
        return Ok(Exit::Success);
    }
    let which = if args.failed {
        Which::Failed
    } else {
        Which::All
    };
    let now = now();
    let document = RunDocument::read(&root, &run, which).map_err(of_record)?;
    if args.json.json {
        out.document(&document);
    } else if args.failed {
        failed(&document, out).map_err(of_record)?;
    } else {
        let name = name.map(|_| format!(" {}", document.run.short));
        let name = name.unwrap_or_default();
        overview(&document, now, out).map_err(of_record)?;
        if args.history {
            out.data("");
            out.data(&history::lines(&document.manifest).join("\n"));
        }
        for step in summary::next_steps(&document.run, &name, &args.root.flag()) {
            out.hint(&step);
        }
    }
    Ok(Exit::Success)
}

fn trial_document(
    root: &ResultsRoot,
    run: &RunDir,
    text: &str,
    path: &Path,
) -> Result<TrialDocument, CommandError> {
    let of_record = |error| CommandError::of_record(error, path);
    let found = find_trial(run, text).map_err(of_record)?;
    let trial = one_trial(run, text, found)?;
    TrialDocument::read(root, run, trial).map_err(of_record)
}

/// The trial that a text means.
pub fn one_trial(run: &RunDir, text: &str, found: Found) -> Result<TrialId, CommandError> {
    let (message, trials) = match found {
        Found::One(trial) => return Ok(trial),
        Found::Several(trials) => (format!("`{text}` could be one of {}", trials.len()), trials),
        Found::Nothing { trials } => {
            let run = run.id();
            let message = format!("run {run} has no row of a trial `{text}`; it has rows of");
            (message, trials)
        }
    };
    Err(CommandError::usage(&named(&message, &trials)))
}

/// A message with the first of these trials.
fn named(message: &str, trials: &[String]) -> String {
    let mut text = format!("{message}:");
    if trials.is_empty() {
        text = "the run has no rows yet".to_owned();
    }
    for trial in trials.iter().take(MOST_CANDIDATES) {
        text.push_str(&format!("\n{trial}"));
    }
    if trials.len() > MOST_CANDIDATES {
        let left = (trials.len() - MOST_CANDIDATES) as u64;
        text.push_str(&format!("\n… and {}", plural(left, "more", "more")));
    }
    text
}

/// Every trial that did not pass, with its reasons.
fn failed(document: &RunDocument, out: &Out) -> Result<(), runner_record::RecordError> {
    document
        .rows
        .each(|row, _| out.data(&row_block(row, BLOCK_LINES)))?;
    out.data(&standing(document));
    Ok(())
}

fn standing(document: &RunDocument) -> String {
    let took = Duration::from_millis(document.run.worked_ms);
    summary::standing(&document.run, took)
}

/// How the run stands, what it is, its providers, and what failed.
fn overview(
    document: &RunDocument,
    now: Time,
    out: &Out,
) -> Result<(), runner_record::RecordError> {
    let run = &document.run;
    out.data(&standing(document));
    if let Some(message) = summary::message(run) {
        out.data(&format!("  {message}"));
    }
    let sessions = plural(run.sessions, "session", "sessions");
    let since = |time| format!("{} UTC, {}", summary::clock(time), summary::ago(now, time));
    let mut about = vec![
        ("scenario", document.manifest.scenario_path.clone()),
        ("started", format!("{}; {sessions}", since(run.started_at))),
        ("results", run.run_dir.clone()),
    ];
    if let Some(GroupPlace { id, place, of }) = &run.group {
        about.push(("group", format!("{place} of {of} of group {id}")));
    }
    let labels = run.labels.iter();
    let labels: Vec<_> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if !labels.is_empty() {
        about.push(("labels", labels.join(", ")));
    }
    let session = document.manifest.sessions.last();
    if let Some(by) = session.filter(|_| !run.status.is_terminal()) {
        let (pid, host, user) = (by.pid, &by.host, &by.user);
        let since = since(by.started_at);
        about.push((
            "worked on",
            format!("by process {pid} of {user} on {host} since {since}"),
        ));
    }
    if let Some(pause) = &run.paused {
        let by = pause.by.as_ref();
        let by = by.map_or_else(|| "Ctrl-Z".to_owned(), summary::actor_words);
        about.push(("paused", format!("since {}, by {by}", since(pause.from))));
    }
    if let Some(wall) = session.and_then(|session| session.wall.as_ref()) {
        about.push(("wall", wall.clone()));
    }
    if let Some(by) = session.and_then(|session| session.stopped_by.as_ref()) {
        about.push(("stopped", format!("by {}", summary::actor_words(by))));
    }
    for (name, text) in about {
        out.data(&format!(
            "{}{}",
            style::dim(&format!("{name:10}")),
            visible_line(&text)
        ));
    }
    if let Some(pin) = &run.pinned {
        let why = pin
            .by
            .reason
            .as_ref()
            .map_or_else(String::new, |why| format!(": {why}"));
        let text = format!("by {} on {}{why}", pin.by.user, pin.by.host);
        out.data(&format!(
            "{}{}",
            style::dim("pinned    "),
            visible_line(&text)
        ));
    }
    if let Some(live) = &document.live {
        out.data(&live_text(live, now));
    }
    out.data(&format!(
        "\n{}",
        providers(&document.providers, out.columns())
    ));
    let granted = grants::tables(&document.manifest.providers);
    if !granted.is_empty() {
        out.data(&format!("\n{}", style::bold("granted:")));
        let lines = granted.iter().map(|line| format!("  {line}"));
        out.data(&lines.collect::<Vec<_>>().join("\n"));
    }
    let denied = grants::denials(&document.denials, &document.manifest.providers);
    if !denied.is_empty() {
        out.data(&format!("\n{}", denied.join("\n")));
    }
    let mut failures = Failures::default();
    document.rows.failures(|row, _| failures.add(row))?;
    if failures.trials() > 0 {
        out.data(&format!("\n{}", style::bold("failed:")));
        out.data(&failures.lines(out.columns()).join("\n"));
    }
    if document.lost_results > 0 {
        let results = plural(document.lost_results, "result", "results");
        out.warn(&format!(
            "{results} that benchmark.json counts are gone from index.jsonl; `runner resume` runs their trials again"
        ));
    }
    if document.damaged_lines > 0 {
        let lines = plural(document.damaged_lines, "line is", "lines are");
        out.warn(&format!(
            "{lines} damaged in index.jsonl; `runner resume` runs their trials again"
        ));
    }
    Ok(())
}

/// What a run is doing.
fn live_text(live: &runner_record::Live, now: Time) -> String {
    let running = plural(live.in_flight.len() as u64, "attempt", "attempts");
    let mut text = format!(
        "{}{running} in flight",
        style::dim(&format!("{:10}", "now"))
    );
    for attempt in live.in_flight.iter().take(MOST_CANDIDATES) {
        let since = show_duration(Duration::from_millis(attempt.ms));
        let word = visible_line(&attempt.word);
        text.push_str(&format!("\n          {} {word} for {since}", attempt.trial));
    }
    for waiting in live.waiting.iter().take(MOST_CANDIDATES) {
        let trial = &waiting.trial;
        let what = match waiting.why.as_str() {
            "retry" => "a retry".to_owned(),
            _ => format!("the rate of {}", trial.provider),
        };
        text.push_str(&format!("\n          {trial} waits for {what}"));
        let left = waiting.until.since(now);
        // In a pause its time does not come.
        if !left.is_zero() {
            text.push_str(&format!(", {} more", show_duration(left)));
        }
    }
    if live.waits_for_memory {
        text.push_str("\n          more wait for memory");
    }
    text
}

fn providers(providers: &[ProviderTable], screen: Option<usize>) -> String {
    let mut table = Table::new(&[
        ("provider", 0),
        ("passed>", 0),
        ("failed>", 1),
        ("errors>", 2),
        ("timeouts>", 3),
        ("skipped>", 8),
        ("flaky>", 7),
        ("p50>", 5),
        ("p95>", 4),
        ("max>", 6),
    ]);
    for provider in providers {
        let counts = &provider.counts;
        let count = |count: u64| {
            if count > 0 {
                count.to_string()
            } else {
                String::new()
            }
        };
        let bad = |bad: u64| {
            if bad > 0 {
                style::red(&bad.to_string())
            } else {
                String::new()
            }
        };
        let [p50, p95, max] = provider
            .durations()
            .map(|duration| duration.map(show_duration).unwrap_or_default());
        table.row([
            visible_line(&provider.provider).into_owned(),
            count(counts.passed),
            bad(counts.failed),
            bad(counts.error),
            bad(counts.timeout),
            count(counts.skipped),
            count(counts.flaky),
            p50,
            p95,
            max,
        ]);
    }
    table.render(screen)
}
