//! `runner list`: the runs of a results root, newest first.

use std::time::{Duration, SystemTime};

use runner_model::{Time, exit::Exit, units::show_duration, visible::visible_line};
use runner_record::ResultsRoot;
use runner_report::{RunList, RunSummary};

use crate::{
    args::{JsonArgs, RootArgs},
    text::{error::CommandError, layout::Table, out::Out, style, summary},
};

/// List the runs, newest first
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let path = args.root.path();
    let now = Time::from(SystemTime::now());
    let list = ResultsRoot::existing(&path)
        .and_then(|root| RunList::read(&root, now))
        .map_err(|error| CommandError::of_record(error, &path))?;
    if args.json.json {
        out.document(&list);
        return Ok(Exit::Success);
    }
    if !list.runs.is_empty() {
        out.data(&table(&list, now, out.columns()));
    } else if list.unreadable.is_empty() {
        let folder = visible_line(&path.to_string_lossy()).into_owned();
        out.talk(&if path.is_dir() {
            format!("there are no runs in {folder}")
        } else {
            format!("there are no runs: the folder {folder} does not exist")
        });
    }
    for run in &list.unreadable {
        out.warn(&format!("{}: {}", run.run, run.problem));
    }
    if let Some(run) = list.runs.iter().find(|run| run.is_resumable()) {
        let flag = args.root.flag();
        out.hint(&format!("continue: runner resume {}{flag}", run.short));
    }
    Ok(Exit::Success)
}

/// The table; ids and times are short on a screen, and whole elsewhere.
pub fn table(list: &RunList, now: Time, screen: Option<usize>) -> String {
    let started = if screen.is_some() {
        "started"
    } else {
        "started (UTC)"
    };
    let mut table = Table::new(&[
        ("run", 0),
        ("status", 0),
        ("scenario", 2),
        ("done>", 1),
        ("failed>", 3),
        (started, 4),
        ("took>", 5),
    ]);
    for run in &list.runs {
        let is_screen = screen.is_some();
        let id = if is_screen { &run.short } else { &run.run };
        let started = if is_screen {
            summary::ago(now, run.started_at)
        } else {
            summary::clock(run.started_at)
        };
        let bad = run.counts.done.bad();
        table.row([
            visible_line(id).into_owned(),
            standing(run),
            visible_line(&run.scenario).into_owned(),
            format!("{}/{}", run.counts.done.done(), run.counts.planned),
            if bad > 0 {
                style::red(&bad.to_string())
            } else {
                String::new()
            },
            started,
            show_duration(Duration::from_millis(run.worked_ms)),
        ]);
    }
    table.render(screen)
}

fn standing(run: &RunSummary) -> String {
    let (sign, paint) = style::standing(run.status, run.verdict);
    paint(&format!("{sign} {}", summary::standing_words(run)))
}
