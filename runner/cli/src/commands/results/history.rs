//! `runner history`: results of tests over the runs of a scenario.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use runner_engine::scenario_path;
use runner_model::units::{grouped, plural, show_duration};
use runner_model::{Time, exit::Exit, status::RunState, visible::visible_line};
use runner_record::{ResultsRoot, now};
use runner_report::{HistoryDocument, HistoryGroups, HistoryQuery, PastResults, phrases, short_id};
use runner_scenario::IdGlob;

use crate::args::{DocumentArgs, whole};
use crate::commands::list::{glob, since};
use crate::text::{CommandError, Out, Table, matrix, mistake, style, summary};

/// Runs without `--limit` and `--since`.
const NEWEST: usize = 20;
/// Tests that are listed without `--test`.
const MOST_TESTS: usize = 50;
/// Left-out runs, scenarios and labels that a message names.
const MOST_NAMED: usize = 5;
/// Time after which a message explains the wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// Show results of tests over the runs of a scenario
#[derive(clap::Args)]
pub struct Args {
    /// The scenario's name or file [default: of the newest run]
    #[arg(value_name = "SCENARIO")]
    scenario: Option<String>,
    /// Only tests whose id matches; repeatable
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    test: Vec<Arc<IdGlob>>,
    /// Only providers whose name matches; repeatable
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    provider: Vec<Arc<IdGlob>>,
    /// Only runs started since `7d`, `2026-11-20` or `2026-11-20T09:30`
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Time>,
    /// Sum up by `run`, `day`, or the name of a label [default: run]
    #[arg(long, value_name = "KEY", value_parser = by, default_value = "run")]
    #[arg(hide_default_value = true)]
    by: HistoryGroups,
    /// At most N runs, the newest [default: 20; all with --since]
    #[arg(short = 'n', long, value_name = "N", value_parser = whole(1..=1_000_000))]
    limit: Option<u32>,
    #[command(flatten)]
    document: DocumentArgs,
}

fn by(text: &str) -> Result<HistoryGroups, String> {
    match text {
        "" => Err("expected `run`, `day`, or the name of a label".to_owned()),
        "run" => Ok(HistoryGroups::Run),
        "day" => Ok(HistoryGroups::Day),
        label => Ok(HistoryGroups::Label(label.to_owned())),
    }
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let root = args.document.root.open()?;
    let (name, path) = scenario(&root, args.scenario.as_deref())?;
    let all = if args.since.is_some() { usize::MAX } else { NEWEST };
    let is_in = |globs: &[Arc<IdGlob>], name: &str| {
        globs.is_empty() || globs.iter().any(|glob| glob.is_match(name))
    };
    let query = HistoryQuery {
        is_wanted: &|test, provider| is_in(&args.test, test) && is_in(&args.provider, provider),
        since: args.since,
        limit: args.limit.map_or(all, |limit| limit as usize),
        by: &args.by,
    };
    let document = HistoryDocument::read(&root, &name, &path, &query, &mut explain_wait(out))?;
    if !document.runs.is_empty() && document.tests.iter().next().is_none() {
        let flags = [("`--test`", &args.test), ("`--provider`", &args.provider)];
        let flags = flags.iter().filter(|(_, globs)| !globs.is_empty());
        let flags: Vec<_> = flags.map(|(flag, _)| *flag).collect();
        if !flags.is_empty() {
            let (runs, name) = (document.runs.len() as u64, visible_line(&name));
            let runs = plural(runs, "run", "runs");
            let problem = format!("no test in {runs} of {name} matches {}", flags.join(" and "));
            return Err(CommandError::new(Exit::NothingSelected, problem));
        }
    }
    if let HistoryGroups::Label(label) = &args.by
        && !document.runs.is_empty()
        && document.sums.iter().all(|sum| sum.key.is_none())
    {
        let labels = document.runs.iter().flat_map(|run| run.labels.keys());
        return Err(unknown(&format!("no run has the label `{label}`"), "labels", labels));
    }
    out.document_or(args.document.json, &document, |document| print(document, args, out));
    Ok(Exit::Success)
}

/// Returns a function that prints one message if it is still called after [`PATIENCE`].
pub fn explain_wait(out: &Out) -> impl FnMut() {
    let mut until = Some(Instant::now() + PATIENCE);
    move || {
        if until.take_if(|until| Instant::now() > *until).is_some() {
            out.hint("reading the results of the runs; the first time takes longest…");
        }
    }
}

/// Finds the name and the path of a scenario: of the newest run, of the newest run of this file, or of this name.
fn scenario(root: &ResultsRoot, name: Option<&str>) -> Result<(String, PathBuf), CommandError> {
    let Some(name) = name else {
        let newest = root.find("latest")?.manifest()?;
        return Ok((newest.scenario, newest.scenario_path.into()));
    };
    if let Some(path) = scenario_path(name.as_ref()).ok().filter(|path| path.is_file()) {
        let runs = root.runs_of_user(None)?.flatten();
        let mut manifests = runs.filter_map(|run| run.manifest().ok());
        let found = manifests.find(|manifest| Path::new(&manifest.scenario_path) == path);
        return found.map(|found| (found.scenario, path)).ok_or_else(|| {
            let runner = root.command(&["exec", name]);
            mistake!("no run of {} yet\nto run it: {runner}", visible_line(name))
        });
    }
    let heads = root.runs()?.runs;
    match heads.iter().find(|head| head.scenario == name) {
        Some(head) => Ok((name.to_owned(), root.find(&head.id)?.manifest()?.scenario_path.into())),
        None => {
            let names = heads.iter().map(|head| &head.scenario);
            Err(unknown(&format!("no run of a scenario `{name}`"), "scenarios with runs", names))
        }
    }
}

