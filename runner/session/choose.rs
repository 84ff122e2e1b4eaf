//! Which run is meant by a request that names none.

use std::path::{Path, PathBuf};

use miette::miette;

use super::{Host, POLL_EVERY};
use crate::{
    error::Error,
    model::RunStatus,
    record::{RunEntry, RunFilter, Store},
};

/// What a name means.
#[derive(Clone, Debug)]
pub enum NamedRuns {
    /// The directory of one run.
    One(PathBuf),
    /// The runs of a group, in its order.
    Group(Vec<RunEntry>),
}

impl NamedRuns {
    /// The directories of all of them.
    pub fn dirs(&self) -> Vec<&Path> {
        match self {
            Self::One(dir) => vec![dir],
            Self::Group(runs) => runs.iter().map(|run| &*run.dir).collect(),
        }
    }
}

/// Finds the only run that is running, or that somebody is about to go on with.
///
/// # Errors
///
/// Fails if there is none, or more than one.
pub fn only_running(store: &Store) -> Result<RunEntry, Error> {
    let mut running = store
        .runs(&RunFilter::default())
        .map_err(Error::record)?
        .runs;
    running.retain(|run| run.status == RunStatus::Running || run.is_held());
    if running.len() == 1 {
        return Ok(running.remove(0));
    }
    let root = store.root().display();
    if running.is_empty() {
        return Err(Error::usage(miette!(
            help = "`runner list` shows all runs",
            "no run is running in `{root}`"
        )));
    }
    let names = names(store, &running);
    Err(Error::usage(miette!(
        help = "name the one that is meant",
        "several runs are running in `{root}`: {names}"
    )))
}

/// Sees to it that no other run of a group begins, and finds the one of its `runs` that is running, or else the last one:
/// whoever stops that has stopped the group. Blocks in the moment between two runs.
///
/// # Errors
///
/// Fails if the runs cannot be read, or no request can be left.
///
/// # Panics
///
/// Panics for a group without runs, which is none.
pub fn last_of(store: &Store, runs: Vec<RunEntry>, host: &Host) -> Result<RunEntry, Error> {
    end_group(store, runs, host).map(|(run, _)| run)
}

/// The same, and whether somebody let the runs of the group follow each other until then.
fn end_group(
    store: &Store,
    mut runs: Vec<RunEntry>,
    host: &Host,
) -> Result<(RunEntry, bool), Error> {
    let group = runs[0].id.group().unwrap_or_default().to_owned();
    let is_going_on = store.ask_group_to_end(&group).map_err(Error::record)?;
    loop {
        // Whoever has begun the next run before it saw the request has it seen from now on.
        let is_held = is_going_on && store.is_group_held(&group);
        if is_going_on && let Some(found) = store.find_group(&group).map_err(Error::record)? {
            runs = found;
        }
        let is_active = |run: &RunEntry| run.status == RunStatus::Running || run.is_held();
        if let Some(place) = runs.iter().position(is_active) {
            return Ok((runs.swap_remove(place), is_going_on));
        }
        if !is_held {
            let last = runs.len() - 1;
            return Ok((runs.swap_remove(last), is_going_on));
        }
        (host.pause)(POLL_EVERY);
    }
}

/// The runs of a group that are to be cancelled.
#[derive(Debug)]
pub struct ToCancel {
    /// The one that is running, then those that were cut short or have failed; if there are none, the last one.
    pub runs: Vec<RunEntry>,
    /// Whether other runs of the group were still to follow: to see to it that none does was all that had to be done.
    pub was_going_on: bool,
}

/// Sees to it that no other run of a group begins, and finds those of its `runs` that are to be cancelled. A run whose
/// `name` is not that of its group is meant alone.
///
/// # Errors
///
/// Fails as [`last_of`] does.
pub fn all_to_cancel(
    store: &Store,
    mut runs: Vec<RunEntry>,
    name: &str,
    host: &Host,
) -> Result<ToCancel, Error> {
    let is_alone = |run: &RunEntry| !run.id.group().is_some_and(|group| group.contains(name));
    if runs.len() == 1 && is_alone(&runs[0]) {
        return Ok(runs.remove(0).into());
    }
    let (last, was_going_on) = end_group(store, runs.clone(), host)?;
    let is_open = |run: &RunEntry| matches!(run.status, RunStatus::Incomplete | RunStatus::Failed);
    let others = runs
        .into_iter()
        .filter(|run| run.id != last.id && is_open(run));
    let others: Vec<_> = others.collect();
    let is_last_open = last.status == RunStatus::Running || last.is_held() || is_open(&last);
    Ok(ToCancel {
        runs: match is_last_open || others.is_empty() {
            true => [vec![last], others].concat(),
            false => others,
        },
        was_going_on,
    })
}

impl From<RunEntry> for ToCancel {
    fn from(run: RunEntry) -> Self {
        Self {
            runs: vec![run],
            was_going_on: false,
        }
    }
}

/// The run itself, or where its name is that of a group that has no other run yet, what [`last_of`] finds.
///
/// # Errors
///
/// Fails as that does.
pub fn last_if_group(
    store: &Store,
    run: RunEntry,
    name: &str,
    host: &Host,
) -> Result<RunEntry, Error> {
    match run.id.group() {
        Some(group) if group.contains(name) => last_of(store, vec![run], host),
        _ => Ok(run),
    }
}

/// Finds the only run that was cut short.
///
/// # Errors
///
/// Fails if there is none, or more than one.
pub fn only_incomplete(store: &Store) -> Result<RunEntry, Error> {
    let filter = RunFilter {
        statuses: vec![RunStatus::Incomplete],
    };
    let mut incomplete = store.runs(&filter).map_err(Error::record)?.runs;
    if incomplete.len() == 1 {
        return Ok(incomplete.remove(0));
    }
    let root = store.root().display();
    if incomplete.is_empty() {
        return Err(Error::usage(miette!(
            help = "`runner list` shows all runs; `--from RUN` names one",
            "there is no incomplete run in `{root}`"
        )));
    }
    let names = names(store, &incomplete);
    Err(Error::usage(miette!(
        help = "name one with `--from`",
        "there are several incomplete runs in `{root}`: {names}"
    )))
}

/// Some runs, each by as much of its id as tells it from all others of its root.
fn names(store: &Store, runs: &[RunEntry]) -> String {
    let ids = store.short_ids();
    let names = runs.iter().map(|run| format!("`{}`", ids.of(&run.id)));
    names.collect::<Vec<_>>().join(", ")
}
