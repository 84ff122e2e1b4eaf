//! `runner show`: a run, a group, or one trial of a run.

use std::{collections::BTreeMap, path::PathBuf};

use runner_engine::resolve_filter;
use runner_model::units::{plural, show_duration};
use runner_model::{Counts, exit::Exit, visible::visible_line};
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir, clock_caution, now};
use runner_report::{
    Failures, MatrixDocument, MetaCounts, MetaResults, Results, RowSelection, RunDocument,
    TrialDocument, find_trial, phrases, run_facts,
};
use runner_scenario::Filter;

use super::{
    group,
    results::{history::explain_wait, trial},
    target::{self, Target},
};
use crate::{
    args::{self, DocumentArgs, RunArgs, whole},
    text::{
        CommandError, Out, Table, grants,
        matrix::{MatrixLayout, legend},
        style, summary,
        trials::{self, BLOCK_LINES},
    },
};

/// Trials of a test or a glob that are shown.
const MOST_PAGES: usize = 10;
/// Values of a key of `meta` that are shown.
const MOST_VALUES: usize = 20;
/// Columns of the tables of results.
const RESULT_COLUMNS: usize = 12;

/// Show a run, or one of its trials
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// The trial: its id, a part of it, a test or a glob
    #[arg(value_name = "TRIAL")]
    trial: Option<String>,
    /// Show all of long inputs, outputs and logs of a trial
    #[arg(long, requires = "trial")]
    full: bool,
    /// Show attempt N [default: the deciding one]
    #[arg(long, value_name = "N", requires = "trial", value_parser = whole(1..=u32::MAX))]
    attempt: Option<u32>,
    /// Print only the `output`, `input`, `log`, or a file
    #[arg(long, value_name = "NAME", requires = "trial", conflicts_with_all = ["full", "json"])]
    open: Option<String>,
    /// Save input, output, logs and files of the trial in DIR
    #[arg(long, value_name = "DIR", requires = "trial", conflicts_with_all = ["full", "json", "open"])]
    save: Option<PathBuf>,
    /// Show the results of each test on each provider
    #[arg(long, conflicts_with_all = ["trial", "flaky", "history"])]
    matrix: bool,
    /// Show only failures, errors and timeouts, with reasons
    #[arg(long, conflicts_with = "trial")]
    failed: bool,
    /// Show trials that match `slower(2s)`; repeatable
    #[arg(short = 'E', long, value_name = "FILTER", conflicts_with = "trial")]
    filter: Vec<String>,
    /// Show all attempts of trials that passed on a retry
    #[arg(long, conflicts_with_all = ["trial", "failed", "filter"])]
    flaky: bool,
    /// Also show sessions, pauses and changes of the status
    #[arg(long, conflicts_with_all = ["trial", "failed", "flaky", "filter"])]
    history: bool,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let RunArgs { run, document: DocumentArgs { root, json } } = &args.run;
    let root = root.open()?;
    let name = run.name_or_latest();
    let run = match Target::find_for("show", &root, &name)? {
        Target::Run(run) => run,
        Target::Group(list) if args.selects_rows() && !*json && !args.matrix => {
            for run in &list.runs {
                out.data(&style::bold(&format!("{}:", visible_line(&run.head.scenario))));
                print_rows(&root.find(&run.head.id)?, args, out)?;
            }
            return Ok(Exit::Success);
        }
        Target::Group(list)
            if args.trial.is_some() || args.selects_rows() || args.history || args.matrix =>
        {
            return Err(target::needs_one_run(&root, &list));
        }
        Target::Group(list) => {
            if *json {
                out.document(&list);
            } else {
                group::print(&root, &list, false, false, out)?;
            }
            return Ok(Exit::Success);
        }
    };
    let root = run.results_root()?;
    if let Some(text) = &args.trial {
        let is_one = *json || args.open.is_some() || args.save.is_some();
        let most = if is_one { 1 } else { MOST_PAGES };
        let trials = find_trial(&run, text)?.named(run.id(), text, most);
        for (index, trial) in trials.map_err(CommandError::usage)?.into_iter().enumerate() {
            if index > 0 {
                out.data("");
            }
            let mut document = TrialDocument::read(&root, &run, trial)?;
            if let Some(attempt) = args.attempt {
                document.show_attempt(&root, attempt).map_err(CommandError::usage)?;
            }
            if let Some(name) = &args.open {
                trial::open(&document, &run, name, out)?;
            } else if let Some(folder) = &args.save {
                trial::save(&document, &run, folder, out)?;
            } else {
                document.read_history(&root, &run, &mut explain_wait(out))?;
                out.document_or(*json, &document, |document| {
                    trial::print(document, args.full, out);
                });
            }
        }
        return Ok(Exit::Success);
    }
    if args.matrix {
        let document = MatrixDocument::read(&root, &run, &args.which(&root)?)?;
        if *json {
            out.document(&document);
        } else {
            print_matrix(&document, out)?;
        }
        return Ok(Exit::Success);
    }
    if !*json && args.selects_rows() {
        print_rows(&run, args, out)?;
        return Ok(Exit::Success);
    }
    let mut document = RunDocument::read(&root, &run, &args.which(&root)?)?;
    document.compare(&root, &run);
    if *json {
        out.document(&document);
    } else {
        print_overview(&document, &runner_engine::access(&run, &document.manifest), out)?;
        let caution = clock_caution([&document.run.head], now());
        caution.iter().for_each(|caution| out.warn(caution));
        if args.history {
            print_history(&document.manifest, out);
        }
        summary::print_comparison_step(&document.run, document.since_previous.as_ref(), out);
        match run.foreign() {
            // The next steps would be refused.
            Some(problem) => {
                let trust = document.run.command("trust", &document.run.short, &[]);
                out.hint(&format!("the run {problem}; to look at it and allow it: {trust}"));
            }
            None => summary::print_next_steps(&document.run, out),
        }
    }
    Ok(Exit::Success)
}

