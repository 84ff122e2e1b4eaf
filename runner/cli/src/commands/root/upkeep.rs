//! `runner cleanup`, `prune`, `pin`, `unpin`, `verify` and `reindex`: maintenance of a results root.

use std::collections::{BTreeMap, HashSet};
use std::{env, time::Duration};

use runner_model::units::{grouped, parse_age, parse_size, plural, show_size};
use runner_model::visible::{shown_path, visible_line};
use runner_model::{Places, Reason, RunStatus, Time, exit::Exit, row::Actor};
use runner_operations::{notify::unsent, settings::Settings};
use runner_record::{
    DeadRuns, DiskFault, Manifest, ManifestProvider, PrunePolicy, Pruning, RecordError, RunDir,
    Scratch, Verified, actor, now,
};
use runner_report::schemars::{self, JsonSchema};
use runner_report::{PruneDocument, RunList, VERSION, plan, short_id};
use serde::Serialize;

use crate::args::{DocumentArgs, RootArgs, RunArg, RunArgs, StatusArgs, fraction, number};
use crate::session_end;
use crate::text::{CommandError, Out, Table, error::no_runs, mistake, style, summary};

/// Runs that `prune` kept and that are named with the reason.
const MOST_KEPT: usize = 3;

/// The arguments of commands that only show their changes without `--yes`.
#[derive(clap::Args)]
struct ChangeArgs {
    /// Apply the changes
    #[arg(long, visible_alias = "no-dry-run")]
    yes: bool,
    #[command(flatten)]
    document: DocumentArgs,
}

/// Update the status of runs whose process died
#[derive(clap::Args)]
pub struct CleanupArgs {
    /// Only runs that started at least H hours ago; fractions are allowed
    #[arg(long, value_name = "H", value_parser = hours)]
    stale_hours: Option<Duration>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Delete old runs
#[derive(clap::Args)]
#[command(
    after_help = "Without a policy and a run, `[retention]` of the results root's `runner.toml` applies. Without another policy, `--status` deletes all runs in these states."
)]
pub struct PruneArgs {
    /// Delete these runs: ids or parts of them, paths, or `latest`
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    #[command(flatten)]
    status: StatusArgs,
    /// Delete runs that ended longer ago, such as `30d`
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// Keep the newest N runs
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    keep_last: Option<u64>,
    /// Delete the oldest runs above a size, such as `9GiB`
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Protect a run from `prune`
#[derive(clap::Args)]
pub struct PinArgs {
    #[command(flatten)]
    run: UnpinArgs,
    /// The reason; `runner show` prints it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Allow `prune` to delete a run again
#[derive(clap::Args)]
pub struct UnpinArgs {
    #[command(flatten)]
    run: RunArg,
    #[command(flatten)]
    root: RootArgs,
}

/// `runner cleanup`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CleanupDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Nothing was written.
    pub dry_run: bool,
    /// Runs with a dead process.
    pub runs: Vec<DeadRun>,
    /// Runs that could not be written.
    pub problems: Vec<String>,
}

/// A run with a dead process.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeadRun {
    /// The run's id.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// Start of the first session.
    pub started_at: Time,
    /// Trials that have a final row.
    pub done: u64,
    /// Trials of the plan.
    pub planned: u64,
    /// Names of the providers.
    pub providers: Vec<String>,
    /// The status that the cleanup writes.
    pub status: RunStatus,
    /// Reason of that status.
    pub reason: Option<Reason>,
}

impl From<Manifest> for DeadRun {
    fn from(run: Manifest) -> Self {
        let providers = run.providers.into_iter().filter(ManifestProvider::is_tested);
        Self {
            run: run.id,
            scenario: run.scenario,
            started_at: run.started_at,
            done: run.counts.done(),
            planned: run.metadata.planned_trial_count,
            providers: providers.map(|provider| provider.name).collect(),
            status: run.status,
            reason: run.reason,
        }
    }
}

