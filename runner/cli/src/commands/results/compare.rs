//! `runner compare`: two runs, or two providers.

use std::{collections::HashSet, io, path::PathBuf};

use runner_engine::resolve_filter;
use runner_model::visible::{cut, shown_path, visible_line};
use runner_model::{exit::Exit, units::plural};
use runner_record::{RecordError, ResultsRoot, RunDir};
use runner_report::{
    ChangeList, ComparisonDocument, Form, Measure, SincePrevious, json::write_document,
    markdown_code, phrases,
};
use runner_scenario::Filter;

use crate::args::{self, DocumentArgs, RunArg};
use crate::commands::{results::exact, target::Target};
use crate::report_files;
use crate::text::{CommandError, Out, Table, mistake, style, summary};

/// Kinds of changes for `--fail-on`.
const REGRESSED: &str = "regressed";
const SLOWER: &str = "slower";
/// Names of measures.
const PASS_RATE: &str = "pass rate";
const DURATION: &str = "duration";
/// Characters of each text in Markdown.
const MOST_CHARACTERS: usize = 150;
const MOST_NAMES: usize = 600;
/// Bytes of Markdown up to the end of the cautions and measures, and of all but the last lines. A comment on GitHub has at most
/// 64 Ki characters.
const END_OF_MEASURES: usize = 24 << 10;
const END_OF_CHANGES: usize = 62 << 10;

/// Compare two runs, or two providers
///
/// Without BASE, the newest run is compared with the previous run of its scenario. Without NEW, BASE is compared with the newest
/// run of its scenario, or, if it is the newest itself, with the previous one.
#[derive(clap::Args)]
pub struct Args {
    /// The earlier run: id or a part, path, or `latest~1`
    #[arg(value_name = "BASE", id = "base")]
    base: Option<String>,
    /// The later run [default: the newest of the scenario]
    #[arg(value_name = "NEW", id = "new")]
    new: Option<String>,
    /// Compare these providers, of one run unless two are named
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    providers: Option<Vec<String>>,
    /// Compare tests that match `tag(a)` in one of the runs; repeatable
    #[arg(short = 'E', long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Exit with 1 if there are changes of this kind, for CI; repeatable
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    #[arg(value_parser = [REGRESSED, "significant", SLOWER])]
    fail_on: Vec<String>,
    /// Exit with 1 if a result differs in more than times and places; for deterministic runs
    #[arg(long, conflicts_with_all = ["providers", "filter", "fail_on", "markdown", "output"])]
    exact: bool,
    /// Print Markdown, for a comment of a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Write this file; its extension names the form: .md or .json
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    document: DocumentArgs,
}

/// The form of the output.
#[derive(Clone, Copy)]
enum ComparisonForm {
    Text,
    Markdown,
    Json,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let form = args.form()?;
    let root = args.document.root.open()?;
    let [base, new] = args.runs(&root)?;
    if args.exact {
        return exact::run([&base, &new], args.document.json, out);
    }
    let providers = args.providers.clone().and_then(|names| <[String; 2]>::try_from(names).ok());
    for (run, provider) in [&base, &new].into_iter().zip(providers.iter().flatten()) {
        check_provider(run, provider)?;
    }
    let mut filter = Filter::all(args::filters(&args.filter)?);
    if let Some(filter) = &mut filter {
        resolve_filter(filter, &root)?;
    }
    let document = ComparisonDocument::read([&base, &new], providers.as_ref(), filter.as_ref())?;
    if document.counts.paired() == 0 {
        return Err(nothing_in_common(&document, filter.is_some()));
    }
    match (&args.output, form) {
        (Some(path), form) => {
            report_files::write(path, |writer| match form {
                ComparisonForm::Json => {
                    Ok(write_document(writer, &document).map_err(io::Error::from)?)
                }
                _ => Ok(writer.write_all(markdown(&document)?.as_bytes())?),
            })?;
            out.hint(&format!("report: {}", shown_path(path)));
        }
        (None, ComparisonForm::Json) => out.document(&document),
        (None, ComparisonForm::Markdown) => out.bytes(markdown(&document)?.as_bytes()),
        (None, ComparisonForm::Text) => print(&document, out)?,
    }
    let mut failures = if args.fail_on.is_empty() { Vec::new() } else { document.unknown() };
    failures.extend(args.fail_on.iter().flat_map(|what| self::failures(&document, what)));
    failures.dedup();
    failures.iter().for_each(|failure| out.talk(&visible_line(failure)));
    Ok(if failures.is_empty() { Exit::Success } else { Exit::Bad })
}

