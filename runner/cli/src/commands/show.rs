//! `runner show`: a run, a group, or one trial of a run.

mod named_trials;

use std::collections::BTreeMap;

use runner_engine::resolve_filter;
use runner_model::units::{grouped, plural};
use runner_model::{Counts, exit::Exit, known::Known, visible::visible_line};
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir, clock_caution, now};
use runner_report::{
    MatrixDocument, MetaCounts, MetaResults, ResultRow, Results, RowSelection, RunDocument,
    other_metrics, phrases, run_facts,
};
use runner_scenario::Filter;

use self::named_trials::PartArgs;
use super::{
    group,
    target::{self, Target},
};
use crate::{
    args::{self, DocumentArgs, RunArgs},
    text::{
        CommandError, Out, Table, grants,
        matrix::{self, MatrixLayout, MatrixRow, legend},
        style, summary,
        trials::{self, BLOCK_LINES},
    },
};

/// Values of a key of `meta` that are shown.
const MOST_VALUES: usize = 20;
/// Providers whose results by `meta` are shown.
const MOST_PROVIDERS: usize = 20;

/// Show a run, or one of its trials
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// The trial: its id, a part of it, a test or a glob
    #[arg(value_name = "TRIAL")]
    trial: Option<String>,
    #[command(flatten)]
    parts: PartArgs,
    /// Show the results of each test on each provider
    #[arg(long, conflicts_with_all = ["trial", "flaky", "history"])]
    matrix: bool,
    /// Show only unexpected results
    #[arg(long, visible_alias = "unexpected", conflicts_with = "trial")]
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
    let root = run.results_root();
    if let Some(text) = &args.trial {
        named_trials::show_trials(text, &root, &run, (&args.parts, *json), out)?;
        return Ok(Exit::Success);
    }
    if args.matrix {
        let document = MatrixDocument::read(&root, &run, &args.which(&root)?)?;
        if *json {
            out.document(&document);
        } else {
            print_matrix(&document, out);
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
        document.list_known()?;
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
        self.selection(root, self.failed)
    }

    fn selection(&self, root: &ResultsRoot, failed: bool) -> Result<RowSelection, CommandError> {
        let mut filters = args::filters(&self.filter)?;
        if failed && !filters.is_empty() {
            filters.push(Filter::failed());
        }
        Ok(match Filter::all(filters) {
            Some(mut filter) => {
                resolve_filter(&mut filter, root)?;
                RowSelection::Matching(filter)
            }
            None if failed => RowSelection::Failed,
            None if self.flaky => RowSelection::Flaky,
            None => RowSelection::All,
        })
    }
}

fn print_matrix(document: &MatrixDocument, out: &Out) {
    let mut layout = MatrixLayout::new("test", &document.providers);
    document.tests.each(|test| layout.measure(&test.into()));
    let (blocks, mut lines) = (layout.fit(out.columns()), out.lines(false));
    for (index, columns) in blocks.iter().enumerate() {
        if index > 0 {
            lines.add("");
        }
        lines.add(&layout.titles(columns));
        document.tests.each(|test| lines.add(&columns.row(&test.into())));
    }
    if blocks.iter().any(|columns| columns.is_short) {
        lines.add(&legend([&document.run.head.counts.done]));
    }
    lines.add(&summary::line(&document.run, document.run.head.worked()));
}

