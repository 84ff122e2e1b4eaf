//! `runner list`: the runs of a results root, newest first.

use std::{sync::Arc, time::Duration};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::{civil, tz::TimeZone};
use runner_model::{
    RunStatus, Time,
    exit::Exit,
    status::RunVerdict,
    units::{parse_age, show_duration},
    visible::visible_line,
};
use runner_record::{GroupPlace, now};
use runner_report::{RunList, RunSummary, short_id};
use runner_scenario::IdGlob;

use super::exec::label;
use crate::{
    args::{RootArgs, number},
    text::{CommandError, Out, Table, style, summary},
};

/// List the runs, newest first
#[derive(clap::Args)]
pub struct Args {
    /// Only runs with this status, or one of several
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = statuses())]
    status: Vec<RunStatus>,
    /// Only runs with this verdict
    #[arg(long, value_name = "VERDICT", value_parser = verdicts())]
    verdict: Option<RunVerdict>,
    /// Only runs of this group: its id, or a part of it
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only runs with this label; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Only runs of scenarios whose name matches
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    scenario: Option<Arc<IdGlob>>,
    /// Only runs that began since then: an age such as `2h` or `7d`, or a day or time in UTC such as `2026-11-20` or
    /// `2026-11-20T09:30`
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Time>,
    /// At most this many
    #[arg(short = 'n', long, value_name = "N", value_parser = number::<usize>)]
    limit: Option<usize>,
    #[command(flatten)]
    root: RootArgs,
    /// Print one JSON document
    #[arg(long, display_order = 801)]
    json: bool,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let mut list = RunList::read(&args.root.open()?)?;
    let all = list.runs.len();
    list.runs.retain(|run| args.is_meant(run));
    list.runs.truncate(args.limit.unwrap_or(usize::MAX));
    if args.json {
        out.document(&list);
        return Ok(Exit::Success);
    }
    let path = args.root.path();
    let folder = visible_line(&path.to_string_lossy()).into_owned();
    if !list.runs.is_empty() {
        out.data(&table(&list, out.columns()));
    } else if all > 0 {
        out.talk("no run is as you asked");
    } else if !path.is_dir() {
        out.talk(&format!("there are no runs: the folder {folder} does not exist"));
    } else if list.unreadable.is_empty() {
        out.talk(&format!("there are no runs in {folder}"));
    }
    for run in &list.unreadable {
        out.warn(&format!("{}: {}", run.run, run.problem));
    }
    if let Some(run) = list.runs.iter().find(|run| run.is_resumable()) {
        let group = run.group.as_ref().map(|group| short_id(&group.id));
        let (name, flag) = (group.unwrap_or(&run.short), args.root.flag());
        out.hint(&format!("continue: runner resume {name}{flag}"));
    }
    Ok(Exit::Success)
}

impl Args {
    fn is_meant(&self, run: &RunSummary) -> bool {
        let group = run.group.as_ref().map(|group| group.id.as_str());
        let is_of = |wanted: &String| group.is_some_and(|group| group.contains(wanted));
        (self.status.is_empty() || self.status.contains(&run.status))
            && self.verdict.is_none_or(|verdict| run.verdict == verdict)
            && self.group.as_ref().is_none_or(is_of)
            && self.label.iter().all(|(key, value)| run.labels.get(key) == Some(value))
            && self.scenario.as_ref().is_none_or(|glob| glob.is_match(&run.scenario))
            && self.since.is_none_or(|since| run.started_at >= since)
    }
}

/// Reads an age before now, or a point in time.
fn since(text: &str) -> Result<Time, String> {
    if let Ok(age) = parse_age(text) {
        let since = now().as_millis() - age.as_millis() as i64;
        return Ok(Time::from_millis(since));
    }
    let time = text.parse::<civil::DateTime>().ok();
    let time = time.and_then(|time| time.to_zoned(TimeZone::UTC).ok());
    let time = time.map(|time| Time::from_millis(time.timestamp().as_millisecond()));
    // With an offset or `Z` it is a point in time.
    let time = Time::parse(text).or(time);
    time.ok_or_else(|| {
        "expected an age such as `2h` or `7d`, or a day or time in UTC such as `2026-11-20` or `2026-11-20T09:30`".to_owned()
    })
}

fn glob(text: &str) -> Result<Arc<IdGlob>, String> {
    IdGlob::new(text).map(Arc::new)
}

/// The words for a status, which the help lists.
pub fn statuses() -> impl TypedValueParser<Value = RunStatus> {
    let words = RunStatus::ALL.iter().map(|status| status.as_str());
    PossibleValuesParser::new(words).try_map(|word| RunStatus::parse(&word).ok_or("no status"))
}

fn verdicts() -> impl TypedValueParser<Value = RunVerdict> {
    let words = RunVerdict::ALL.iter().map(|verdict| verdict.as_str());
    PossibleValuesParser::new(words).try_map(|word| RunVerdict::parse(&word).ok_or("no verdict"))
}

/// The table; ids and times are short on a screen, and whole elsewhere.
pub fn table(list: &RunList, screen: Option<usize>) -> String {
    let now = now();
    let mut table = Table::new([
        ("run", 0),
        ("status", 0),
        ("scenario", 2),
        ("done>", 1),
        ("failed>", 3),
        ("started (UTC)", 4),
        ("ended (UTC)", 6),
        ("took>", 5),
    ]);
    for run in &list.runs {
        let id = screen.map_or(&run.run, |_| &run.short);
        let when = |time| summary::when(now, time, screen);
        let took = match run.worked_ms {
            0 => "–".to_owned(),
            took => show_duration(Duration::from_millis(took)),
        };
        table.row([
            visible_line(id).into_owned(),
            summary::headed(run, ""),
            scenario(run),
            format!("{}/{}", run.counts.done.done(), run.counts.planned),
            style::bad_count(run.counts.done.bad()),
            when(run.started_at),
            run.completed_at.map_or_else(|| "–".to_owned(), when),
            took,
        ]);
    }
    table.render(screen)
}

/// The scenario's name, and its place in its group.
fn scenario(run: &RunSummary) -> String {
    let name = visible_line(&run.scenario);
    match &run.group {
        Some(GroupPlace { id, place, of }) => {
            let group = format!("({place}/{of} of {})", short_id(id));
            format!("{name} {}", style::dim(&group))
        }
        None => name.into_owned(),
    }
}
