//! Runs that follow each other: `exec` of several scenarios, and `resume` of a group.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use runner_engine::{EngineError, ExecRequest, Group, ResumeRequest};
use runner_model::{RunStatus, exit::Exit, visible::visible_line};
use runner_record::{RecordError, Rerun, ResultsRoot, RunDir};
use runner_report::{RunList, RunSummary, short_id};

use super::{exec::session, list};
use crate::{
    args::SessionArgs,
    detach,
    text::{CommandError, Out, style},
};

/// The scenarios that are meant: each file, and of a folder the TOML files that are directly in it, by their names.
pub fn scenarios(given: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut scenarios = Vec::new();
    for path in given {
        if !path.is_dir() {
            scenarios.push(path.clone());
            continue;
        }
        let failed = |error: io::Error| {
            let path = path.display();
            CommandError::usage(format!("the folder {path} cannot be read: {error}"))
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_some_and(|end| end == "toml") && file.is_file() {
                found.push(file);
            }
        }
        if found.is_empty() {
            let path = path.display();
            return Err(CommandError::usage(format!(
                "there is no scenario in the folder {path}: it has no file that ends in .toml"
            )));
        }
        found.sort();
        scenarios.extend(found);
    }
    Ok(scenarios)
}

/// Creates the runs of several scenarios, and runs one after the other.
pub fn exec(requests: &[ExecRequest], args: &SessionArgs, out: &Out) -> Result<Exit, CommandError> {
    let (group, empty) = Group::create(requests)?;
    for scenario in empty {
        let scenario = scenario.display();
        out.warn(&format!("nothing is selected in {scenario}; it is left out"));
    }
    run(group, args, out)
}

/// Continues the runs of a group that a request names, if it names none of the runs themselves.
pub fn resume(
    request: &ResumeRequest,
    args: &SessionArgs,
    out: &Out,
) -> Result<Option<Exit>, CommandError> {
    let Some((group, requests)) = requests(request, args, out)? else {
        return Ok(None);
    };
    run(Group::resume(group, requests)?, args, out).map(Some)
}

/// The group that a request names, if it names no run, or the only one that was cut short if it names nothing, and a request
/// for each of its runs in which something is left.
///
/// # Errors
///
/// Several groups, a `--rerun` that means no run, or a results root that cannot be read.
pub fn requests(
    request: &ResumeRequest,
    args: &SessionArgs,
    out: &Out,
) -> Result<Option<(String, Vec<ResumeRequest>)>, CommandError> {
    let root = args.root.open()?;
    let runs = match &request.run {
        Some(name) => match Named::find(&root, name)? {
            Named::Group(list) => Some(list.runs),
            Named::Run(_) => None,
        },
        None if request.rerun.is_some() || request.accept_changes => None,
        None => only_cut_short(&root)?.map(|list| list.runs),
    };
    let Some(runs) = runs else { return Ok(None) };
    let is_meant = |rerun: &Rerun, run: &RunSummary| {
        let errors = run.counts.done.error + run.counts.done.timeout;
        match rerun {
            Rerun::Failed => errors + run.counts.done.failed > 0,
            Rerun::Errors => errors > 0,
            Rerun::All | Rerun::Glob(_) => true,
        }
    };
    let is_left = |run: &&RunSummary| match run.status {
        RunStatus::Completed => {
            let rerun = request.rerun.as_ref();
            request.accept_changes || rerun.is_some_and(|rerun| is_meant(rerun, run))
        }
        RunStatus::Cancelled => request.force,
        RunStatus::Running | RunStatus::Failed | RunStatus::Incomplete => true,
    };
    let requests = runs
        .iter()
        .filter(is_left)
        .map(|run| ResumeRequest { run: Some(run.run.clone()), ..request.clone() });
    let requests: Vec<_> = requests.collect();
    let group = runs[0].group.as_ref().map_or("", |group| &group.id);
    if let (Some(rerun), true) = (&request.rerun, requests.is_empty()) {
        return Err(EngineError::NothingMeant(rerun.clone()).into());
    }
    if request.run.is_none() {
        let (left, all) = (requests.len(), runs.len());
        out.talk(&format!(
            "group {group} is the only one that was cut short; {left} of its {all} runs are left"
        ));
    }
    Ok(Some((group.to_owned(), requests)))
}

