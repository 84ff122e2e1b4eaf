//! Groups of runs: `exec` of several scenarios, and `resume` of a group.

use std::path::{Path, PathBuf};
use std::{fs, io};

use runner_engine::{EngineError, ExecRequest, Group, ResumeRequest};
use runner_model::visible::{shown_path, visible_line};
use runner_model::{Counts, RunStatus, Stage, exit::Exit};
use runner_record::{RecordError, Rerun, ResultsRoot};
use runner_report::{Failures, RowSelection, RunDocument, RunList, RunSummary, phrases, short_id};
use runner_scenario::{holds_results, is_run};

use super::{list, session, target::Target};
use crate::text::{CommandError, Out, mistake, style, summary, trials};
use crate::{args::SessionArgs, detach};

/// Lists the scenarios' files: each file, and of a folder the TOML files directly in it, sorted by name. Warns of links out of a
/// folder, and leaves them out: a message about a mistake would quote a file that the user has not named.
pub fn scenario_files(paths: &[PathBuf], out: &Out) -> Result<Vec<PathBuf>, CommandError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let shown = shown_path(path);
        let refused = || {
            mistake!(
                "the folder {shown} has results of runs\nname a scenario, or a folder of scenarios"
            )
        };
        if is_run(path) {
            return Err(refused());
        }
        let unreadable = |error: io::Error| mistake!("cannot read the folder {shown}: {error}");
        let real = path.canonicalize().map_err(unreadable)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file.extension().is_none_or(|end| end != "toml") || !file.is_file() {
                continue;
            }
            if file.canonicalize().map_err(unreadable)?.starts_with(&real) {
                found.push(file);
            } else {
                let link = shown_path(&file);
                let folder = &shown;
                out.warn(&format!("{link} is left out: it is a link out of the folder {folder}; to use it, name it"));
            }
        }
        // A results root may also have scenarios: `--into run` makes one of the working directory.
        if found.is_empty() && holds_results(path) {
            return Err(refused());
        }
        if found.is_empty() {
            return Err(mistake!("the folder {shown} has no scenario: no file ends in .toml"));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Creates the runs of several scenarios, and runs one after the other.
pub fn exec(requests: &[ExecRequest], args: &SessionArgs, out: &Out) -> Result<Exit, CommandError> {
    args.refuse_reports()?;
    let (group, empty) = Group::create(requests)?;
    empty.iter().for_each(|scenario| warn_of_empty(scenario, out));
    run(group, args, out)
}

pub fn warn_of_empty(scenario: &Path, out: &Out) {
    out.warn(&format!("no test of {} is selected; it is left out", shown_path(scenario)));
}

/// Continues runs of a group, one after the other.
pub fn resume(
    group: String,
    requests: Vec<ResumeRequest>,
    args: &SessionArgs,
    out: &Out,
) -> Result<Exit, CommandError> {
    args.refuse_reports()?;
    run(Group::resume(group, requests)?, args, out)
}

/// Returns the group that a request is about, and a request for each of its runs that have work left. A request that names
/// nothing is about the only group that was cut short. `None` if the request is about a single run.
///
/// # Errors
///
/// Several groups match, `--rerun` matches no run, or the results root cannot be read.
pub fn resume_requests(
    request: &ResumeRequest,
    args: &SessionArgs,
    out: &Out,
) -> Result<Option<(String, Vec<ResumeRequest>)>, CommandError> {
    let root = args.root.open()?;
    let runs = match &request.run {
        Some(name) => match Target::find(&root, name)? {
            Target::Group(list) => Some(list.runs),
            Target::Run(_) => None,
        },
        None if request.rerun.is_some() || request.accept_changes => None,
        None => only_cut_short(&root, out)?.map(|list| list.runs),
    };
    let Some(runs) = runs else { return Ok(None) };
    let requests: Vec<_> = runs
        .iter()
        .filter(|run| has_work(run, request))
        .map(|run| ResumeRequest { run: Some(run.head.id.clone()), ..request.clone() })
        .collect();
    let group = runs[0].head.group.as_ref().map_or("", |group| &group.id);
    if let (Some(rerun), true) = (&request.rerun, requests.is_empty()) {
        return Err(EngineError::NothingMeant(rerun.clone(), String::new()).into());
    }
    if requests.is_empty() && runs.iter().any(|run| run.head.status == RunStatus::Cancelled) {
        let group = short_id(group);
        return Err(mistake!(
            "the runs of this group that are left were cancelled\nto continue them anyway: {}",
            root.command(&["resume", group, "--force"])
        ));
    }
    if request.run.is_none() {
        let left = requests.len();
        let all = runs.len();
        out.talk(&format!(
            "resuming group {group}, the only one that was cut short; {left} of its {all} runs are left"
        ));
    }
    Ok(Some((group.to_owned(), requests)))
}

fn has_work(run: &RunSummary, request: &ResumeRequest) -> bool {
    let counts = &run.head.counts.done;
    match run.head.status {
        RunStatus::Completed => {
            let has_rerun = match &request.rerun {
                Some(Rerun::Failed) => counts.unexpected() > 0,
                Some(Rerun::Errors) => counts.error + counts.timeout > 0,
                Some(Rerun::All | Rerun::Glob(_) | Rerun::Filter { .. }) => true,
                None => false,
            };
            request.accept_changes || has_rerun
        }
        RunStatus::Cancelled => request.force,
        RunStatus::Running | RunStatus::Failed | RunStatus::Incomplete => true,
    }
}

/// Returns the only group with runs that were cut short, if no other run was and no process works on the group. Warns of
/// runs of other users, and leaves them out.
fn only_cut_short(root: &ResultsRoot, out: &Out) -> Result<Option<RunList>, RecordError> {
    // The list reads all rows of a run whose process died, which takes seconds if there are many.
    let (cut_short, skipped) = root.cut_short()?;
    if cut_short.iter().all(|run| run.group.is_none()) {
        return Ok(None);
    }
    let mut list = RunList::read(root)?;
    list.runs.retain(|run| {
        !skipped
            .iter()
            .any(|error| matches!(error, RecordError::NotOwn { run: id, .. } if *id == run.head.id))
    });
    let mut groups = list
        .runs
        .iter()
        .filter(|run| run.head.status == RunStatus::Incomplete)
        .map(|run| run.head.group.as_ref().map(|group| group.id.clone()));
    let Some(Some(group)) = groups.next() else {
        return Ok(None);
    };
    let is_only = groups.all(|other| other.as_ref() == Some(&group));
    let list = list.of_group(&group);
    let is_held = list.runs.iter().any(|run| run.head.status == RunStatus::Running);
    if !is_only || is_held {
        return Ok(None);
    }
    skipped.iter().for_each(|error| out.warn(&format!("skipped: {error}")));
    Ok(Some(list))
}

/// Calls `preview` for each request. Fails if all of them select nothing: `--rerun` and filters may match trials of some runs of
/// the group only.
pub fn preview_each<R>(
    requests: &[R],
    mut preview: impl FnMut(&R) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut has_preview = false;
    let mut not_selected = None;
    for request in requests {
        match preview(request) {
            Ok(()) => has_preview = true,
            Err(error) if error.exit() == Exit::NothingSelected => not_selected = Some(error),
            Err(error) => return Err(error),
        }
    }
    not_selected.filter(|_| !has_preview).map_or(Ok(()), Err)
}

/// Runs the sessions of a group, one after the other, and prints its end.
pub fn run(mut group: Group, args: &SessionArgs, out: &Out) -> Result<Exit, CommandError> {
    if detach::is_background() {
        detach::report_start(group.id(), None);
    }
    let mut exit = Exit::Success;
    let mut has_session = false;
    let mut not_selected = None;
    let mut ran_nothing = true;
    while group.has_next() {
        let ended = session::run(args, out, true, |observer| {
            let ended = group.run_next(observer)?;
            ran_nothing &= ended.ran_nothing();
            Ok(ended)
        });
        match ended {
            // `--rerun` may match trials of other runs of the group.
            Err(error) if error.exit() == Exit::NothingSelected => not_selected = Some(error),
            Err(error) => {
                out.talk(error.text());
                (exit, ran_nothing) = (exit.worse(error.exit()), false);
            }
            Ok(ended) => (exit, has_session) = (exit.worse(ended), true),
        }
    }
    if let Some(error) = not_selected.filter(|_| !has_session) {
        out.talk(error.text());
        exit = exit.worse(error.exit());
    }
    Ok(exit.worse(args.exit(summarize(group.id(), ran_nothing, args, out)?)))
}

/// Prints the end of a group. Returns the worst exit code of all its runs, including those of earlier processes.
fn summarize(
    group: &str,
    ran_nothing: bool,
    args: &SessionArgs,
    out: &Out,
) -> Result<Exit, CommandError> {
    let root = args.root.open()?;
    let list = RunList::read(&root)?.of_group(group);
    let exits = list.runs.iter().filter_map(|run| Exit::of_code(run.exit_code?));
    let exit = exits.fold(Exit::Success, Exit::worse);
    if !(args.json || detach::is_background() || (args.quiet && exit == Exit::Success)) {
        out.data("");
        print(&root, &list, ran_nothing, args.quiet, out)?;
    }
    Ok(exit)
}

/// Prints the runs of a group, their failures, the sum of their results, and the commands to type next unless `is_quiet`.
/// `ran_nothing` is whether the sessions whose end is printed ran no trial.
pub fn print(
    root: &ResultsRoot,
    list: &RunList,
    ran_nothing: bool,
    is_quiet: bool,
    out: &Out,
) -> Result<(), CommandError> {
    let Some(group) = whole(list) else { return Ok(()) };
    let id = group.head.group.as_ref().map_or("", |group| &group.id);
    out.data(&style::bold(&format!("group {}:", visible_line(id))));
    out.data(&list::table(list, true, out.columns()));
    let mut failures = Failures::default();
    for run in &list.runs {
        failures.start_run(&run.head.scenario);
        let run = root.find(&run.head.id)?;
        RunDocument::read(root, &run, &RowSelection::All)?.rows.add_failures(&mut failures)?;
    }
    trials::print_notable(&failures, None, out, true);
    let none_run = if ran_nothing { phrases::NONE_RUN } else { "" };
    out.data(&format!("{}{none_run}", summary::line(&group, group.head.worked())));
    if !is_quiet {
        summary::print_next_steps(&group, out);
    }
    Ok(())
}

/// Returns a group as a run: its worst one, with the counts and times of all.
fn whole(list: &RunList) -> Option<RunSummary> {
    let worst = list.runs.iter().max_by_key(|run| {
        let is_waiting = run.head.stage == Stage::Waiting;
        (run.exit_code.is_none(), !is_waiting, run.exit_code.and_then(Exit::of_code))
    })?;
    let heads = list.runs.iter().map(|run| &run.head);
    let mut head = worst.head.clone();
    head.counts.planned = heads.clone().map(|head| head.counts.planned).sum();
    head.counts.done =
        heads.clone().fold(Counts::default(), |sum, head| sum.plus(head.counts.done));
    head.worked_ms = heads.map(|head| head.worked_ms).sum();
    let short = head.group.as_ref().map_or("", |group| short_id(&group.id)).to_owned();
    Some(RunSummary::new(head, short, worst.run_dir.clone()))
}
