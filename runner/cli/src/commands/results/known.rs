//! `runner known`: the known failures of a run, and lists that expect its results.

use runner_engine::{EditRequest, Edits};
use runner_model::Outcome;
use runner_model::exit::Exit;
use runner_model::known::{KnownEntry, KnownList, KnownState, Stale};
use runner_model::units::{grouped, plural};
use runner_model::visible::visible_line;
use runner_record::{RecordError, RunDir};
use runner_report::schemars::{self, JsonSchema};
use runner_report::{PlanOrder, RunTable, VERSION};
use runner_scenario::{Filter, KnownUpdate};
use serde::Serialize;

use super::accept::{MAX_NAMED, confirm, print_diff};
use crate::args::{DocumentArgs, RunArgs, filters};
use crate::commands::target::Target;
use crate::text::{CommandError, Out, Table, style};

/// Globs of an entry that the table has.
const MAX_GLOBS: usize = 2;
/// Tests and entries that a line names.
const MAX_IN_LINE: usize = 5;

/// Print the known failures of a run, or update their lists
///
/// `--update` edits the lists that the scenario names so that they expect the results of the run: it adds failures, removes
/// entries whose trials pass, and keeps comments and reasons. It shows the difference of each file, and asks. New entries have
/// an empty reason, which `exec` and `rescore` refuse until you write it.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Write the results of the run into the lists
    #[arg(long, conflicts_with = "json")]
    update: bool,
    /// Update only tests with a trial that matches `test(a*)`; repeatable
    #[arg(short = 'E', long, value_name = "FILTER", requires = "update")]
    filter: Vec<String>,
    /// Only remove entries whose trials all pass
    #[arg(long, requires = "update", conflicts_with = "reason")]
    fixed: bool,
    /// Reason of new entries
    #[arg(long, value_name = "TEXT", requires = "update")]
    reason: Option<String>,
    /// Write without asking
    #[arg(short, long, requires = "update", conflicts_with = "dry_run")]
    yes: bool,
    /// Show the differences, and write nothing
    #[arg(long, requires = "update")]
    dry_run: bool,
}

/// `runner known`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KnownDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run's id.
    pub run: String,
    /// Passes that no entry expects make the run fail.
    pub strict: bool,
    /// Entries that do not apply make the run fail.
    pub strict_entries: bool,
    /// In the order in which they apply: the last one that matches a trial decides.
    pub entries: Vec<KnownLine>,
}

/// An entry of a list of known failures.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KnownLine {
    /// The entry beside the results of the run.
    pub state: EntryState,
    /// Trials of the plan that its globs match.
    pub trials: u64,
    /// Trials that did not pass, as the entry expects.
    pub known: u64,
    /// Trials with another result than the entry expects.
    pub unexpected: u64,
    #[serde(flatten)]
    pub entry: KnownEntry,
}

/// The state of an entry beside the results of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntryState {
    /// A trial passed, or did not pass with another outcome.
    Unexpected,
    /// The run was started after the entry's last day.
    Expired,
    /// The test or its expectations are others than those of the entry.
    Changed,
    /// The plan has no such trial.
    Unmatched,
    /// All of its trials passed, which the list accepts. An update removes the entry.
    Fixed,
    /// All of its results are expected.
    Known,
}

