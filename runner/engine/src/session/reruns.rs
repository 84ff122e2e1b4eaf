//! [`Reruns`]: the trials that each session's `--rerun` selects by id.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead as _, BufReader};

use runner_model::{Digest, TrialId, digest};
use runner_record::{Manifest, Rerun, ResultsRoot, RunDir};
use runner_scenario::{Filter, IdGlob};

use crate::EngineError;
use crate::plan::{matching_rows, resolve_filter, unreadable};

/// The ids that each `--rerun` of a run selects, by [`Rerun::ids`].
pub(crate) struct Reruns(HashMap<String, Ids>);

enum Ids {
    Glob(IdGlob),
    /// The ids of the trials that a filter matched.
    Trials(HashSet<String>),
}

/// The trials that a filter matches: a line for each id.
pub(crate) struct FilterResult {
    pub(super) lines: String,
}

impl Reruns {
    /// Reads those of all sessions of a run, and of a new one. The result of the new one's filter is not in the store yet.
    pub(crate) fn read(
        root: &ResultsRoot,
        dir: &RunDir,
        manifest: &Manifest,
        new: Option<&Rerun>,
        result: Option<&FilterResult>,
    ) -> Result<Self, EngineError> {
        let reruns = manifest.sessions.iter().filter_map(|session| session.rerun.as_ref());
        let mut all = HashMap::new();
        for rerun in reruns.chain(new) {
            let ids = match rerun {
                Rerun::Glob(glob) => Ids::Glob(IdGlob::new(glob).map_err(|problem| {
                    EngineError::Usage(format!(
                        "invalid `--rerun {glob}`: use `failed`, `errors`, `all`, a glob over trials ({problem}), or a filter"
                    ))
                })?),
                Rerun::Filter { trials, .. } => {
                    let lines = match result.filter(|_| new == Some(rerun)) {
                        Some(result) => result.lines.lines().map(str::to_owned).collect(),
                        None => {
                            let lines = BufReader::new(dir.content(trials)?).lines();
                            lines
                                .collect::<io::Result<_>>()
                                .map_err(|source| unreadable(root, source))?
                        }
                    };
                    Ids::Trials(lines)
                }
                Rerun::Failed | Rerun::Errors | Rerun::All => continue,
            };
            all.extend(rerun.ids().map(|key| (key, ids)));
        }
        Ok(Self(all))
    }

    /// Returns whether the id of a trial, or for a glob that of its test, is selected by the ids of [`Rerun::ids`].
    pub(crate) fn matches(&self, ids: &str, trial: &TrialId) -> bool {
        match self.0.get(ids) {
            Some(Ids::Glob(glob)) => {
                glob.is_match(&trial.to_string()) || glob.is_match(&trial.test)
            }
            Some(Ids::Trials(trials)) => trials.contains(&trial.to_string()),
            None => false,
        }
    }
}

/// Asks a filter about the results of a run. Returns the `--rerun` to store, and the matching trials.
pub(super) fn filtered(
    text: &str,
    root: &ResultsRoot,
    dir: &RunDir,
    manifest: &Manifest,
) -> Result<(Rerun, FilterResult), EngineError> {
    let mut filter = Filter::parse(text).map_err(EngineError::Scenario)?;
    resolve_filter(&mut filter, root)?;
    let mut lines = String::new();
    matching_rows(root, dir, manifest, &filter, &mut |row| {
        lines.push_str(&format!("{}\n", row.trial));
    })?;
    let trials: Digest = digest(lines.as_bytes());
    Ok((Rerun::Filter { filter: filter.text().to_owned(), trials }, FilterResult { lines }))
}