/// The runs of the only group with runs that were cut short, if no other run was and no process works on one of them.
fn only_cut_short(root: &ResultsRoot) -> Result<Option<RunList>, RecordError> {
    // Of a large run that is dead the list reads all rows, which takes seconds.
    if root.cut_short()?.iter().all(|run| run.group.is_none()) {
        return Ok(None);
    }
    let list = RunList::read(root)?;
    let cut = list.runs.iter();
    let cut = cut.filter(|run| run.status == RunStatus::Incomplete);
    let mut groups = cut.map(|run| run.group.as_ref().map(|of| of.id.clone()));
    let Some(Some(group)) = groups.next() else {
        return Ok(None);
    };
    let is_only = groups.all(|other| other.as_ref() == Some(&group));
    let list = list.of_group(&group);
    let is_held = list.runs.iter().any(|run| run.status == RunStatus::Running);
    Ok((is_only && !is_held).then_some(list))
}

/// What a name stands for.
pub enum Named {
    Run(RunDir),
    /// The runs of a group, in their order.
    Group(RunList),
}

impl Named {
    /// The run, or else the group, with this id or part of it.
    ///
    /// # Errors
    ///
    /// Nothing or several of this name, or a results root that cannot be read.
    pub fn find(root: &ResultsRoot, name: &str) -> Result<Self, CommandError> {
        let unknown = match root.find(name) {
            Err(error @ RecordError::Unknown { .. }) => error,
            found => return Ok(Self::Run(found?)),
        };
        let list = RunList::read(root)?;
        let groups = list.runs.iter();
        let groups = groups.filter_map(|run| Some(run.group.as_ref()?.id.clone()));
        let groups: BTreeSet<_> = groups.filter(|id| id.contains(name)).collect();
        let groups: Vec<_> = groups.into_iter().collect();
        match groups.as_slice() {
            [] => Err(unknown.into()),
            [group] => Ok(Self::Group(list.of_group(group))),
            several => Err(CommandError::usage(format!(
                "`{name}` could be one of {} groups:\n{}",
                several.len(),
                several.join("\n")
            ))),
        }
    }
}

fn run(mut group: Group, args: &SessionArgs, out: &Out) -> Result<Exit, CommandError> {
    if detach::is_background() {
        detach::say(group.id(), None);
    }
    let (mut exit, mut is_meant, mut unmeant) = (Exit::Success, false, None);
    while group.has_next() {
        match session(args, out, true, |observer| group.run_next(observer)) {
            // `--rerun` may mean trials of other runs.
            Err(error) if error.exit() == Exit::NothingSelected => unmeant = Some(error),
            Err(error) => {
                out.error(&error);
                exit = exit.worse(error.exit());
            }
            Ok(ended) => (exit, is_meant) = (exit.worse(ended), true),
        }
    }
    if let Some(error) = unmeant.filter(|_| !is_meant) {
        out.error(&error);
        exit = exit.worse(error.exit());
    }
    Ok(exit.worse(summary(group.id(), args, out)?))
}

/// Prints how the runs of a group stand. Gives the exit code of all of them, also of those that this process has not run.
fn summary(group: &str, args: &SessionArgs, out: &Out) -> Result<Exit, CommandError> {
    let list = RunList::read(&args.root.open()?)?.of_group(group);
    let exits = list.runs.iter().filter_map(|run| Exit::of_code(run.exit_code?));
    let exit = exits.fold(Exit::Success, Exit::worse);
    if !(args.json || detach::is_background() || (args.quiet && exit == Exit::Success)) {
        out.data("");
        show(&list, &args.root.flag(), out);
    }
    Ok(exit)
}

/// Prints the runs of a group, and how it is continued.
pub fn show(list: &RunList, root_flag: &str, out: &Out) {
    let group = list.runs.first().and_then(|run| run.group.as_ref());
    let group = group.map_or("", |group| &group.id);
    out.data(&style::bold(&format!("group {}:", visible_line(group))));
    out.data(&list::table(list, out.columns()));
    if list.runs.iter().any(RunSummary::is_resumable) {
        let group = short_id(group);
        out.hint(&format!("continue: runner resume {group}{root_flag}"));
    }
}