/// Prints the rows that `--failed` or `--flaky` selects, and the summary line.
fn print_rows(run: &RunDir, args: &Args, out: &Out) -> Result<(), CommandError> {
    let root = run.results_root();
    let document = RunDocument::read(&root, run, &args.which(&root)?)?;
    let blocks = if !args.flaky {
        document.rows.grouped(|row, known| trials::block(row, known, BLOCK_LINES))?
    } else {
        // Attempts of several trials alternate on disk.
        let mut trials = BTreeMap::<_, Vec<_>>::new();
        document.rows.each(|row, _| {
            let trial = (row.test.to_string(), row.provider.to_string(), row.repeat);
            trials.entry(trial).or_default().push(trials::block(
                row,
                &Known::default(),
                BLOCK_LINES,
            ));
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
                    let outcome = format!("outcome({word})");
                    let help = if Filter::parse(&outcome).is_ok() {
                        format!("did you mean `{outcome}`?")
                    } else {
                        "words select by ids and messages; `output(\"TEXT\")` and `tag(TAG)` select by others".to_owned()
                    };
                    out.hint(&format!("note: no trial matches `{word}` of `-E`; {help}"));
                }
            }
        }
    }
    if args.failed && document.manifest.known().is_some() {
        let all = RunDocument::read(&root, run, &args.selection(&root, false)?)?;
        trials::known(&all.rows.failures()?).iter().for_each(|known| out.data(known));
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
    let denied = grants::denials(&document.tables.denials, providers);
    if !denied.is_empty() {
        out.data(&format!("\n{denied}"));
    }
    let failures = document.rows.failures()?;
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

/// Prints the results of each provider, their other metrics, and the results by `meta`.
fn print_results(document: &RunDocument, out: &Out) {
    let row = |name: &str, results: &Results| ResultRow::new(name, results.counts, Some(results));
    let providers = document.tables.with_results();
    let providers = providers.map(|table| row(&table.provider, &table.results));
    out.data(&format!("\n{}", results("provider…", providers, out)));
    if !document.tables.graders.is_empty() {
        let named = document
            .tables
            .graders
            .iter()
            .map(|table| row(&format!("{} ({})", table.grader, table.plugin), &table.results));
        out.data(&format!("\n{}", results("grader…", named, out)));
    }
    let providers = document.tables.providers.iter().map(|table| (&table.provider, &table.results));
    let graders = document.tables.graders.iter().map(|table| (&table.grader, &table.results));
    let metrics = providers.chain(graders).map(|(name, results)| (name, other_metrics(results)));
    let metrics = metrics.filter(|(_, metrics)| !metrics.is_empty());
    let metrics = metrics
        .map(|(name, metrics)| format!("\n  {}  {}", visible_line(name), metrics.join(", ")));
    let metrics: String = metrics.collect();
    if !metrics.is_empty() {
        let title = style::bold("sums of other metrics of the attempts that decided:");
        out.data(&format!("\n{title}{metrics}"));
    }
    let (by_provider, summed): (Vec<_>, Vec<_>) = (document.tables.meta.iter())
        .partition(|key| key.values.iter().any(|value| !value.providers.is_empty()));
    if !by_provider.is_empty() {
        print_meta(document, &by_provider, out);
    }
    let values = summed.iter().flat_map(|key| {
        let left = left_out(key).map(|left| ResultRow::new(&left, Counts::default(), None));
        let row = |value: &MetaCounts| ResultRow::new(&value_name(key, value), value.counts, None);
        key.values.iter().take(MOST_VALUES).map(row).chain(left).collect::<Vec<_>>()
    });
    if !summed.is_empty() {
        out.data(&format!("\n{}", results("meta…", values, out)));
    }
}

/// Prints the pass rates of each value of keys of `meta` on each provider.
fn print_meta(document: &RunDocument, keys: &[&MetaResults], out: &Out) {
    let names = document.tables.providers.iter().map(|table| table.provider.clone());
    let names: Vec<_> = names.take(MOST_PROVIDERS).collect();
    let cells = |value: &MetaCounts, text: &dyn Fn(&Counts) -> String| -> Vec<_> {
        let cell = |name: &String| {
            let counts = value.providers.iter().find(|counts| counts.provider == *name);
            counts.map_or_else(|| matrix::mark(None), |counts| text(&counts.counts))
        };
        names.iter().map(cell).collect()
    };
    let short = |counts: &Counts| {
        format!("{}/{}", grouped(counts.passed), grouped(counts.passed + counts.bad()))
    };
    let rows = keys.iter().flat_map(|key| {
        let empty = || vec![String::new(); names.len()];
        let left = left_out(key).map(|left| MatrixRow::new(&left, [empty(), empty()]));
        let row = |value: &MetaCounts| {
            let cells = [cells(value, &phrases::pass_rate), cells(value, &short)];
            MatrixRow::new(&value_name(key, value), cells)
        };
        key.values.iter().take(MOST_VALUES).map(row).chain(left).collect::<Vec<_>>()
    });
    let (rows, mut layout) = (rows.collect::<Vec<_>>(), MatrixLayout::new("meta", &names));
    rows.iter().for_each(|row| layout.measure(row));
    for columns in layout.fit(out.columns()) {
        out.data(&format!("\n{}", layout.titles(&columns)));
        rows.iter().for_each(|row| out.data(&columns.row(row)));
    }
    let left = document.tables.providers.len().saturating_sub(MOST_PROVIDERS) as u64;
    if left > 0 {
        let more = plural(left, "more provider", "more providers");
        out.data(&format!("… and {more}: `--json` has all"));
    }
}

fn value_name(of: &MetaResults, MetaCounts { value, .. }: &MetaCounts) -> String {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{} = {value}", of.key)
}

/// Returns the number of values that are not shown, as a text. `None` for 0.
fn left_out(of: &MetaResults) -> Option<String> {
    let left = of.values.len().saturating_sub(MOST_VALUES) as u64;
    (left > 0).then(|| format!("{}: {}", of.key, plural(left, "more value", "more values")))
}

fn results(title: &'static str, rows: impl Iterator<Item = ResultRow>, out: &Out) -> String {
    let mut table = Table::new([
        (title, 0),
        ("passed>", 0),
        ("failed>", 1),
        ("errors>", 2),
        ("timeouts>", 3),
        ("known>", 3),
        ("skipped>", 12),
        ("flaky>", 11),
        ("pass rate>", 5),
        ("score>", 4),
        ("tokens>", 9),
        ("cost>", 6),
        ("p50>", 8),
        ("p95>", 7),
        ("max>", 10),
    ]);
    for ResultRow { name, counts, cells: [rate, score, tokens, cost, p50, p95, max] } in rows {
        table.row([
            name,
            style::count(counts.passed),
            style::bad_count(counts.failed),
            style::bad_count(counts.error),
            style::bad_count(counts.timeout),
            style::count(counts.known),
            style::count(counts.skipped),
            style::count(counts.flaky),
            rate,
            score,
            tokens,
            cost,
            p50,
            p95,
            max,
        ]);
    }
    table.render(out.columns())
}