/// Returns the changes of a kind of `--fail-on` and the measures that are missing, for people.
fn failures(document: &ComparisonDocument, what: &str) -> Vec<String> {
    let is_of_kind = |name: &str| match what {
        SLOWER => name == DURATION,
        REGRESSED => name == PASS_RATE,
        _ => name != DURATION,
    };
    let lost = document.lost.iter().filter(|lost| is_of_kind(&lost.name));
    // A provider may skip all of its tests. Those that it newly skips are counted as such.
    let lost = lost.filter(|lost| what != REGRESSED || lost.provider.is_none());
    let lost = lost.map(|lost| {
        let name = named(&lost.name, &lost.provider);
        format!("{name} cannot be compared: no test has one in both runs")
    });
    let worse = document.measures.iter().filter(|measure| measure.worse);
    let worse = worse.filter(|measure| what != REGRESSED && is_of_kind(&measure.name));
    let worse: Vec<_> = worse.map(|measure| named(&measure.name, &measure.provider)).collect();
    let regressed = document.counts.regressed;
    let timed_out = document.newly_timed_out;
    let changes = [
        (what == REGRESSED && regressed > 0).then(|| match &document.providers {
            Some([base, new]) => {
                format!(
                    "{} worse on {new} than on {base}",
                    plural(regressed, "test is", "tests are")
                )
            }
            None => format!("{} regressed", plural(regressed, "result has", "results have")),
        }),
        (what == SLOWER && timed_out > 0).then(|| {
            let results = plural(timed_out, "result has", "results have");
            format!("slower: {results} timed out, and had a duration in base")
        }),
        (!worse.is_empty()).then(|| format!("significantly worse: {}", worse.join(", "))),
    ];
    changes.into_iter().flatten().chain(lost).collect()
}

impl Args {
    /// Returns the form that a flag or else the extension of the file names.
    fn form(&self) -> Result<ComparisonForm, CommandError> {
        Ok(match &self.output {
            _ if self.document.json => ComparisonForm::Json,
            _ if self.markdown => ComparisonForm::Markdown,
            None => ComparisonForm::Text,
            Some(path) if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) => {
                ComparisonForm::Json
            }
            Some(path) if Form::of_path(path) == Some(Form::Markdown) => ComparisonForm::Markdown,
            Some(path) => {
                return Err(mistake!(
                    "{} does not name a form: its extension is not .md or .json\nname the form: `--markdown` or `--json`",
                    shown_path(path)
                ));
            }
        })
    }

    /// Finds the runs.
    fn runs(&self, root: &ResultsRoot) -> Result<[RunDir; 2], CommandError> {
        let runs = match (&self.base, &self.new) {
            (Some(base), Some(new)) => {
                [Target::find_run(root, base)?, Target::find_run(root, new)?]
            }
            (run, None) if self.providers.is_some() => {
                let run = Target::find_run(root, run.as_deref().unwrap_or("latest"))?;
                [run.clone(), run]
            }
            (Some(base), None) => {
                let base = Target::find_run(root, base)?;
                match newest_of_scenario(&base)? {
                    Some(newest) if newest.id() != base.id() => [base, newest],
                    _ => [previous(&base)?, base],
                }
            }
            (None, _) => {
                let new = Target::find_run(root, &RunArg::default().name_or_latest())?;
                [previous(&new)?, new]
            }
        };
        let is_one = runs[0].path().canonicalize().ok() == runs[1].path().canonicalize().ok();
        if is_one && self.providers.as_ref().is_none_or(|names| names[0] == names[1]) {
            let base = previous(&runs[0]);
            let id = runs[0].id();
            let (other, name) = match &base {
                Ok(base) => ("the previous run of its scenario", base.id()),
                Err(_) => ("another run", "RUN"),
            };
            return Err(mistake!(
                "BASE and NEW are the same run, {id}\nto compare it with {other}: {}",
                root.command(&["compare", name, id])
            ));
        }
        Ok(runs)
    }
}