impl Args {
    /// Returns whether only some rows are shown.
    fn selects_rows(&self) -> bool {
        self.failed || self.flaky || !self.filter.is_empty()
    }

    fn which(&self, root: &ResultsRoot) -> Result<RowSelection, CommandError> {
        let mut filters = args::filters(&self.filter)?;
        if self.failed && !filters.is_empty() {
            filters.push(Filter::failed());
        }
        Ok(match Filter::all(filters) {
            Some(mut filter) => {
                resolve_filter(&mut filter, root)?;
                RowSelection::Matching(filter)
            }
            None if self.failed => RowSelection::Failed,
            None if self.flaky => RowSelection::Flaky,
            None => RowSelection::All,
        })
    }
}

fn print_matrix(document: &MatrixDocument, out: &Out) -> Result<(), RecordError> {
    let mut layout = MatrixLayout::new(&document.providers);
    document.tests.each(|test| layout.measure(test))?;
    let (blocks, mut lines) = (layout.fit(out.columns()), out.lines(false));
    for (index, columns) in blocks.iter().enumerate() {
        if index > 0 {
            lines.add("");
        }
        lines.add(&layout.titles(columns));
        document.tests.each(|test| lines.add(&columns.test(test)))?;
    }
    if blocks.iter().any(|columns| columns.is_short) {
        lines.add(&legend());
    }
    lines.add(&summary::line(&document.run, document.run.head.worked()));
    Ok(())
}

/// Prints the rows that `--failed` or `--flaky` selects, and the summary line.
fn print_rows(run: &RunDir, args: &Args, out: &Out) -> Result<(), CommandError> {
    let root = run.results_root()?;
    let document = RunDocument::read(&root, run, &args.which(&root)?)?;
    let blocks = if !args.flaky {
        document.rows.grouped(|row| trials::block(row, BLOCK_LINES))?
    } else {
        // Attempts of several trials alternate on disk.
        let mut trials = BTreeMap::<_, Vec<_>>::new();
        document.rows.each(|row, _| {
            let trial = (row.test.to_string(), row.provider.to_string(), row.repeat);
            trials.entry(trial).or_default().push(trials::block(row, BLOCK_LINES));
        })?;
        trials.into_values().flatten().collect()
    };
    blocks.iter().for_each(|block| out.data(block));
    if blocks.is_empty() {
        out.data(match (args.flaky, args.filter.is_empty()) {
            (true, _) => "no trial is flaky",
            (false, true) => "no trial has failed",
            (false, false) => "no trial matches the filter",
        });
        // Each word is looked for in all rows, so only if the filter selects none.
        for filter in args::filters(&args.filter)? {
            for word in filter.words() {
                let which = args::filters(&[word.to_owned()])?.pop().map(RowSelection::Matching);
                let mut is_matched = false;
                let rows = RunDocument::read(&root, run, &which.unwrap_or(RowSelection::All))?.rows;
                rows.each(|_, _| is_matched = true)?;
                if !is_matched {
                    let known = "words select by ids and messages; `output(\"TEXT\")` and `tag(TAG)` select by others";
                    out.hint(&format!("note: no trial matches `{word}` of `-E`; {known}"));
                }
            }
        }
    }
    out.data(&summary::line(&document.run, document.run.head.worked()));
    Ok(())
}