impl EntryState {
    fn of(entry: &KnownEntry, unexpected: u64, is_fixed: bool) -> Self {
        match entry.stale {
            Some(Stale::Expired) => Self::Expired,
            Some(Stale::Changed) => Self::Changed,
            Some(Stale::Unmatched) => Self::Unmatched,
            Some(Stale::Outcome) => Self::Unexpected,
            None if unexpected > 0 => Self::Unexpected,
            None if is_fixed && !entry.flaky => Self::Fixed,
            None => Self::Known,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::Expired => "expired",
            Self::Changed => "changed",
            Self::Unmatched => "unmatched",
            Self::Fixed => "fixed",
            Self::Known => "known",
        }
    }
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let RunArgs { run, document: DocumentArgs { root, json } } = &args.run;
    let root = root.open()?;
    if args.update {
        let request = EditRequest {
            run: run.name(),
            filter: Filter::all(filters(&args.filter)?),
            results: root.path().to_owned(),
        };
        let reason = args.reason.as_deref().unwrap_or_default();
        let edits = runner_engine::update_known(&request, reason, args.fixed)?;
        return update(&edits, args, out);
    }
    let run = Target::find_run(&root, &run.name_or_latest())?;
    let document = run.snapshot(|| KnownDocument::read(&run))?;
    out.document_or(*json, &document, |document| document.print(&run, out));
    Ok(Exit::Success)
}

impl KnownDocument {
    /// Compares the known failures of a run with its results.
    fn read(run: &RunDir) -> Result<Self, RecordError> {
        let known = run.known(&run.manifest()?)?;
        let table = RunTable::open(run)?;
        let order = PlanOrder::read(&table);
        let entries = &known.list().entries;
        // Trials, passed ones, known results and unexpected ones.
        let mut counts = vec![[0; 4]; entries.len()];
        for place in order.needed(&table) {
            let Some(trial) = order.trial_id(&table, place) else { continue };
            let row = order.number(place).and_then(|number| table.result(number));
            let has_passed = row.is_some_and(|row| row.outcome == Outcome::Passed);
            for number in known.matching(&trial.test, &trial.provider) {
                let entry = &entries[number as usize];
                if entry.stale.is_some() || entry.has_member(&trial.test) {
                    let [trials, passed, ..] = &mut counts[number as usize];
                    *trials += 1;
                    *passed += u64::from(has_passed);
                }
            }
            let entry = known.deciding(&trial.test, &trial.provider);
            if let (Some(entry), Some(row)) = (entry, row) {
                let [.., known, unexpected] = &mut counts[entry as usize];
                *known += u64::from(row.state == KnownState::Known);
                *unexpected += u64::from(row.is_unexpected());
            }
        }
        let lines =
            entries.iter().zip(counts).map(|(entry, [trials, passed, known, unexpected])| {
                let state = EntryState::of(entry, unexpected, trials > 0 && passed == trials);
                KnownLine { state, trials, known, unexpected, entry: entry.clone() }
            });
        let KnownList { strict, strict_entries, .. } = *known.list();
        let run = run.id().to_owned();
        Ok(Self { v: VERSION, run, strict, strict_entries, entries: lines.collect() })
    }

    fn print(&self, run: &RunDir, out: &Out) {
        if self.entries.is_empty() {
            out.talk("the run has no list of known failures");
            return;
        }
        let mut table = Table::new([
            ("state", 0),
            ("trials>", 0),
            ("tests", 0),
            ("providers", 3),
            ("kinds", 4),
            ("until", 2),
            ("place", 1),
            ("reason", 0),
        ]);
        let mut lines: Vec<_> = self.entries.iter().collect();
        lines.sort_by_key(|line| line.state);
        for line in &lines {
            let KnownEntry { tests, providers, kinds, reason, until, .. } = &line.entry;
            table.row([
                line.state.word().to_owned(),
                grouped(line.trials),
                globs(tests),
                globs(providers),
                globs(kinds),
                until.clone().unwrap_or_default(),
                place(&line.entry),
                visible_line(reason).into_owned(),
            ]);
        }
        out.data(&table.render(out.columns()));
        let known: u64 = lines.iter().map(|line| line.known).sum();
        let mut parts = vec![plural(known, "known failure", "known failures")];
        for lines in lines.chunk_by(|one, other| one.state == other.state) {
            if lines[0].state != EntryState::Known {
                let entries = plural(lines.len() as u64, "entry", "entries");
                parts.push(format!("{entries} {}", lines[0].state.word()));
            }
        }
        let is_clean = parts.len() == 1;
        let sign = if is_clean { style::green("✓") } else { style::red("✗") };
        out.data(&format!("{sign} {}", parts.join(", ")));
        let open = lines.iter().filter(|line| line.entry.is_open()).count() as u64;
        if open > 0 {
            let entries = plural(open, "entry has a glob", "entries have globs");
            out.hint(&format!(
                "{entries} without `judged`, and {} new tests, too; to list the present ones, write `judged = []`, then: {}",
                if open == 1 { "excuses" } else { "excuse" },
                run.command("known", &["--update"])
            ));
        }
        if !is_clean {
            let command = run.command("known", &["--update"]);
            out.hint(&format!("to write the results into the lists: {command}"));
        }
    }
}

