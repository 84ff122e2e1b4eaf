//! Running several scenarios, one after another, as the runs of one group.
//!
//! A group is no file: its runs are called `GROUP.PLACE-NAME`, so that it is there as long as they are, in every copy of
//! them, and whoever knows nothing of groups sees runs. They run one after another, so that each has all that one may have.

use std::path::{Path, PathBuf};

use miette::{Diagnostic, miette};
use thiserror::Error as ThisError;

use super::{
    GroupConclusion, GroupEnd, GroupMember, Host, Observe, Preview, Resume, Start, preview_start,
    resume, start,
};
use crate::{
    error::{Error, ExitStatus},
    model::{Reason, RunStatus, chain},
    record::{Conclusion, HeldGroup, RecordError, RunEntry, RunId, Store},
};

/// Characters of a scenario's file name that are in the name of its run.
const MAX_NAME: usize = 40;

/// What is wrong with several scenarios.
#[derive(Debug, ThisError)]
#[error("{count} of {of} scenarios cannot run, and none was begun", count = self.problems.len(), of = self.of)]
struct UnreadableScenarios {
    problems: Vec<miette::Report>,
    of: usize,
}

impl Diagnostic for UnreadableScenarios {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let each = self.problems.iter();
        Some(Box::new(each.map(|report| {
            let diagnostic: &dyn Diagnostic = report.as_ref();
            diagnostic
        })))
    }
}

