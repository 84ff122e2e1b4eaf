//! `runner history`: results of tests over the runs of a scenario.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use runner_engine::scenario_path;
use runner_model::units::{grouped, plural, show_duration};
use runner_model::{Time, exit::Exit, status::RunState, visible::visible_line};
use runner_record::{ResultsRoot, now};
use runner_report::{
    HistoryDocument, HistoryGroups, HistoryQuery, PastGraders, PastProvider, PastResults, phrases,
    short_id,
};
use runner_scenario::{IdGlob, nearest_names};

use crate::args::{DocumentArgs, whole};
use crate::commands::list::since;
use crate::text::{CommandError, Out, Table, matrix, mistake, style, summary};

/// Runs without `--limit` and `--since`.
const NEWEST: usize = 20;
/// Tests that are listed without `--test`.
const MOST_TESTS: usize = 50;
/// Providers of a run that are listed without `--provider`.
const MOST_PROVIDERS: usize = 8;
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
    #[arg(long, value_name = "GLOB", value_parser = IdGlob::new)]
    test: Vec<IdGlob>,
    /// Only providers whose name matches; repeatable
    #[arg(long, value_name = "GLOB", value_parser = IdGlob::new)]
    provider: Vec<IdGlob>,
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
    let query = HistoryQuery {
        is_wanted: &|test, provider| is_in(&args.test, test) && is_in(&args.provider, provider),
        since: args.since,
        limit: args.limit.map_or(all, |limit| limit as usize),
        by: &args.by,
        tests: 0..usize::MAX,
    };
    let document = HistoryDocument::read(&root, &name, &path, &query, &mut explain_wait(out))?;
    if !document.runs.is_empty() && document.tests.iter().next().is_none() {
        let all = HistoryQuery { is_wanted: &|_, _| true, ..query };
        let all = HistoryDocument::read(&root, &name, &path, &all, &mut || {})?;
        let tests: BTreeSet<_> = all.tests.iter().map(|test| test.test.to_owned()).collect();
        let providers: BTreeSet<_> =
            all.tests.iter().map(|test| test.provider.to_owned()).collect();
        let flags = [("test", &args.test, tests), ("provider", &args.provider, providers)];
        let unmatched = flags.iter().flat_map(|(kind, globs, known)| {
            let unmatched =
                globs.iter().filter(|glob| !known.iter().any(|name| glob.is_match(name)));
            unmatched.take(MOST_NAMED).map(move |glob| {
                let nearest = nearest_names(&glob.text, known.iter());
                format!("no {kind} matches `--{kind} {}`; {nearest}", glob.text)
            })
        });
        let unmatched: Vec<_> = unmatched.map(|line| visible_line(&line).into_owned()).collect();
        if args.test.len() + args.provider.len() > 0 {
            let runs = plural(document.runs.len() as u64, "run", "runs");
            let head = format!("no test is selected in {runs} of {}", visible_line(&name));
            let problem = [vec![head], unmatched].concat().join("\n");
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
        let manifest = manifests.find(|manifest| Path::new(&manifest.scenario_path) == path);
        return manifest.map(|manifest| (manifest.scenario, path)).ok_or_else(|| {
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
        out.talk("no result matches");
    } else {
        out.data(&format!("\n{}", tests(document, args, out.columns())));
        out.data(&matrix::legend(document.runs.iter().map(|run| &run.results.counts)));
    }
    let left = document.skipped.len().saturating_sub(MOST_NAMED) as u64;
    document.skipped.iter().take(MOST_NAMED).for_each(|problem| out.warn(problem));
    if left > 0 {
        out.warn(&format!("{} left out", plural(left, "more run is", "more runs are")));
    }
}

/// Formats the sums by `--by`, the oldest first. Several providers have a row each.
fn sums(document: &HistoryDocument, args: &Args, screen: Option<usize>) -> String {
    let is_run = args.by == HistoryGroups::Run;
    let now = now();
    let of_runs = document.runs.iter().map(|run| &run.providers);
    let of_sums = document.sums.iter().map(|sum| &sum.providers);
    let mut names = Vec::new();
    // The newest run has the order of the scenario.
    for provider in of_runs.rev().chain(of_sums).flatten() {
        if !names.contains(&&provider.provider) {
            names.push(&provider.provider);
        }
    }
    let most = if args.provider.is_empty() { MOST_PROVIDERS } else { usize::MAX };
    let of_graders = document.runs.iter().map(|run| &run.graders);
    let mut of_graders = of_graders.chain(document.sums.iter().map(|sum| &sum.graders));
    let has_many = names.len() > 1 || of_graders.any(Option::is_some);
    let mut table = Table::new([
        (if is_run { "run" } else { "by" }, 0),
        (if is_run { "started (UTC)" } else { "runs" }, 5),
        ("provider…", if has_many { 0 } else { 10 }),
        ("passed>", 1),
        ("failed>", 2),
        ("known>", 2),
        ("skipped>", 8),
        ("flaky>", 3),
        ("rate>", 0),
        ("p50>", 6),
        ("tokens>", 7),
        ("cost>", 4),
    ]);
    let mut row = |[key, about]: [&str; 2], provider: &str, results: &PastResults| {
        let counts = &results.counts;
        let [rate, p50, tokens, cost] = cells(results);
        table.row([
            visible_line(key).into_owned(),
            about.to_owned(),
            visible_line(provider).into_owned(),
            style::count(counts.passed),
            style::bad_count(counts.bad().saturating_sub(counts.known)),
            style::count(counts.known),
            style::count(counts.skipped),
            style::count(counts.flaky),
            rate,
            p50,
            tokens,
            cost,
        ]);
    };
    let mut rows = |head: [&str; 2],
                    results: &PastResults,
                    providers: &[PastProvider],
                    graders: &Option<PastGraders>| {
        let listed = providers
            .iter()
            .filter(|table| names.iter().take(most).any(|name| **name == table.provider));
        let mut listed = listed.filter(|_| has_many).peekable();
        // A run without results has a row, too.
        if listed.peek().is_none() {
            row(head, "", results);
        }
        // Lines of a pipe are read one by one.
        let next = if screen.is_some() { [""; 2] } else { head };
        for (index, PastProvider { provider, results }) in listed.enumerate() {
            row(if index > 0 { next } else { head }, provider, results);
        }
        if let Some(PastGraders { tokens, cost_usd }) = *graders {
            let (counts, pass_rate, score, p50_ms) = Default::default();
            row(
                next,
                "graders",
                &PastResults { counts, pass_rate, score, p50_ms, tokens, cost_usd },
            );
        }
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
            rows([&format!("{id}{state}"), &when], &run.results, &run.providers, &run.graders);
        }
    }
    for sum in &document.sums {
        let key = sum.key.as_deref().unwrap_or("(none)");
        rows([key, &grouped(sum.runs)], &sum.results, &sum.providers, &sum.graders);
    }
    let mut text = table.render(screen);
    let left = names.len().saturating_sub(most) as u64;
    if left > 0 {
        let more = plural(left, "more provider", "more providers");
        text += &format!("\n… and {more}: `--provider GLOB` shows them");
    }
    text
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
            test.marks.iter().skip(hidden).map(|outcome| matrix::mark(*outcome)).collect(),
        ]);
    }
    let left = document.tests.iter().len().saturating_sub(most) as u64;
    let mut text = table.render(screen);
    if left > 0 {
        let more = plural(left, "more result", "more results");
        text += &format!("\n… and {more}: `--test GLOB` shows them");
    }
    text
}

/// Formats pass rate, median duration, tokens and cost.
fn cells(results: &PastResults) -> [String; 4] {
    let p50 = results.p50_ms.and_then(|ms| Duration::try_from_secs_f64(f64::from(ms) / 1e3).ok());
    let rate = Some(phrases::pass_rate(&results.counts));
    let cost = results.cost_usd.map(phrases::cost);
    let tokens = results.tokens.map(phrases::number);
    [rate, p50.map(show_duration), tokens, cost].map(Option::unwrap_or_default)
}

fn is_in(globs: &[IdGlob], name: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.is_match(name))
}