/// Formats the first globs of an entry.
fn globs(all: &[String]) -> String {
    first_of(all, MAX_GLOBS)
}

/// Joins the first `max` names.
fn first_of(names: &[String], max: usize) -> String {
    let shown = names[..max.min(names.len())].join(", ");
    let more = names.len().saturating_sub(max);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    visible_line(&(shown + &more)).into_owned()
}

fn place(KnownEntry { file, line, .. }: &KnownEntry) -> String {
    format!("{}:{line}", visible_line(file.as_deref().unwrap_or("scenario")))
}

/// Shows the changes of lists, and writes them if the user agrees.
fn update(edits: &Edits<KnownUpdate>, args: &Args, out: &Out) -> Result<Exit, CommandError> {
    edits.notices.iter().for_each(|notice| out.warn(notice));
    let update = &edits.report;
    for (path, edit) in &edits.files {
        print_diff(path, edit, out);
    }
    for (entry, pairs) in update.expired.iter().take(MAX_NAMED) {
        let (place, until) = (place(entry), entry.until.as_deref().unwrap_or_default());
        let trials = plural(*pairs as u64, "test still fails", "tests still fail");
        out.warn(&format!(
            "{place}: expired on {until}, and {trials}: fix {}, or write a later `until`",
            if *pairs == 1 { "it" } else { "them" }
        ));
    }
    let hidden = update.expired.len().saturating_sub(MAX_NAMED);
    if hidden > 0 {
        out.warn(&format!("{} more have expired", plural(hidden as u64, "entry", "entries")));
    }
    if !update.unmatched.is_empty() {
        let names = update
            .unmatched
            .iter()
            .map(|entry| format!("{} {}", place(entry), globs(&entry.tests)));
        let names = names.collect::<Vec<_>>();
        let count = plural(names.len() as u64, "entry matches", "entries match");
        out.warn(&format!("{count} no test: {}", first_of(&names, MAX_IN_LINE)));
    }
    if edits.files.is_empty() {
        out.talk("nothing to update");
        return Ok(Exit::Success);
    }
    if update.added > 0 && update.removed + update.changed > 0 {
        let count = update.newly_failing.len() as u64;
        let count = plural(count, "newly failing test gets", "newly failing tests get");
        let names = first_of(&update.newly_failing, MAX_IN_LINE);
        out.warn(&format!("{count} an entry: {names}"));
        out.hint("to only remove entries whose trials all pass, add `--fixed`");
    }
    let counts =
        [(update.added, "added"), (update.changed, "changed"), (update.removed, "removed")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, verb)| format!("{count} {verb}")).collect();
    let files = plural(edits.files.len() as u64, "file", "files");
    if args.dry_run {
        out.talk(&format!("{} in {files}; nothing was written", counts.join(", ")));
        return Ok(Exit::Success);
    }
    if !args.yes && !confirm(&format!("{} in {files}", counts.join(", ")), out)? {
        return Ok(Exit::Success);
    }
    edits.write()?;
    out.talk(&format!("wrote {files}: {}", counts.join(", ")));
    for (file, count) in &update.drafts {
        let file = visible_line(file);
        out.hint(&format!("first write {} in {file}", plural(*count, "reason", "reasons")));
    }
    out.hint(&format!("to judge the run by them: {}", edits.next));
    Ok(Exit::Success)
}