pub fn cleanup(args: &CleanupArgs, out: &Out) -> Result<Exit, CommandError> {
    let ChangeArgs { yes, document: DocumentArgs { root, json } } = &args.change;
    let root = root.open()?;
    let now = now();
    let age = args.stale_hours.unwrap_or_default();
    let is_old = |run: &Manifest| now.since(run.started_at) >= age;
    let mut problems = Vec::new();
    let (runs, skipped): (Vec<Manifest>, _) = if *yes {
        Scratch::sweep(&env::temp_dir());
        let swept = root.sweep_of(is_old)?;
        for (run, error) in swept.failed {
            problems.push(format!("run {run}: {error}"));
        }
        let ended = swept.ended.iter();
        let ended = ended.filter_map(|run| Some((root.find_named(&run.id).ok()?, run.clone())));
        session_end::continue_preempted(&root, out);
        session_end::notify(&ended.collect::<Vec<_>>(), *json, out);
        (swept.ended, swept.skipped)
    } else {
        let DeadRuns { runs: dead, skipped } = root.dead()?;
        (dead.into_iter().map(|(_, manifest)| manifest).filter(is_old).collect(), skipped)
    };
    let document = CleanupDocument {
        v: VERSION,
        dry_run: !yes,
        runs: runs.into_iter().map(DeadRun::from).collect(),
        problems,
    };
    let runs = &document.runs;
    let problems = &document.problems;
    out.document_or(*json, &document, |_| {
        if !runs.is_empty() {
            out.data(&dead_table(runs, now, out.columns()));
            out.data(&changes(runs, !yes));
        } else if problems.is_empty() {
            out.talk("no dead process has left a run open");
        }
        for error in &skipped {
            out.warn(&format!("skipped: {error}"));
        }
        for problem in problems {
            out.warn(problem);
        }
        if !yes && !runs.is_empty() {
            out.hint(&format!("apply: {}", root.command(&["cleanup", "--yes"])));
        }
    });
    Ok(if problems.is_empty() { Exit::Success } else { Exit::Storage })
}

/// Formats the number of runs that get each status.
fn changes(runs: &[DeadRun], is_dry_run: bool) -> String {
    let mut statuses = BTreeMap::<RunStatus, u64>::new();
    runs.iter().for_each(|run| *statuses.entry(run.status).or_default() += 1);
    let verb = if is_dry_run { "would become" } else { "became" };
    let changes = statuses
        .iter()
        .map(|(status, count)| format!("{} {verb} {status}", plural(*count, "run", "runs")));
    changes.collect::<Vec<_>>().join(", ")
}

fn dead_table(runs: &[DeadRun], now: Time, screen: Option<usize>) -> String {
    let mut table = Table::new([
        ("run", 0),
        ("scenario", 3),
        ("started (UTC)", 1),
        ("progress>", 0),
        ("providers", 2),
        ("becomes", 0),
    ]);
    for run in runs {
        let reason = run.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        table.row([
            shown_id(&run.run, screen),
            visible_line(&run.scenario).into_owned(),
            summary::when(now, run.started_at, screen),
            format!("{}/{}", grouped(run.done), grouped(run.planned)),
            visible_line(&run.providers.join(", ")).into_owned(),
            format!("{}{reason}", run.status),
        ]);
    }
    table.render(screen)
}