/// The scenarios that are meant by files and folders: of a folder, every TOML file that is directly in it, by name.
///
/// # Errors
///
/// Fails if a folder cannot be read or has no such file.
pub fn scenario_files(named: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |error: std::io::Error| Error::usage(miette!("{error}"));
        let mut found = Vec::new();
        for entry in fs_err::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file.extension().is_some_and(|end| end == "toml") && file.is_file() {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(Error::usage(miette!(
                help = "name scenarios, or a folder with some",
                "in `{}` there is no TOML file",
                path.display()
            )));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// Runs scenarios, each as `each` says of one, and blocks until all have ended, or somebody has stopped one. All of them are
/// planned before the first begins.
///
/// # Errors
///
/// Fails if one of them cannot be planned; then none begins.
pub fn start_group(
    scenarios: &[PathBuf],
    each: &Start,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<GroupConclusion, Error> {
    let (mut planned, without_tests) = read_all(scenarios, each, |request| {
        start::plan(request, host, observe)
    })?;
    let id = RunId::new_group((host.now)());
    let of = planned.len();
    for (place, (request, _)) in (1..).zip(&mut planned) {
        let name = run_name(&id, place, of, &request.scenario);
        request.into = Some(each.results.join(name));
    }
    let members = planned.into_iter().map(|(request, plan)| {
        let name = request.scenario.display().to_string();
        let run = move |host: &Host, observe: &mut dyn Observe| {
            start::start_planned(plan, &request, None, host, observe)
        };
        (name, run)
    });
    let held = hold(&each.results, id.as_str(), host);
    let mut group = one_after_another(id.to_string(), members.collect(), &held, host, observe);
    group.without_tests = without_tests;
    observe.group(&group);
    Ok(group)
}

/// Finds out what [`start_group`] would run, by the files of the scenarios.
///
/// # Errors
///
/// Fails as that does.
pub fn preview_group(
    scenarios: &[PathBuf],
    each: &Start,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Vec<(PathBuf, Preview)>, Error> {
    let (planned, _) = read_all(scenarios, each, |request| {
        preview_start(request, host, observe)
    })?;
    let planned = planned.into_iter();
    Ok(planned
        .map(|(request, preview)| (request.scenario, preview))
        .collect())
}

/// Goes on with runs of a group as with any, and blocks until all have ended, or somebody has stopped one. What became of
/// its `other` runs counts as well.
pub fn resume_group(
    id: &str,
    requests: Vec<Resume>,
    other: &[RunEntry],
    host: &Host,
    observe: &mut dyn Observe,
) -> GroupConclusion {
    let root = requests
        .first()
        .and_then(|request| request.run.dir.parent());
    let root = root.map(Path::to_owned);
    let members = requests.into_iter().map(|request| {
        let name = request.run.scenario.clone();
        let run =
            move |host: &Host, observe: &mut dyn Observe| resume::resume(&request, host, observe);
        (name, run)
    });
    let held = root.and_then(|root| hold(&root, id, host));
    let mut group = one_after_another(id.to_owned(), members.collect(), &held, host, observe);
    for run in other {
        let conclusion = Conclusion::from(run);
        group.status = group.status.worse(ExitStatus::of(&conclusion));
        group.ended.push(GroupEnd {
            name: run.scenario.clone(),
            result: Ok(conclusion),
        });
    }
    let place = |end: &GroupEnd| {
        end.result
            .as_ref()
            .map_or(0, |end| end.run.place_in_group())
    };
    group.ended.sort_by_key(place);
    observe.group(&group);
    group
}

/// What was read of scenarios, and those of which nothing is selected.
type ReadScenarios<T> = (Vec<(Start, T)>, Vec<String>);

/// Reads all scenarios, and fails with what is wrong with any of them.
fn read_all<T>(
    scenarios: &[PathBuf],
    each: &Start,
    mut read: impl FnMut(&Start) -> Result<T, Error>,
) -> Result<ReadScenarios<T>, Error> {
    let mut done = Vec::new();
    let mut without_tests = Vec::new();
    let mut problems = Vec::new();
    let mut status = ExitStatus::Success;
    let mut nothing = None;
    for scenario in scenarios {
        let request = Start {
            scenario: scenario.clone(),
            ..each.clone()
        };
        match read(&request) {
            Ok(read) => done.push((request, read)),
            Err(error) if error.status == ExitStatus::NothingSelected => {
                without_tests.push(scenario.display().to_string());
                nothing = Some(error);
            }
            Err(error) => {
                status = status.worse(error.status);
                problems.push(error.report);
            }
        }
    }
    if !problems.is_empty() {
        let of = scenarios.len();
        return Err(Error {
            status,
            report: UnreadableScenarios { problems, of }.into(),
        });
    }
    match nothing {
        Some(error) if done.is_empty() => Err(error),
        _ => Ok((done, without_tests)),
    }
}

/// Lets others find this process in the moment between two runs; where that cannot be, they find its runs.
fn hold(results: &Path, group: &str, host: &Host) -> Option<HeldGroup> {
    let held = Store::open(results).and_then(|store| store.hold_group(group, (host.now)()));
    let warn = |error: &RecordError| {
        tracing::warn!("cannot write down who works on the group: {}", chain(error));
    };
    held.inspect_err(warn).ok()
}

/// Lets runs follow each other until somebody stops one: whoever does that means the group.
fn one_after_another<F>(
    id: String,
    members: Vec<(String, F)>,
    held: &Option<HeldGroup>,
    host: &Host,
    observe: &mut dyn Observe,
) -> GroupConclusion
where
    F: FnOnce(&Host, &mut dyn Observe) -> Result<Conclusion, Error>,
{
    let of = members.len();
    let mut group = GroupConclusion {
        id,
        ended: Vec::new(),
        not_begun: Vec::new(),
        without_tests: Vec::new(),
        status: ExitStatus::Success,
    };
    let mut is_stopped = false;
    for (place, (name, run)) in (1..).zip(members) {
        is_stopped |= host
            .signals
            .as_ref()
            .is_some_and(|signals| signals.has_received());
        is_stopped |= held.as_ref().is_some_and(HeldGroup::is_to_end);
        if is_stopped {
            group.not_begun.push(name);
            continue;
        }
        observe.member(&GroupMember {
            place,
            of,
            name: &name,
        });
        let result = run(host, observe);
        let status = match &result {
            Ok(conclusion) => {
                is_stopped = was_stopped(conclusion);
                ExitStatus::of(conclusion)
            }
            Err(error) => error.status,
        };
        group.status = group.status.worse(status);
        group.ended.push(GroupEnd { name, result });
    }
    if !group.not_begun.is_empty() {
        group.status = group.status.worse(ExitStatus::Incomplete);
    }
    group
}

/// Tells whether a person or a program has ended the run.
fn was_stopped(conclusion: &Conclusion) -> bool {
    let by_somebody = [Reason::Interrupted, Reason::Stopped, Reason::Cancelled];
    conclusion.status != RunStatus::Completed
        && conclusion
            .reason
            .is_some_and(|reason| by_somebody.contains(&reason))
}

/// What the run of a scenario is called: its place with as many digits as the last one has, so that names sort.
fn run_name(id: &RunId, place: usize, of: usize, scenario: &Path) -> String {
    let stem = scenario.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => character,
        _ => '-',
    };
    let name: String = stem.chars().take(MAX_NAME).map(plain).collect();
    let digits = of.to_string().len();
    format!("{id}.{place:0digits$}-{name}")
}
