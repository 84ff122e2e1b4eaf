//! [`Reruns`]: the trials that each session's `--rerun` selects by id.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead as _, BufReader};

use runner_model::{Digest, TrialId, digest, provider::Provider};
use runner_record::{Manifest, Rerun, ResultsRoot, RunDir};
use runner_scenario::{Filter, IdGlob, Suite};

use crate::EngineError;
use crate::plan::{Ids, matching_rows, resolve_filter, unreadable};

/// The ids that each `--rerun` of a run selects, by [`Rerun::ids`].
pub(crate) struct Reruns(HashMap<String, SelectedIds>);

enum SelectedIds {
    Glob(IdGlob),
    /// The ids of the trials that a filter matched.
    Trials(HashSet<String>),
}

impl Reruns {
    /// Reads the selections of all sessions of a run, and of a new one. The `result` of the new one's filter, a line for each id,
    /// is not in the store yet.
    pub(crate) fn read(
        root: &ResultsRoot,
        dir: &RunDir,
        manifest: &Manifest,
        new: Option<&Rerun>,
        result: Option<&String>,
    ) -> Result<Self, EngineError> {
        let reruns = manifest.sessions.iter().filter_map(|session| session.rerun.as_ref());
        let mut all = HashMap::new();
        for rerun in reruns.chain(new) {
            let ids = match rerun {
                Rerun::Glob(glob) => SelectedIds::Glob(IdGlob::new(glob).map_err(|problem| {
                    EngineError::Usage(format!(
                        "invalid `--rerun {glob}`: use `failed`, `errors`, `all`, a glob over trials ({problem}), or a filter"
                    ))
                })?),
                Rerun::Filter { trials, .. } => {
                    let lines = match result.filter(|_| new == Some(rerun)) {
                        Some(lines) => lines.lines().map(str::to_owned).collect(),
                        None => {
                            let lines = BufReader::new(dir.content(trials)?).lines();
                            lines
                                .collect::<io::Result<_>>()
                                .map_err(|source| unreadable(root, source))?
                        }
                    };
                    SelectedIds::Trials(lines)
                }
                Rerun::Failed | Rerun::Errors | Rerun::All => continue,
            };
            all.extend(rerun.ids().map(|key| (key, ids)));
        }
        Ok(Self(all))
    }

    /// Returns a function of the ids of [`Rerun::ids`] and the index of a trial: whether the ids select the trial.
    pub(crate) fn selector<'a>(
        &'a self,
        suite: &'a Suite,
        providers: &'a [Provider],
    ) -> impl Fn(&str, u64) -> bool + 'a {
        let all = RefCell::new(Ids::new(suite, providers));
        move |ids, trial| {
            // If the test cannot be read, sending its task reports the error.
            let trial = all.borrow_mut().trial(trial);
            trial.is_ok_and(|trial| self.matches(ids, &trial))
        }
    }

    /// Returns whether the id of a trial, or for a glob that of its test, is selected by the ids of [`Rerun::ids`].
    pub(crate) fn matches(&self, ids: &str, trial: &TrialId) -> bool {
        match self.0.get(ids) {
            Some(SelectedIds::Glob(glob)) => {
                glob.is_match(&trial.to_string()) || glob.is_match(&trial.test)
            }
            Some(SelectedIds::Trials(trials)) => trials.contains(&trial.to_string()),
            None => false,
        }
    }
}

/// Filters the results of a run. Returns the `--rerun` to store, and the matching trials: a line for each id.
pub(super) fn filtered(
    text: &str,
    root: &ResultsRoot,
    dir: &RunDir,
) -> Result<(Rerun, String), EngineError> {
    let mut filter = Filter::parse(text).map_err(EngineError::Scenario)?;
    resolve_filter(&mut filter, root)?;
    let mut lines = String::new();
    matching_rows(dir, &filter, |row| {
        lines.push_str(&format!("{}\n", row.trial));
    })?;
    let trials: Digest = digest(lines.as_bytes());
    Ok((Rerun::Filter { filter: filter.text().to_owned(), trials }, lines))
}
