//! `runner show`: a run, or one of its trials.

use std::time::Duration;

use runner_model::{
    RowRef, Time, TrialId,
    exit::Exit,
    units::{plural, show_duration},
    visible::visible_line,
};
use runner_record::{GroupPlace, Live, RecordError, RunDir, now};
use runner_report::{
    Failures, Found, ProviderTable, RunDocument, TrialDocument, Which, find_trial, words,
};

use super::group::{self, Named};
use crate::{
    args::RunArgs,
    text::{
        CommandError, Out, Table,
        failures::{self, BLOCK_LINES, row_block},
        grants, history, page, style, summary,
    },
};

/// Trials that a message names.
const MOST_CANDIDATES: usize = 10;

/// Show a run, or one of its trials
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    of: RunArgs,
    /// The trial: its id, or a part of it that no other trial has
    #[arg(value_name = "TRIAL")]
    trial: Option<String>,
    /// Only trials that failed, ended in an error or timed out, with their reasons
    #[arg(long, conflicts_with = "trial")]
    failed: bool,
    /// Show the sessions of the run, with their pauses, and every change of its status
    #[arg(long, conflicts_with_all = ["trial", "failed"])]
    history: bool,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let RunArgs { run, root, json } = &args.of;
    let (root_flag, root) = (root.flag(), root.open()?);
    let run = match Named::find(&root, &run.name_or_latest())? {
        Named::Run(run) => run,
        Named::Group(_) if args.trial.is_some() || args.failed || args.history => {
            let text = "that is a group: name one of its runs";
            return Err(CommandError::usage(text));
        }
        Named::Group(list) => {
            out.answer(*json, &list, |list| group::show(list, &root_flag, out));
            return Ok(Exit::Success);
        }
    };
    if let Some(text) = &args.trial {
        let trial = one_trial(&run, text, find_trial(&run, text)?)?;
        let document = TrialDocument::read(&root, &run, trial)?;
        out.answer(*json, &document, |document| out.data(&page::page(document)));
        return Ok(Exit::Success);
    }
    let which = match args.failed {
        true => Which::Failed,
        false => Which::All,
    };
    let document = RunDocument::read(&root, &run, which)?;
    if *json {
        out.document(&document);
    } else if args.failed {
        let each = |row: &RowRef<'_>| out.data(&row_block(row, BLOCK_LINES));
        document.rows.each(|row, _| each(row))?;
        out.data(&standing(&document));
    } else {
        overview(&document, out)?;
        if args.history {
            let history = history::lines(&document.manifest).join("\n");
            out.data(&format!("\n{history}"));
        }
        summary::print_next_steps(&document.run, &root_flag, out);
    }
    Ok(Exit::Success)
}

/// The trial that a text means.
pub fn one_trial(run: &RunDir, text: &str, found: Found) -> Result<TrialId, CommandError> {
    let (mut message, trials) = match found {
        Found::One(trial) => return Ok(trial),
        Found::Several(trials) => (format!("`{text}` could be one of {}", trials.len()), trials),
        Found::Nothing { trials } if trials.is_empty() => {
            return Err(CommandError::usage("the run has no rows yet"));
        }
        Found::Nothing { trials } => {
            let run = run.id();
            let message = format!("run {run} has no row of a trial `{text}`; it has rows of");
            (message, trials)
        }
    };
    message.push(':');
    for trial in trials.iter().take(MOST_CANDIDATES) {
        message.push_str(&format!("\n{trial}"));
    }
    if trials.len() > MOST_CANDIDATES {
        let left = trials.len() - MOST_CANDIDATES;
        message.push_str(&format!("\n… and {left} more"));
    }
    Err(CommandError::usage(message))
}

fn standing(document: &RunDocument) -> String {
    let took = Duration::from_millis(document.run.worked_ms);
    summary::standing(&document.run, took)
}

/// How the run stands, what it is, its providers, and what failed.
fn overview(document: &RunDocument, out: &Out) -> Result<(), RecordError> {
    let (run, now) = (&document.run, now());
    out.data(&standing(document));
    if let Some(message) = &run.message {
        out.data(&format!("  {message}"));
    }
    for (name, text) in about(document, now) {
        let name = style::dim(&format!("{name:10}"));
        out.data(&format!("{name}{}", visible_line(&text)));
    }
    if let Some(live) = &document.live {
        out.data(&live_text(live, now));
    }
    out.data(&format!(
        "\n{}",
        providers(&document.providers, out.columns())
    ));
    let providers = &document.manifest.providers;
    let granted = grants::tables(providers);
    if !granted.is_empty() {
        out.data(&format!("\n{}", style::bold("granted:")));
        out.data(&format!("  {}", granted.join("\n  ")));
    }
    let denied = grants::denials(&document.denials, providers);
    if !denied.is_empty() {
        out.data(&format!("\n{denied}"));
    }
    let mut failed = Failures::default();
    document.rows.failures(|row, _| failed.add(row))?;
    if failed.trials > 0 {
        let failed = failures::list(&failed, out.columns());
        out.data(&format!("\n{failed}"));
    }
    let lost = (document.lost_results > 0).then(|| {
        let results = plural(document.lost_results, "result", "results");
        format!("{results} that benchmark.json counts are gone from")
    });
    let damaged = (document.damaged_lines > 0).then(|| {
        let lines = plural(document.damaged_lines, "line is", "lines are");
        format!("{lines} damaged in")
    });
    for what in lost.into_iter().chain(damaged) {
        out.warn(&format!(
            "{what} index.jsonl; `runner resume` runs their trials again"
        ));
    }
    Ok(())
}

/// What the run is, by name.
fn about(document: &RunDocument, now: Time) -> Vec<(&'static str, String)> {
    let run = &document.run;
    let sessions = plural(run.sessions, "session", "sessions");
    let since = |time| format!("{} UTC, {}", words::clock(time), words::ago(now, time));
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
        let by = words::pauser(pause.by.as_ref());
        about.push(("paused", format!("since {}, by {by}", since(pause.from))));
    }
    if let Some(wall) = session.and_then(|session| session.wall.as_ref()) {
        about.push(("wall", wall.clone()));
    }
    if let Some(by) = session.and_then(|session| session.stopped_by.as_ref()) {
        about.push(("stopped", format!("by {}", words::actor(by))));
    }
    if let Some(pin) = &run.pinned {
        about.push(("pinned", format!("by {}", words::actor(&pin.by))));
    }
    about
}

/// What a run is doing.
fn live_text(live: &Live, now: Time) -> String {
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
    let mut table = Table::new([
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
        let count = |count: u64| match count {
            0 => String::new(),
            count => count.to_string(),
        };
        let durations = provider.durations();
        let [p50, p95, max] = durations.map(|time| time.map(show_duration).unwrap_or_default());
        table.row([
            visible_line(&provider.provider).into_owned(),
            count(counts.passed),
            style::bad_count(counts.failed),
            style::bad_count(counts.error),
            style::bad_count(counts.timeout),
            count(counts.skipped),
            count(counts.flaky),
            p50,
            p95,
            max,
        ]);
    }
    table.render(screen)
}
