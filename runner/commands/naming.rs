//! [`Named`]: which run is meant.

use std::path::PathBuf;

use miette::miette;

use super::Context;
use crate::{
    error::Error,
    record::{FindError, RunEntry},
    session::{NamedRuns, Store},
};

/// The run that a person has named.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    /// Whether `RUNNER_RUN` names it, and not the command line.
    is_variable: bool,
}

impl<'a> Named<'a> {
    /// The name on the command line goes before that in the environment.
    pub(super) fn of(argument: Option<&'a str>, context: &'a Context) -> Option<Self> {
        let is_variable = argument.is_none();
        let name = argument.or(context.run.as_deref())?;
        Some(Self { name, is_variable })
    }

    /// The same, and the newest run where nothing names one.
    pub(super) fn or_latest(argument: Option<&'a str>, context: &'a Context) -> Self {
        Self::of(argument, context).unwrap_or(Self {
            name: "latest",
            is_variable: false,
        })
    }

    /// The same for a command that takes no other run than the one that is named.
    pub(super) fn required(argument: Option<&'a str>, context: &'a Context) -> Result<Self, Error> {
        Self::of(argument, context).ok_or_else(|| {
            Error::usage(miette!(
                help = "`latest` is the newest one, `runner list` shows all",
                "name a run"
            ))
        })
    }

    /// Finds the run.
    pub(super) fn find(&self, store: &Store) -> Result<RunEntry, Error> {
        self.found(store.find(self.name))
    }

    /// Finds the run for a session that goes on with it.
    pub(super) fn find_to_claim(&self, store: &Store) -> Result<RunEntry, Error> {
        self.found(store.find_to_claim(self.name))
    }

    /// Finds the runs of the group that it names; `None` if it names none.
    pub(super) fn group(&self, store: &Store) -> Result<Option<Vec<RunEntry>>, Error> {
        match store.locate(self.name) {
            // A name that means one run means no group.
            Err(FindError::Ambiguous { .. }) => store.find_group(self.name).map_err(Error::record),
            _ => Ok(None),
        }
    }

    /// Finds the run's directory, or the runs of the group that it names.
    pub(super) fn runs(&self, store: &Store) -> Result<NamedRuns, Error> {
        match self.group(store)? {
            Some(runs) => Ok(NamedRuns::Group(runs)),
            None => self.locate(store).map(NamedRuns::One),
        }
    }

    /// Finds the run's directory, whose manifest nobody has read then.
    pub(super) fn locate(&self, store: &Store) -> Result<PathBuf, Error> {
        self.found(store.locate(self.name))
    }

    /// Tells where a name came from that leads to no run.
    fn found<T>(&self, found: Result<T, FindError>) -> Result<T, Error> {
        match found {
            Err(error @ (FindError::Unknown { .. } | FindError::Ambiguous { .. }))
                if self.is_variable =>
            {
                Err(Error::usage(miette!(
                    help =
                        "the variable `RUNNER_RUN` names it; a run on the command line goes first",
                    "{error}"
                )))
            }
            found => found.map_err(Error::find),
        }
    }
}