pub fn prune(args: &PruneArgs, out: &Out) -> Result<Exit, CommandError> {
    let ChangeArgs { yes, document: DocumentArgs { root, json } } = &args.change;
    let root = root.open()?;
    let mut policy = PrunePolicy {
        runs: args.runs.clone(),
        states: args.status.states(),
        older_than: args.older_than,
        keep_last: args.keep_last,
        max_size: args.max_size,
        only_own: false,
        keep: BTreeMap::new(),
    };
    let now = now();
    // Files that others could have written are ignored.
    let settings = Settings::read(&root)?;
    settings.ignored.iter().for_each(|why| out.warn(why));
    if policy.is_empty() {
        let retention = &settings.keys.retention;
        policy.older_than = retention.older_than;
        policy.keep_last = retention.keep_last;
        policy.max_size = retention.max_size;
    }
    let has_policy = !policy.is_empty();
    if has_policy {
        policy.keep = unsent(&root, &settings, now)?;
    }
    if *yes {
        Scratch::sweep(&env::temp_dir());
    }
    let document =
        PruneDocument { v: VERSION, dry_run: !yes, pruning: root.prune(&policy, !yes, now)? };
    let pruning = &document.pruning;
    let named = pruning.kept.iter().filter(|kept| kept.is_named);
    let exit = match pruning.problems.is_empty() {
        false => Exit::Storage,
        true if named.clone().any(|kept| kept.is_held) => Exit::Held,
        true if named.clone().next().is_some() => Exit::Usage,
        true => Exit::Success,
    };
    if *json {
        out.document(&document);
        return Ok(exit);
    }
    if !pruning.runs.is_empty() {
        out.data(&pruned_table(pruning, now, out.columns()));
    }
    out.data(&totals(pruning, !yes));
    named.for_each(|kept| out.warn(&kept.why));
    let others: Vec<_> = pruning.kept.iter().filter(|kept| !kept.is_named).collect();
    others.iter().take(MOST_KEPT).for_each(|kept| out.talk(&format!("kept: {}", kept.why)));
    if others.len() > MOST_KEPT {
        let more = plural((others.len() - MOST_KEPT) as u64, "more run", "more runs");
        out.talk(&format!("kept {more}; `--json` has the reason of each"));
    }
    for problem in &pruning.problems {
        out.warn(problem);
    }
    let is_empty = pruning.runs.is_empty() && pruning.leftovers.is_empty() && pruning.contents == 0;
    if !yes && !is_empty {
        out.hint("to delete, add --yes");
    } else if !has_policy && settings.ignored.is_none() {
        out.hint("no policy is set; to delete runs, add one, such as --older-than 30d or --keep-last 100");
    }
    Ok(exit)
}

fn pruned_table(pruning: &Pruning, now: Time, screen: Option<usize>) -> String {
    let mut table = Table::new([
        ("run", 0),
        ("status", 0),
        ("scenario", 1),
        ("started (UTC)", 2),
        ("size>", 0),
    ]);
    for run in &pruning.runs {
        table.row([
            shown_id(&run.run, screen),
            summary::signed(run.state, &run.state.as_str().replace('-', " ")),
            visible_line(&run.scenario).into_owned(),
            summary::when(now, run.started_at, screen),
            show_size(run.bytes),
        ]);
    }
    table.render(screen)
}

fn totals(pruning: &Pruning, is_dry_run: bool) -> String {
    let verb = if is_dry_run { "would delete" } else { "deleted" };
    let bytes = pruning.runs.iter().map(|run| run.bytes).sum();
    let runs = plural(pruning.runs.len() as u64, "run", "runs");
    let mut text = format!("{verb} {runs}, {}", show_size(bytes));
    let resumable = pruning
        .runs
        .iter()
        .filter(|run| matches!(run.status, RunStatus::Incomplete | RunStatus::Failed))
        .count() as u64;
    if resumable > 0 {
        let runs = plural(resumable, "run", "runs");
        text += &format!("; {runs} could still be resumed");
    }
    let left = pruning.leftovers.len() as u64;
    if left > 0 {
        let folders = plural(left, "unfinished folder", "unfinished folders");
        text += &format!("; {folders}");
    }
    if pruning.contents > 0 {
        let files = plural(pruning.contents, "stored file", "stored files");
        let size = show_size(pruning.content_bytes);
        text += &format!("; {files} that no run needs, {size}");
    }
    text
}

pub fn pin(args: &PinArgs, out: &Out) -> Result<Exit, CommandError> {
    let reason = args.reason.clone().filter(|reason| !reason.is_empty());
    set_pin(&args.run, Some(actor(reason)), out)
}

pub fn unpin(args: &UnpinArgs, out: &Out) -> Result<Exit, CommandError> {
    set_pin(args, None, out)
}

fn set_pin(args: &UnpinArgs, by: Option<Actor>, out: &Out) -> Result<Exit, CommandError> {
    let name = args.run.name().ok_or_else(|| {
        mistake!("name the run: its id, a unique part of it, a path, or `latest`")
    })?;
    let run = args.root.open()?.find(&name)?;
    let is_pin = by.is_some();
    let state = match (is_pin, run.results_root().claim(&run)?.pin(by)?) {
        (true, true) => "pinned",
        (true, false) => "already pinned",
        (false, true) => "no longer pinned",
        (false, false) => "not pinned",
    };
    out.talk(&format!("run {} is {state}", run.id()));
    Ok(Exit::Success)
}

/// The result of a verification.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifyDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run's id.
    pub run: String,
    /// The directory as a user would type it.
    pub run_dir: String,
    #[serde(flatten)]
    pub verified: Verified,
}

