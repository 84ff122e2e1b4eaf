//! `runner show`: a run, or one of its trials.

use std::time::Duration;

use runner_model::{
    RowRef,
    exit::Exit,
    units::{plural, show_duration},
    visible::visible_line,
};
use runner_record::{Manifest, RecordError, now};
use runner_report::{
    Failures, ProviderTable, RunDocument, TrialDocument, Which, find_trial, run_facts,
};

use super::group::{self, Named};
use crate::{
    args::RunArgs,
    text::{
        CommandError, Out, Table,
        failures::{self, BLOCK_LINES, row_block},
        grants, page, style, summary,
    },
};

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
        let found = find_trial(&run, text)?.only(run.id(), text);
        let trial = found.map_err(CommandError::usage)?;
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
            history(&document.manifest, out);
        }
        summary::print_next_steps(&document.run, &root_flag, out);
    }
    Ok(Exit::Success)
}

fn standing(document: &RunDocument) -> String {
    let took = Duration::from_millis(document.run.worked_ms);
    summary::standing(&document.run, took)
}

/// How the run stands, what it is, its providers, and what failed.
fn overview(document: &RunDocument, out: &Out) -> Result<(), RecordError> {
    out.data(&standing(document));
    if let Some(message) = &document.run.message {
        out.data(&format!("  {message}"));
    }
    for (name, text) in document.facts(now()) {
        let (name, text) = (format!("{name:10}"), text.replace('\n', "\n          "));
        out.data(&format!("{}{text}", style::dim(&name)));
    }
    out.data(&format!("\n{}", providers(&document.providers, out.columns())));
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
        out.warn(&format!("{what} index.jsonl; `runner resume` runs their trials again"));
    }
    Ok(())
}

/// The sessions that worked on the run, and every change of its status, the oldest first.
fn history(manifest: &Manifest, out: &Out) {
    out.data(&format!("\n{}", style::bold("sessions:")));
    for session in &manifest.sessions {
        let lines = run_facts::session(session).join("\n     ");
        out.data(&format!("{:>3}  {lines}", session.number));
    }
    let title = style::bold("changes of the status (UTC):");
    out.data(&format!("\n{title}"));
    let changes = manifest.transitions.iter();
    changes.for_each(|change| out.data(&run_facts::change(change)));
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