fn unknown<'a>(
    problem: &str,
    names: &str,
    known: impl Iterator<Item = &'a String>,
) -> CommandError {
    let known: BTreeSet<_> = known.map(|name| visible_line(name)).collect();
    let shown: Vec<_> = known.iter().take(MOST_NAMED).map(|name| format!("`{name}`")).collect();
    let more = if known.len() > MOST_NAMED { ", …" } else { "" };
    let known = if known.is_empty() { "none".to_owned() } else { shown.join(", ") };
    mistake!("{}\n{names}: {known}{more}", visible_line(problem))
}

fn print(document: &HistoryDocument, args: &Args, out: &Out) {
    let (Some(first), Some(last)) = (document.runs.first(), document.runs.last()) else {
        out.talk("no runs match; without `--since`, the newest 20 are shown");
        return;
    };
    let runs = plural(document.runs.len() as u64, "run", "runs");
    let [from, to] = [first, last].map(|run| phrases::zoned_clock(run.started_at));
    let name = visible_line(&document.scenario);
    out.data(&style::bold(&format!("{runs} of {name}, {from} to {to}")));
    out.data(&format!("\n{}", sums(document, args, out.columns())));
    if document.tests.iter().next().is_none() {
        out.talk("no test matches");
    } else {
        out.data(&format!("\n{}", tests(document, args, out.columns())));
        out.data(&matrix::legend());
    }
    let left = document.skipped.len().saturating_sub(MOST_NAMED) as u64;
    document.skipped.iter().take(MOST_NAMED).for_each(|problem| out.warn(problem));
    if left > 0 {
        out.warn(&format!("{} left out", plural(left, "more run is", "more runs are")));
    }
}

/// Formats the sums by `--by`, the oldest first.
fn sums(document: &HistoryDocument, args: &Args, screen: Option<usize>) -> String {
    let (is_run, now) = (args.by == HistoryGroups::Run, now());
    let mut table = Table::new([
        (if is_run { "run" } else { "by" }, 0),
        (if is_run { "started (UTC)" } else { "runs" }, 5),
        ("passed>", 1),
        ("failed>", 2),
        ("skipped>", 8),
        ("flaky>", 3),
        ("rate>", 0),
        ("p50>", 6),
        ("tokens>", 7),
        ("cost>", 4),
    ]);
    let mut row = |key: String, about: String, results: &PastResults| {
        let counts = &results.counts;
        let [rate, p50, tokens, cost] = cells(results);
        table.row([
            visible_line(&key).into_owned(),
            about,
            style::count(counts.passed),
            style::bad_count(counts.bad()),
            style::count(counts.skipped),
            style::count(counts.flaky),
            rate,
            p50,
            tokens,
            cost,
        ]);
    };
    if is_run {
        for run in &document.runs {
            let id = screen.map_or(&*run.run, |_| short_id(&run.run));
            let state = match run.state {
                _ if run.is_damaged => " (damaged)".to_owned(),
                RunState::Passed | RunState::Failed => String::new(),
                state => format!(" ({})", state.as_str().replace('-', " ")),
            };
            let when = summary::when(now, run.started_at, screen);
            row(format!("{id}{state}"), when, &run.results);
        }
    }
    for sum in &document.sums {
        let key = sum.key.clone().unwrap_or_else(|| "(none)".to_owned());
        row(key, grouped(sum.runs), &sum.results);
    }
    table.render(screen)
}

/// Formats the tests, flaky ones first.
fn tests(document: &HistoryDocument, args: &Args, screen: Option<usize>) -> String {
    let mut table = Table::new([
        ("test…", 0),
        ("passed>", 1),
        ("flaky runs>", 2),
        ("p50>", 4),
        ("tokens>", 5),
        ("cost>", 3),
        ("newest last", 0),
    ]);
    let most = if args.test.is_empty() { MOST_TESTS } else { usize::MAX };
    // A cut at the end would hide the newest results.
    let marks = screen.map_or(usize::MAX, |columns| columns / 3);
    for test in document.tests.iter().take(most) {
        let counts = &test.results.counts;
        let [_, p50, tokens, cost] = cells(&test.results);
        let hidden = test.marks.len().saturating_sub(marks);
        table.row([
            visible_line(&format!("{}@{}", test.test, test.provider)).into_owned(),
            format!("{}/{}", grouped(counts.passed), grouped(counts.passed + counts.bad())),
            style::count(test.flaky_runs),
            p50,
            tokens,
            cost,
            test.marks.iter().skip(hidden).map(|one| matrix::mark(*one)).collect(),
        ]);
    }
    let left = document.tests.iter().len().saturating_sub(most) as u64;
    let mut text = table.render(screen);
    if left > 0 {
        let more = plural(left, "more test", "more tests");
        text += &format!("\n… and {more}: `--test GLOB` shows them");
    }
    text
}

/// Formats pass rate, median duration, tokens and cost.
fn cells(results: &PastResults) -> [String; 4] {
    let rate = results.pass_rate.map(phrases::percent);
    let p50 = results.p50_ms.and_then(|ms| Duration::try_from_secs_f64(f64::from(ms) / 1e3).ok());
    let cost = results.cost_usd.map(|cost| format!("${}", phrases::number(cost)));
    let tokens = results.tokens.map(phrases::number);
    [rate, p50.map(show_duration), tokens, cost].map(Option::unwrap_or_default)
}
