//! Which run is meant by a request that names none.

use miette::miette;

use crate::{
    error::Error,
    model::RunStatus,
    record::{RunEntry, RunFilter, Store},
};

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

/// The run of a group that is running, or else its last one: whoever stops that stops the group.
///
/// # Panics
///
/// Panics for a group without runs, which is none.
pub fn active_of(mut group: Vec<RunEntry>) -> RunEntry {
    let running = group
        .iter()
        .position(|run| run.status == RunStatus::Running || run.is_held());
    let place = running.unwrap_or(group.len() - 1);
    group.swap_remove(place)
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