/// Opens this user's newest run of the same scenario file.
fn newest_of_scenario(run: &RunDir) -> Result<Option<RunDir>, RecordError> {
    let root = run.results_root();
    let manifest = run.manifest()?;
    let mut runs = root.runs_of(&manifest.scenario, manifest.scenario_path.as_ref())?;
    Ok(runs.find_map(Result::ok).map(|(run, _)| run))
}

fn previous(run: &RunDir) -> Result<RunDir, CommandError> {
    let root = run.results_root();
    let manifest = run.manifest()?;
    let Some((base, _)) = SincePrevious::base(&root, run, &manifest)? else {
        return Err(mistake!(
            "{} is the first run of {} that can be compared\nto compare it with another run: {}",
            run.id(),
            shown_path(manifest.scenario_path.as_ref()),
            root.command(&["compare", "RUN", run.id()])
        ));
    };
    Ok(base)
}

/// Fails if a run has no provider with this name.
fn check_provider(run: &RunDir, name: &str) -> Result<(), CommandError> {
    let manifest = run.manifest()?;
    let known = manifest.providers.iter().filter(|one| one.is_tested());
    let known: Vec<_> = known.map(|one| &*one.name).collect();
    if known.contains(&name) {
        return Ok(());
    }
    let name = visible_line(name);
    let run = run.id();
    let known = known.join(", ");
    Err(mistake!("{run} has no provider `{name}`\nits providers: {known}"))
}

fn nothing_in_common(document: &ComparisonDocument, has_filter: bool) -> CommandError {
    let [base, new] = [&document.base, &document.new].map(|run| &run.head.id);
    let problem = if has_filter {
        format!("the filter matches no test that both {base} and {new} have")
    } else if let Some(run) =
        [&document.base, &document.new].into_iter().find(|run| run.head.counts.done.done() == 0)
    {
        format!("{} has no results", run.head.id)
    } else {
        let words = ["compare", base, new, "--providers", "A", "B"];
        let compare = document.new.command(words[0], words[1], &words[2..]);
        format!(
            "{base} and {new} have no test on the same provider in common\nto compare two providers: {compare}"
        )
    };
    CommandError::new(Exit::NothingSelected, problem)
}

fn print(document: &ComparisonDocument, out: &Out) -> Result<(), CommandError> {
    out.data(&format!("{}\n", style::bold(&visible_line(&document.summary))));
    for (at, name) in ["base", "new "].into_iter().enumerate() {
        out.data(&format!("{} {}", style::dim(name), side(document, at)));
    }
    for caution in &document.cautions {
        out.data(&format!("{} {}", style::warning("caution:"), visible_line(caution)));
    }
    out.data(&format!("\n{}", visible_line(&document.counts_text())));
    let providers = document.measures.iter().map(|measure| &measure.provider);
    let mut table = Table::new([
        // Without it, measures of several providers look the same.
        ("provider…", if providers.collect::<HashSet<_>>().len() > 1 { 0 } else { 10 }),
        ("measure", 0),
        ("base>", 0),
        ("new>", 0),
        ("change>", 0),
        ("95 % interval>", 9),
        ("p>", 7),
        ("results>", 8),
    ]);
    for measure in &document.measures {
        table.row(cells(measure).map(|cell| visible_line(&cell).into_owned()));
    }
    out.data(&format!("\n{}", table.render(out.columns())));
    if document.measures.iter().any(Measure::is_significant) {
        out.data(&style::dim("* significant: p below 0.05 after Holm's correction"));
    }
    for ChangeList { title, groups, left, .. } in document.changes.lists()? {
        out.data(&format!("\n{}", style::bold(&visible_line(&format!("{title}:")))));
        for group in groups {
            let [name, reason] =
                [group.name, group.reason].map(|text| visible_line(&text).into_owned());
            let line = format!("  {name}  {}  {}", group.outcomes, style::dim(&reason));
            out.data(line.trim_end());
        }
        if left > 0 {
            out.data(&format!("  … and {left} more; `--json` lists all"));
        }
    }
    Ok(())
}

