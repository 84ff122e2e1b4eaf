//! [`Reruns`]: the trials that each session's `--rerun` selects by id.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, BufRead as _, BufReader};

use runner_model::{Digest, Micros, Reason, TrialId, digest};
use runner_model::{provider::Provider, units::plural};
use runner_record::{Manifest, Rerun, ResultsRoot, RunDir, SessionEntry};
use runner_scenario::{Filter, IdGlob, Suite};

use super::coordinator::Coordinator;
use super::stage::Stage;
use crate::EngineError;
use crate::plan::{Ids, matching_rows, resolve_filter, unreadable};
use crate::schedule::Pending;
use crate::workers::Compared;

/// Time for which a session that is stopped waits for comparisons of workers' copies of bases.
const COMPARE_WITHIN: Micros = Micros(300_000);
/// Comparisons with a difference that end a session: what changes the copies would change those of the next workers, too.
const MAX_DIFFERENCES: u32 = 3;

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
        let reruns = manifest.sessions.iter().flat_map(SessionEntry::reruns);
        let mut all = HashMap::new();
        for rerun in reruns.map(|(_, rerun)| rerun).chain(new) {
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

impl Coordinator<'_> {
    /// Returns whether the session's end waits for comparisons of workers' copies of bases. A stop waits for a moment only, and
    /// then names the number of results that no comparison covers.
    pub(super) fn awaits_comparisons(&mut self) -> bool {
        let Stage::Running(running) = &mut self.stage else { return false };
        if !self.pool.compare_copies() {
            return false;
        }
        let until = *running.compare_until.get_or_insert(self.now + COMPARE_WITHIN);
        if !self.stop.is_stopping || self.now < until {
            return true;
        }
        let rows = plural(self.pool.give_up_comparisons(), "result is", "results are");
        self.notice(&format!(
            "{rows} not checked for changed copies of bases, because the session was stopped; `resume --rerun` runs such trials again"
        ));
        false
    }

    /// Handles the end of a comparison. If a copy has changed, the trials whose rows its worker has reported since it was last
    /// equal run again.
    pub(super) fn compared(&mut self, compared: &Compared) {
        let trials = self.pool.compared(compared);
        let Some(path) = &compared.difference else { return };
        self.fault(compared.worker, None, format!("has a changed copy of a base: `{path}`"));
        let Stage::Running(running) = &mut self.stage else { return };
        running.differences += 1;
        let (differences, count) = (running.differences, trials.len() as u64);
        let shown = self.pool.shown(compared.worker);
        let changed = format!("the file `{path}` in worker {shown}'s copy of a base was changed");
        let again = plural(count, "trial runs again", "trials run again");
        self.notice(&format!("{changed}: {again}"));
        self.reselect(trials);
        if differences == MAX_DIFFERENCES {
            let message = format!(
                "{changed}, and copies were before: a granted folder or another program leads to them"
            );
            self.fail(Reason::Machine, message);
        }
    }

    /// Selects trials whose rows are not trusted to run again, first on disk.
    pub(super) fn reselect(&mut self, trials: BTreeSet<u64>) {
        let Stage::Running(running) = &mut self.stage else { return };
        if trials.is_empty() {
            return;
        }
        let mut fold = self.fold.clone();
        for (trial, row) in &running.unacked {
            fold.add(*trial, *row);
        }
        let mut all = Ids::new(&self.plan.suite, &self.plan.scenario.providers);
        let mut ids = String::new();
        for trial in &trials {
            fold.select_again(*trial);
            // A test that cannot be read was not sent.
            ids.extend(all.trial(*trial).iter().map(|id| format!("{id}\n")));
        }
        let from_seq = fold.last_seq();
        let owned = &mut running.run.owned;
        if let Err(error) = owned.add_rerun("changed base", &ids, from_seq, fold.selected()) {
            return self.storage_failed(error.to_string());
        }
        running.reselected.push_back((from_seq, trials));
        self.run_reselected();
    }

    /// Queues the trials of the selections before which all rows count.
    pub(super) fn run_reselected(&mut self) {
        while let Stage::Running(running) = &mut self.stage
            && let Some((_, trials)) =
                running.reselected.pop_front_if(|(from_seq, _)| *from_seq <= self.fold.last_seq())
        {
            for trial in trials {
                let before = self.fold.trial(trial);
                if self.fold.select_again(trial) {
                    let attempts = self.fold.attempts(trial);
                    let pending = Pending { trial, attempts, had_bad: before.had_bad };
                    // A stored output is judged again, for example by `rescore`, which calls no provider.
                    let provider = match self.plan.rejudge.has(trial) {
                        true => self.plan.providers.len() as u16,
                        false => self.plan.suite.trial(trial).provider,
                    };
                    self.apply(|schedule| schedule.need(provider, pending));
                } else if let Stage::Running(running) = &mut self.stage
                    && before.ungraded
                {
                    running.distrusted.insert(trial);
                }
            }
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