/// Prints a run. `access` has a line for each real folder, file and secret that its scenario uses.
fn print_overview(document: &RunDocument, access: &[String], out: &Out) -> Result<(), RecordError> {
    out.data(&summary::line(&document.run, document.run.head.worked()));
    let message = document.run.head.message.as_ref();
    // The reason of a request is in the facts.
    let asked = run_facts::stop(&document.manifest).and_then(|(_, by)| by.reason.as_ref());
    if let Some(message) = message.filter(|_| message != asked) {
        out.data(&format!("  {}", summary::indented(message)));
    }
    for (name, text) in document.facts(now()) {
        let (name, text) = (format!("{name:10}"), text.replace('\n', "\n          "));
        out.data(&format!("{}{text}", style::dim(&name)));
    }
    print_results(document, out);
    let providers = &document.manifest.providers;
    let mut granted = grants::tables(providers);
    granted.extend(access.iter().map(|line| visible_line(line).into_owned()));
    if !granted.is_empty() {
        out.data(&format!("\n{}", style::bold("granted:")));
        out.data(&format!("  {}", granted.join("\n  ")));
    }
    let denied = grants::denials(&document.denials, providers);
    if !denied.is_empty() {
        out.data(&format!("\n{denied}"));
    }
    let mut failures = Failures::default();
    document.rows.add_failures(&mut failures)?;
    trials::print_notable(&failures, document.since_previous.as_ref(), out, true);
    summary::print_changes(document.since_previous.as_ref(), out);
    document.damage().iter().for_each(|warning| out.warn(warning));
    Ok(())
}

/// Prints the sessions of a run and the changes of its status, oldest first.
fn print_history(manifest: &Manifest, out: &Out) {
    out.data(&format!("\n{}", style::bold("sessions:")));
    for session in &manifest.sessions {
        let lines = run_facts::session(session).join("\n     ");
        out.data(&format!("{:>3}  {lines}", session.number));
    }
    let title = match out.columns() {
        Some(_) => "changes of the status:",
        None => "changes of the status (UTC):",
    };
    out.data(&format!("\n{}", style::bold(title)));
    for change in &manifest.transitions {
        out.data(&run_facts::change(change));
    }
}

/// Prints the results of each provider, their metrics, and the results by `meta`.
fn print_results(document: &RunDocument, out: &Out) {
    let row = |(name, results): (&str, &Results)| {
        let times = results.durations().map(|time| time.map(show_duration).unwrap_or_default());
        let score = results.score.map(|score| phrases::number(score.into()));
        let mut cells = result_row(name, &results.counts, score.unwrap_or_default(), times);
        cells[RATE] = results.pass_rate.map(|rate| rate.text()).unwrap_or_default();
        cells
    };
    let providers = document.providers.iter().map(|table| (&*table.provider, &table.results));
    out.data(&format!("\n{}", results("provider…", providers.clone().map(row), out)));
    let graders = document.graders.iter().map(|table| (&*table.grader, &table.results));
    if !document.graders.is_empty() {
        let named = document.graders.iter().map(|table| {
            let name = format!("{} ({})", table.grader, table.plugin);
            row((&name, &table.results))
        });
        out.data(&format!("\n{}", results("grader…", named, out)));
    }
    let tables = providers.chain(graders).filter(|(_, results)| !results.metrics.is_empty());
    let metrics = tables.map(|(name, results)| {
        let sums: Vec<_> = results.metrics.iter().map(phrases::metric).collect();
        visible_line(&format!("  {name}  {}", sums.join(", "))).into_owned()
    });
    let metrics: Vec<_> = metrics.collect();
    if !metrics.is_empty() {
        let title = style::bold("sums of metrics of the attempts that decided:");
        out.data(&format!("\n{title}\n{}", metrics.join("\n")));
    }
    let values = document.meta.iter().flat_map(|MetaResults { key, values }| {
        let left = values.len().saturating_sub(MOST_VALUES) as u64;
        let more = format!("{key}: {}", plural(left, "more value", "more values"));
        let more = (left > 0).then(|| result_row(&more, &Counts::default(), String::new(), TIMES));
        let row = |MetaCounts { value, counts }: &MetaCounts| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            result_row(&format!("{key} = {value}"), counts, String::new(), TIMES)
        };
        values.iter().take(MOST_VALUES).map(row).chain(more).collect::<Vec<_>>()
    });
    if !document.meta.is_empty() {
        out.data(&format!("\n{}", results("meta…", values, out)));
    }
}

/// Index of the pass rate.
const RATE: usize = 7;
/// No durations.
const TIMES: [String; 3] = [const { String::new() }; 3];

fn results(
    title: &'static str,
    rows: impl Iterator<Item = [String; RESULT_COLUMNS]>,
    out: &Out,
) -> String {
    let mut table = Table::new([
        (title, 0),
        ("passed>", 0),
        ("failed>", 1),
        ("errors>", 2),
        ("timeouts>", 3),
        ("skipped>", 10),
        ("flaky>", 9),
        ("pass rate>", 5),
        ("score>", 4),
        ("p50>", 7),
        ("p95>", 6),
        ("max>", 8),
    ]);
    rows.for_each(|row| table.row(row));
    table.render(out.columns())
}

fn result_row(
    name: &str,
    counts: &Counts,
    score: String,
    [p50, p95, max]: [String; 3],
) -> [String; RESULT_COLUMNS] {
    [
        visible_line(name).into_owned(),
        style::count(counts.passed),
        style::bad_count(counts.failed),
        style::bad_count(counts.error),
        style::bad_count(counts.timeout),
        style::count(counts.skipped),
        style::count(counts.flaky),
        String::new(),
        score,
        p50,
        p95,
        max,
    ]
}