impl VerifyDocument {
    /// Verifies a run.
    ///
    /// # Errors
    ///
    /// The manifest cannot be read.
    fn read(run: &RunDir) -> Result<Self, RecordError> {
        // The plan must be that of the rows.
        let verified = run.snapshot(|| {
            let plan = plan::read(run);
            let places = plan.as_ref().ok().and_then(Option::as_ref);
            let mut verified = run.verify(places.map(|suite| suite as &dyn Places))?;
            if let Err(problem) = plan {
                verified
                    .faults
                    .insert(0, DiskFault { path: run.path(), line: None, problem, remedy: None });
            }
            Ok::<_, RecordError>(verified)
        })?;
        Ok(Self {
            v: VERSION,
            run: run.id().to_owned(),
            run_dir: run.path().to_string_lossy().into_owned(),
            verified,
        })
    }
}

pub fn verify(args: &RunArgs, out: &Out) -> Result<Exit, CommandError> {
    let run = args.run.find(&args.document.root.open()?)?;
    let document = VerifyDocument::read(&run)?;
    out.document_or(args.document.json, &document, |document| {
        fault_lines(document).iter().for_each(|line| out.data(line));
    });
    Ok(if document.verified.faults.is_empty() { Exit::Success } else { Exit::Bad })
}

fn fault_lines(document: &VerifyDocument) -> Vec<String> {
    let verified = &document.verified;
    let faults = verified.faults.iter().chain(&verified.harmless);
    let mut remedies = HashSet::new();
    let mut lines: Vec<_> = faults
        .map(|fault| {
            let line = fault.line.map_or_else(String::new, |line| format!(":{line}"));
            let path = shown_path(&fault.path);
            // Most faults have the same remedy.
            let remedy = fault.remedy.iter().filter(|remedy| remedies.insert(*remedy));
            let remedy: String = remedy.map(|remedy| format!("; to repair it: {remedy}")).collect();
            format!("{path}{line}: {}", visible_line(&(fault.problem.clone() + &remedy)))
        })
        .collect();
    if verified.left_out > 0 {
        lines.push(format!("… and {} more", verified.left_out));
    }
    let harmless = verified.harmless.len() as u64;
    let (sign, state) = match verified.faults.len() as u64 + verified.left_out {
        0 if harmless > 0 => {
            let lines = plural(harmless, "damaged line", "damaged lines");
            (style::green("✓"), format!("{lines}, and no result is lost"))
        }
        0 => (style::green("✓"), "nothing is damaged".to_owned()),
        faults => (style::red("✗"), plural(faults, "fault", "faults")),
    };
    lines.push(format!(
        "{sign} {}: {state}; checked {}, {}, {}",
        visible_line(&document.run_dir),
        plural(verified.rows, "row", "rows"),
        plural(verified.artifacts, "artifact", "artifacts"),
        plural(verified.contents, "stored file", "stored files")
    ));
    lines
}

pub fn reindex(args: &RootArgs, out: &Out) -> Result<Exit, CommandError> {
    let root = args.open()?;
    if !root.path().is_dir() {
        return Err(CommandError::usage(no_runs(root.path())));
    }
    let path = root.path().join("runner.db");
    let runs = root.reindex()? as u64;
    out.data(&format!("rebuilt {} with {}", shown_path(&path), plural(runs, "run", "runs")));
    for run in RunList::read(&root)?.unreadable {
        out.warn(&format!("{}: {}", run.run, run.problem));
    }
    Ok(Exit::Success)
}

/// Returns an id, short on a screen.
fn shown_id(id: &str, screen: Option<usize>) -> String {
    visible_line(screen.map_or(id, |_| short_id(id))).into_owned()
}

fn hours(text: &str) -> Result<Duration, String> {
    fraction(text, 3600.0).ok_or_else(|| "expected hours, such as 24 or 0.5".to_owned())
}

fn age(text: &str) -> Result<Duration, String> {
    parse_age(text).map_err(|_| "expected an age such as 30d, 2w or 12h".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|_| "expected a size such as 10GiB, or a number of bytes".to_owned())
}

#[cfg(test)]
#[path = "../../tests/upkeep.rs"]
mod tests;
