//! `runner show`: a run, a group, or one trial of a run.

use std::time::Duration;

use runner_model::units::{plural, show_duration};
use runner_model::{RowRef, exit::Exit, status::RunVerdict, visible::visible_line};
use runner_record::{Manifest, RecordError, now};
use runner_report::{
    Failures, ProviderTable, RunDocument, TrialDocument, Which, find_trial, run_facts,
};

use super::{group, target::Target};
use crate::{
    args::RunArgs,
    text::{
        CommandError, Out, Table, grants, style, summary,
        trials::{self, BLOCK_LINES},
    },
};

/// Show a run, or one of its trials
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// The trial: its id, or a unique part of it
    #[arg(value_name = "TRIAL")]
    trial: Option<String>,
    /// Show only trials that failed, ended in an error or timed out, with their reasons
    #[arg(long, conflicts_with = "trial")]
    failed: bool,
    /// Also show the run's sessions with their pauses, and all changes of its status
    #[arg(long, conflicts_with_all = ["trial", "failed"])]
    history: bool,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let RunArgs { run, root, json } = &args.run;
    let root = root.open()?;
    let run = match Target::find(&root, &run.name_or_latest())? {
        Target::Run(run) => run,
        Target::Group(list) if args.trial.is_some() || args.failed || args.history => {
            let group = list.runs.first().and_then(|run| run.head.group.as_ref());
            let group = group.map_or("", |group| &group.id);
            return Err(CommandError::usage(format!(
                "`{}` is a group; name one of its runs\nlist its runs: {}",
                visible_line(group),
                root.command(&["list", "--group", group])
            )));
        }
        Target::Group(list) => {
            out.document_or(*json, &list, |list| group::show(list, out));
            return Ok(Exit::Success);
        }
    };
    let root = run.results_root()?;
    if let Some(text) = &args.trial {
        let trial = find_trial(&run, text)?.only(run.id(), text).map_err(CommandError::usage)?;
        let document = TrialDocument::read(&root, &run, trial)?;
        out.document_or(*json, &document, |document| {
            let page = document.row().map(|row| trials::page(&row, document.sections(&row)));
            out.data(&page.unwrap_or_default());
            let trial = document.trial.to_string();
            let words = ["plugin", "run", "--from", run.id(), "--trial", &trial];
            out.data(&format!("reproduce: {}", root.command(&words)));
        });
        return Ok(Exit::Success);
    }
    let which = if args.failed { Which::Failed } else { Which::All };
    let document = RunDocument::read(&root, &run, which)?;
    if *json {
        out.document(&document);
    } else if args.failed {
        document.rows.each(|row, _| out.data(&trials::block(row, BLOCK_LINES)))?;
        out.data(&summary_line(&document));
    } else {
        print_overview(&document, out)?;
        if args.history {
            print_history(&document.manifest, out);
        }
        summary::print_next_steps(&document.run, out);
    }
    Ok(Exit::Success)
}

fn summary_line(document: &RunDocument) -> String {
    summary::line(&document.run, Duration::from_millis(document.run.head.worked_ms))
}

fn print_overview(document: &RunDocument, out: &Out) -> Result<(), RecordError> {
    out.data(&summary_line(document));
    if let Some(message) = &document.run.head.message {
        out.data(&format!("  {}", summary::indented(message)));
    }
    for (name, text) in document.facts(now()) {
        let (name, text) = (format!("{name:10}"), text.replace('\n', "\n          "));
        out.data(&format!("{}{text}", style::dim(&name)));
    }
    out.data(&format!("\n{}", provider_table(&document.providers, out.columns())));
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
    document.rows.failures(|row: &RowRef<'_>, _| failed.add(row))?;
    trials::print_notable(&failed, out, true);
    print_damage(document, out);
    Ok(())
}

/// Warns of results and lines that `index.jsonl` has lost.
fn print_damage(document: &RunDocument, out: &Out) {
    let resume = document.run.resume_command(&document.run.short);
    let (lost, damaged) = (document.lost_results, document.damaged_lines);
    if lost > 0 {
        let (one, many) = (
            "result that benchmark.json counts is missing from index.jsonl; to run its trial again:",
            "results that benchmark.json counts are missing from index.jsonl; to run their trials again:",
        );
        out.warn(&format!("{} {resume}", plural(lost, one, many)));
    }
    if damaged > 0 {
        let lines = plural(damaged, "line of index.jsonl is", "lines of index.jsonl are");
        let head = &document.run.head;
        let has_all = document.manifest.rows.is_some() && head.verdict != RunVerdict::Damaged;
        let rest = match head.status.is_terminal() {
            true if has_all => "no result is lost".to_owned(),
            true => format!("to run trials without a result: {resume}"),
            false => "trials without a result run when the run is resumed".to_owned(),
        };
        out.warn(&format!("{lines} damaged; {rest}"));
    }
    if lost == 0 && document.run.head.verdict == RunVerdict::Damaged {
        out.warn(&format!("index.jsonl has other results than benchmark.json counts; to count them again: {resume}"));
    }
}

/// Prints the sessions of a run and the changes of its status, oldest first.
fn print_history(manifest: &Manifest, out: &Out) {
    out.data(&format!("\n{}", style::bold("sessions:")));
    for session in &manifest.sessions {
        let lines = run_facts::session(session).join("\n     ");
        out.data(&format!("{:>3}  {lines}", session.number));
    }
    out.data(&format!("\n{}", style::bold("changes of the status (UTC):")));
    for change in &manifest.transitions {
        out.data(&run_facts::change(change));
    }
}

fn provider_table(providers: &[ProviderTable], screen: Option<usize>) -> String {
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
        let [p50, p95, max] =
            provider.durations().map(|time| time.map(show_duration).unwrap_or_default());
        table.row([
            visible_line(&provider.provider).into_owned(),
            style::count(counts.passed),
            style::bad_count(counts.failed),
            style::bad_count(counts.error),
            style::bad_count(counts.timeout),
            style::count(counts.skipped),
            style::count(counts.flaky),
            p50,
            p95,
            max,
        ]);
    }
    table.render(screen)
}