/// Formats a side of the comparison: short id, time, and the run's result or the provider. The result is that of all providers.
fn side(document: &ComparisonDocument, at: usize) -> String {
    let run = [&document.base, &document.new][at];
    let started = phrases::clock(run.head.started_at);
    let about = match &document.providers {
        Some(names) => visible_line(&format!("provider {}", names[at])).into_owned(),
        None => summary::line(run, std::time::Duration::ZERO),
    };
    format!("{} {}, {started}, {about}", run.short, visible_line(&run.head.scenario))
}

fn cells(measure: &Measure) -> [String; 8] {
    let provider = measure.provider.clone().unwrap_or_default();
    let [base, new, change, interval, p, tests] = measure.cells();
    [provider, measure.title(), base, new, change, interval, p, tests]
}

fn markdown(document: &ComparisonDocument) -> Result<String, RecordError> {
    let mut text =
        format!("### {}\n\n{}\n\n", plain(&document.summary), plain(&document.counts_text()));
    for (at, name) in ["Base", "New"].into_iter().enumerate() {
        text += &format!("* {name}: {}\n", code(&style::plain(&side(document, at))));
    }
    let cautions = document.cautions.iter();
    let cautions = cautions.map(|caution| format!("* **Caution:** {}\n", code(caution)));
    push_lines(&mut text, END_OF_MEASURES, cautions);
    text += "\n| provider | measure | base | new | change | 95 % interval | p | tests |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    // A unit is a text of a guest, too.
    let rows = document.measures.iter().map(|measure| {
        format!("| {} |\n", cells(measure).map(|cell| code(&cell).replace('|', "\\|")).join(" | "))
    });
    let left = push_lines(&mut text, END_OF_MEASURES, rows);
    if left > 0 {
        text += &format!("\n… and {}\n", plural(left, "more measure", "more measures"));
    }
    for ChangeList { title, groups, left, .. } in document.changes.lists()? {
        text += &format!("\n**{}**\n\n", plain(&title));
        let lines = groups.iter().map(|group| {
            let name = markdown_code(&cut(&group.name, MOST_NAMES));
            format!("* {name}: {} {}\n", group.outcomes, code(&group.reason))
        });
        let lost = push_lines(&mut text, END_OF_CHANGES, lines) as usize;
        let lost = groups[groups.len() - lost..].iter();
        let left = left + lost.map(|group| group.count).sum::<u64>();
        if left > 0 {
            text += &format!("* … and {left} more\n");
        }
    }
    Ok(text)
}

/// Adds lines until the text has `end` bytes. Returns the number of the others.
fn push_lines(text: &mut String, end: usize, lines: impl Iterator<Item = String>) -> u64 {
    let mut left = 0;
    for line in lines {
        if left > 0 || text.len() + line.len() > end {
            left += 1;
        } else {
            text.push_str(&line);
        }
    }
    left
}

/// Formats a text as it is if it has no markup, and otherwise as code. It may have names of providers.
fn plain(text: &str) -> String {
    let is_plain = text.chars().all(|char| char.is_alphanumeric() || " ,.:;%→/-".contains(char));
    if is_plain { text.to_owned() } else { code(text) }
}

/// Formats the start of a text as code, which has no markup and no mentions.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let start: String = text.chars().take(MOST_CHARACTERS).collect();
    markdown_code(&start)
}

fn named(name: &str, provider: &Option<String>) -> String {
    provider.as_ref().map_or_else(|| name.to_owned(), |provider| format!("{name} of {provider}"))
}
