//! `runner list`: the runs of a results root, newest first.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::{civil, tz::TimeZone};
use runner_model::units::{grouped, parse_age, show_duration};
use runner_model::{Stage, Time, exit::Exit, status::RunVerdict, visible::visible_line};
use runner_record::{GroupPlace, clock_caution, now};
use runner_report::{RunList, RunSummary, short_id};
use runner_scenario::IdGlob;

use crate::args::{DocumentArgs, StatusArgs, label, number};
use crate::text::{CommandError, Out, Table, error::no_runs, style, summary};

/// Columns of a screen from which groups are named. On a smaller one, their ids would leave no room for times.
const WITH_GROUP: usize = 100;

/// List the runs, newest first
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    status: StatusArgs,
    /// Only runs with this verdict
    #[arg(long, value_name = "VERDICT", value_parser = verdicts())]
    verdict: Option<RunVerdict>,
    /// Only runs of this group: its id or a part of it
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only runs with this label; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Only runs of scenarios whose name matches
    #[arg(long, value_name = "GLOB", value_parser = IdGlob::new)]
    scenario: Option<IdGlob>,
    /// Only runs started since `7d`, `2026-11-20` or `2026-11-20T09:30`
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Time>,
    /// At most N runs, the newest
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<usize>)]
    limit: Option<usize>,
    #[command(flatten)]
    document: DocumentArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let root = args.document.root.open()?;
    let mut list = RunList::read(&root)?;
    let all = list.runs.len();
    let caution = clock_caution(list.runs.iter().map(|run| &run.head), now());
    list.runs.retain(|run| args.matches(run));
    list.runs.truncate(args.limit.unwrap_or(usize::MAX));
    if args.document.json {
        out.document(&list);
        return Ok(Exit::Success);
    }
    let path = args.document.root.existing_path();
    if args.document.root.results.is_some() && !path.is_dir() {
        return Err(CommandError::usage(no_runs(&path)));
    }
    if !list.runs.is_empty() {
        out.data(&table(&list, false, out.columns()));
    } else if all > 0 {
        let list = root.command(&["list"]);
        let all = grouped(all as u64);
        out.talk(&format!("no runs match; `{list}` shows all {all}"));
    } else if list.unreadable.is_empty() {
        out.talk(&no_runs(&path));
    }
    caution.iter().for_each(|caution| out.warn(caution));
    for run in &list.unreadable {
        out.warn(&format!("{}: {}", run.run, run.problem));
    }
    if let Some(run) = list.runs.iter().find(|run| run.is_resumable()) {
        let group = run.head.group.as_ref().map(|group| short_id(&group.id));
        out.hint(&format!("continue: {}", run.resume_command(group.unwrap_or(&run.short))));
    }
    Ok(Exit::Success)
}

impl Args {
    fn matches(&self, run: &RunSummary) -> bool {
        let states = self.status.states();
        (states.is_empty() || states.contains(&run.state))
            && self.verdict.is_none_or(|verdict| run.head.verdict == verdict)
            && self
                .group
                .as_ref()
                .is_none_or(|group| run.head.group.as_ref().is_some_and(|of| of.id.contains(group)))
            && self.label.iter().all(|(key, value)| run.head.labels.get(key) == Some(value))
            && self.scenario.as_ref().is_none_or(|glob| glob.is_match(&run.head.scenario))
            && self.since.is_none_or(|since| run.head.started_at >= since)
    }
}

/// Parses an age before now, or a time.
pub fn since(text: &str) -> Result<Time, String> {
    if let Ok(age) = parse_age(text) {
        return Ok(Time::from_millis(now().as_millis() - age.as_millis() as i64));
    }
    // A civil time would drop the offset, so a time with an offset or `Z` is tried first.
    let time = Time::parse(text).or_else(|| {
        let time = text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::system()).ok()?;
        Some(Time::from_millis(time.timestamp().as_millisecond()))
    });
    time.ok_or_else(|| {
        "expected an age such as `2h` or `7d`, or a day or time such as `2026-11-20` or `2026-11-20T09:30`".to_owned()
    })
}

fn verdicts() -> impl TypedValueParser<Value = RunVerdict> {
    let words = RunVerdict::ALL.iter().map(|verdict| verdict.as_str());
    PossibleValuesParser::new(words).try_map(|word| RunVerdict::parse(&word).ok_or("no verdict"))
}

/// Formats runs, or those of one group, as a table. Ids and times are short on a screen, and in full elsewhere.
pub fn table(list: &RunList, is_of_group: bool, screen: Option<usize>) -> String {
    let now = now();
    // Title and rank, in the order of the cells below. The highest rank is left out first on narrow terminals, and 0 never.
    let mut table = Table::new([
        ("run", 0),
        ("status", 0),
        ("scenario", 2),
        ("done>", 1),
        ("failed>", 3),
        ("known>", 3),
        ("started (UTC)", 4),
        ("ended (UTC)", 6),
        ("took>", 5),
    ]);
    for run in &list.runs {
        let id = screen.map_or(&run.head.id, |_| &run.short);
        let started = Some(run.head.started_at).filter(|_| run.head.stage != Stage::Waiting);
        let [started, ended] = [started, run.head.completed_at].map(|time| {
            time.map_or_else(|| "–".to_owned(), |time| summary::when(now, time, screen))
        });
        let took = match run.head.worked() {
            Duration::ZERO => "–".to_owned(),
            took => show_duration(took),
        };
        table.row([
            visible_line(id).into_owned(),
            status_cell(run),
            scenario_cell(run, !is_of_group && screen.is_none_or(|columns| columns >= WITH_GROUP)),
            done_cell(run),
            style::bad_count(run.head.counts.done.unexpected()),
            style::count(run.head.counts.done.known),
            started,
            ended,
            took,
        ]);
    }
    table.render(screen)
}

/// Formats the status, with what the verdict does not show.
fn status_cell(run: &RunSummary) -> String {
    let gate = run.head.failed_gate.as_ref().map_or("", |_| " (gate)");
    let lost = run.head.lost_report.as_ref().map(|_| style::red(" ✗ report lost"));
    format!("{}{}", summary::headed(run, gate), lost.unwrap_or_default())
}

/// Formats done and planned trials, and outputs that wait for graders.
fn done_cell(run: &RunSummary) -> String {
    let counts = run.head.counts.done;
    let planned = grouped(counts.needed_of(run.head.counts.planned));
    let ungraded = match counts.ungraded {
        0 => String::new(),
        ungraded => format!(" ({} ungraded)", grouped(ungraded)),
    };
    format!("{}/{planned}{ungraded}", grouped(counts.done()))
}

/// Formats the scenario's name, the run's shard, whether it is a replay, and its place in its group.
fn scenario_cell(run: &RunSummary, has_group: bool) -> String {
    let mut name = visible_line(&run.head.scenario).into_owned();
    if let Some(shard) = run.head.shard {
        name += &format!(" {}", style::dim(&format!("(shard {shard})")));
    }
    if run.head.replay_of.is_some() {
        name += &format!(" {}", style::dim("(replay)"));
    }
    match &run.head.group {
        Some(GroupPlace { id, place, of }) => {
            let id = if has_group { format!(" of {}", short_id(id)) } else { String::new() };
            format!("{name} {}", style::dim(&format!("({place}/{of}{id})")))
        }
        None => name,
    }
}
