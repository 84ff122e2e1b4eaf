//! Which run is meant, and what to call it.

use std::path::Path;

use miette::miette;

use super::Surroundings;
use crate::{
    error::Error,
    model::RunStatus,
    output,
    record::{Conclusion, FindError, RunEntry, RunId, Store},
};

/// The run that a person has named.
pub(super) struct Named<'a> {
    name: &'a str,
    /// Whether `RUNNER_RUN` names it, and not the command line.
    is_variable: bool,
}

impl<'a> Named<'a> {
    /// The name on the command line goes before that in the environment.
    pub(super) fn of(argument: Option<&'a str>, surroundings: &'a Surroundings) -> Option<Self> {
        let argued = argument.map(|name| Self {
            name,
            is_variable: false,
        });
        argued.or_else(|| {
            Some(Self {
                name: surroundings.run.as_deref()?,
                is_variable: true,
            })
        })
    }

    /// The same, and the newest run where nothing names one.
    pub(super) fn or_latest(argument: Option<&'a str>, surroundings: &'a Surroundings) -> Self {
        Self::of(argument, surroundings).unwrap_or(Self {
            name: "latest",
            is_variable: false,
        })
    }

    /// Finds the run.
    pub(super) fn find(&self, store: &Store) -> Result<RunEntry, Error> {
        self.told(store.find(self.name))
    }

    /// Tells where a name came from that leads to no run.
    pub(super) fn told<T>(&self, found: Result<T, FindError>) -> Result<T, Error> {
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

    /// The name as it was given.
    pub(super) fn as_str(&self) -> &'a str {
        self.name
    }
}

/// The run of a command that takes no other than the one that is named.
pub(super) fn required<'a>(
    argument: Option<&'a str>,
    surroundings: &'a Surroundings,
) -> Result<Named<'a>, Error> {
    Named::of(argument, surroundings).ok_or_else(|| {
        Error::usage(miette!(
            help = "`latest` is the newest one, `runner list` shows all",
            "name a run"
        ))
    })
}

/// The command that goes on with a run, if anything of it is left to do.
pub(super) fn resume(
    dir: &Path,
    id: &RunId,
    status: RunStatus,
    surroundings: &Surroundings,
) -> Option<String> {
    match status {
        RunStatus::Failed | RunStatus::Incomplete => {}
        RunStatus::Running | RunStatus::Completed | RunStatus::Cancelled => return None,
    }
    // Without its root a run cannot be gone on with either.
    let store = Store::existing_around(dir).ok()?;
    let ids = store.short_ids();
    let mut command = format!("runner resume --from {}", output::quoted(ids.of(id)));
    if store.root() != surroundings.results {
        let root = store.root().to_string_lossy();
        command += &format!(" --results {}", output::quoted(&root));
    }
    Some(command)
}

/// The same for a run that was found.
pub(super) fn resume_entry(run: &RunEntry, surroundings: &Surroundings) -> Option<String> {
    resume(&run.dir, &run.id, run.status, surroundings)
}

/// The same for a run of which a session is over.
pub(super) fn resume_after(conclusion: &Conclusion, surroundings: &Surroundings) -> Option<String> {
    let Conclusion {
        run,
        run_dir,
        status,
        ..
    } = conclusion;
    resume(run_dir, run, *status, surroundings)
}
