//! [`update_known`]: lists of known failures that expect the results of a run.

use std::collections::{HashMap, HashSet};
use std::{io, mem, path::Path};

use runner_model::row::FailureKinds;
use runner_model::visible::{shown_path, visible_line};
use runner_model::{Fingerprint, Outcome, Places as _, RunStatus, Selected};
use runner_model::{known::KnownEntry, status::RunVerdict};
use runner_record::{Manifest, ResultsRoot, RunDir, UserFolder, now};
use runner_results::{PlanOrder, RunTable, short};
use runner_scenario::{Filter, KnownResults, KnownUpdate, PairResults, Suite};
use runner_scenario::{known_sources, load_selected};

use crate::plan::{
    Ids, PlannedAccess, RescorePlan, TestLine, matching_rows, resolve_filter, unreadable,
};
use crate::{EditRequest, Edits, EngineError, edits::reader};

/// Finds the lists of known failures that expect the results of a run. With a filter, only tests with a matching trial change
/// their entries. Writes nothing before [`Edits::write`].
///
/// # Errors
///
/// The run has not completed, the scenario has other tests or lists by now, or a list cannot be edited.
pub fn update_known(
    request: &EditRequest,
    reason: &str,
    only_fixed: bool,
) -> Result<Edits<KnownUpdate>, EngineError> {
    Edits::find(request, |root, dir, manifest| {
        check_completed(dir, manifest)?;
        let path = Path::new(&manifest.scenario_path);
        let selected = manifest.metadata.selection.overrides.clone();
        let selection = Selected { overrides: selected, ..Selected::default() }.into();
        let scenario = load_selected(path, &selection).map_err(EngineError::Scenario)?;
        let list = scenario.known_list(true).map_err(EngineError::Scenario)?.unwrap_or_default();
        if scenario.known_files().next().is_none() && list.entries.is_empty() {
            return Err(EngineError::Usage(format!(
                "{} names no list of known failures\nto add one, create an empty file `known.toml` next to it, and write into the scenario:\n[known]\nfiles = [\"known.toml\"]",
                shown_path(path)
            )));
        }
        let stored = dir.known(manifest)?;
        if written(&list.entries) != written(&stored.list().entries) {
            return Err(EngineError::Usage(format!(
                "the known failures have changed since run {}\nto judge the run by the present ones: {}",
                dir.id(),
                dir.command("rescore", &[])
            )));
        }
        let folder = UserFolder::open(&scenario.folder)?;
        let sources = known_sources(&scenario, &list, &mut reader(&folder));
        let sources = sources.map_err(EngineError::Usage)?;
        let access = PlannedAccess::new(dir, manifest);
        let plan = RescorePlan::new(root, dir, manifest, path, true, &access)?;
        let tests = PlannedTests::read(root, &plan.live)?;
        let selected = request.filter.clone().map(|filter| selected_tests(filter, root, dir));
        let selected = selected.transpose()?;
        let pairs =
            tests.pairs((root, dir, manifest), &plan, stored.has_kinds(), selected.as_ref())?;
        let judged = &tests.judged;
        let results = KnownResults { pairs: &pairs, judged, now: now(), reason, only_fixed };
        let mut update = runner_scenario::update_known(&list, &sources, results)
            .map_err(|why| EngineError::Usage(format!("{why}; nothing was written")))?;
        Ok(Edits::new(dir, folder, mem::take(&mut update.files), update))
    })
}

/// Refuses a run that lacks results.
fn check_completed(dir: &RunDir, manifest: &Manifest) -> Result<(), EngineError> {
    let run = dir.id();
    let (problem, advice) = match (manifest.status, manifest.verdict) {
        (_, RunVerdict::Damaged) => ("is damaged", dir.command("verify", &[])),
        (RunStatus::Completed, _) if manifest.metadata.selection.shard.is_some() => {
            return Err(EngineError::Usage(
                "a shard lacks trials of its tests: update the lists from the merged run"
                    .to_owned(),
            ));
        }
        (RunStatus::Completed, _) => return Ok(()),
        (RunStatus::Running, _) => ("is running", dir.command("wait", &[])),
        _ => ("has not completed", dir.command("resume", &[])),
    };
    Err(EngineError::Usage(format!(
        "run {run} {problem}, so lists cannot expect its results\nfirst run: {advice}"
    )))
}

/// Returns entries without the parts that are not written. An empty list of tests, which an update fills, is as none.
fn written(entries: &[KnownEntry]) -> Vec<KnownEntry> {
    let written = entries.iter().map(|entry| {
        let written = entry.as_written();
        KnownEntry { judged: written.judged.filter(|judged| !judged.is_empty()), ..written }
    });
    written.collect()
}

/// The tests of a scenario as it is now.
struct PlannedTests {
    /// Ids of tests, and names of providers, in the order of the plan.
    pairs: Vec<(String, String)>,
    judged: HashMap<String, Fingerprint>,
}

impl PlannedTests {
    fn read(root: &ResultsRoot, suite: &Suite) -> Result<Self, EngineError> {
        let mut pairs = Vec::new();
        let mut judged = HashMap::new();
        let mut line = Vec::new();
        let mut read = |trial: u64| -> io::Result<()> {
            if suite.trial(trial).repeat > 1 {
                return Ok(());
            }
            let id = suite.trial_id(trial).ok_or_else(|| io::Error::other("a test is lost"))?;
            let test = id.test.to_string();
            if !judged.contains_key(&test) {
                suite.line(suite.trial(trial).test, &mut line)?;
                judged.insert(test.clone(), TestLine::read(&line)?.judged()?);
            }
            pairs.push((test, id.provider.to_string()));
            Ok(())
        };
        let read = (0..suite.trials()).try_for_each(&mut read);
        read.map_err(|source| unreadable(root, source))?;
        Ok(Self { pairs, judged })
    }

    /// Returns the results of the tests in a run. Those that are not `selected` are without any.
    ///
    /// # Errors
    ///
    /// The run's tests are others than these.
    fn pairs(
        &self,
        (root, dir, manifest): (&ResultsRoot, &RunDir, &Manifest),
        plan: &RescorePlan,
        has_kinds: bool,
        selected: Option<&HashSet<(String, String)>>,
    ) -> Result<Vec<PairResults>, EngineError> {
        let table = RunTable::open(dir)?;
        table.check_version()?;
        let mut kinds = HashMap::new();
        if has_kinds {
            let failed = table.settling().filter(|row| row.outcome.is_bad());
            table.each_row(failed.map(|row| row.number), |row, line, _| {
                kinds.insert(row.number, FailureKinds::of(line));
            })?;
        }
        let order = PlanOrder::read(&table);
        let suite = &plan.plan.suite;
        let mut ids = Ids::new(suite, &plan.plan.scenario.providers);
        let mut outcomes = HashMap::<(String, String), Vec<_>>::new();
        let (mut line, mut last) = (Vec::new(), None);
        // Adaptive repeats that are not needed have no result.
        for place in order.needed(&table).into_iter().map(u64::from) {
            let trial = suite.trial(place);
            let unreadable = |source| unreadable(root, source);
            let id = ids.trial(place).map_err(unreadable)?;
            let row = order.number(place as u32).and_then(|number| table.result(number));
            let row = row.ok_or_else(|| EngineError::Usage(format!("`{id}` has no result")))?;
            if plan.is_gone(trial.test) {
                let why = format!("the scenario has no test `{}`", id.test);
                return Err(other_tests(dir, &why, "exec"));
            }
            if last.replace(trial.test) != Some(trial.test) {
                suite.line(trial.test, &mut line).map_err(unreadable)?;
            }
            let now = TestLine::read(&line)
                .and_then(|test| Ok(test.fingerprints(&plan.plan.fingerprints, trial.provider)?));
            let (execution, judgement) = now.map_err(unreadable)?;
            match table.fingerprints(row.number) {
                [ran, _] if ran != short(execution) => {
                    return Err(other_tests(
                        dir,
                        &format!("`{id}` has changed since it ran"),
                        "exec",
                    ));
                }
                [_, judged] if judged != short(judgement) => {
                    let why =
                        format!("the expectations of `{id}` have changed since it was judged");
                    return Err(other_tests(dir, &why, "rescore"));
                }
                _ => {}
            }
            let pair = (id.test.to_string(), id.provider.to_string());
            let is_selected = selected.is_none_or(|selected| selected.contains(&pair));
            let of_pair = outcomes.entry(pair).or_default();
            let decides = row.outcome.is_bad() || row.outcome == Outcome::Passed;
            if !is_selected || !decides {
                continue;
            }
            let end = (row.outcome, kinds.remove(&row.number).unwrap_or_default());
            if !of_pair.contains(&end) {
                of_pair.push(end);
            }
        }
        let is_whole = manifest.metadata.selection.is_whole();
        let pairs = self.pairs.iter().map(|pair| {
            let (test, provider) = pair.clone();
            match outcomes.remove(pair) {
                None if is_whole => {
                    let why = format!("it lacks the test `{test}` on `{provider}`");
                    Err(other_tests(dir, &why, "exec"))
                }
                found => Ok(PairResults { test, provider, ends: found.unwrap_or_default() }),
            }
        });
        pairs.collect()
    }
}

/// Returns the tests and providers of the trials that a filter matches.
fn selected_tests(
    mut filter: Filter,
    root: &ResultsRoot,
    dir: &RunDir,
) -> Result<HashSet<(String, String)>, EngineError> {
    resolve_filter(&mut filter, root)?;
    let mut selected = HashSet::new();
    matching_rows(dir, &filter, |row| {
        selected.insert((row.test.to_string(), row.provider.to_string()));
    })?;
    if selected.is_empty() {
        return Err(EngineError::no_match(&filter));
    }
    Ok(selected)
}

/// Returns the error of a run with other tests than the scenario.
fn other_tests(dir: &RunDir, why: &str, command: &str) -> EngineError {
    let next = match command {
        "rescore" => dir.command("rescore", &[]),
        _ => dir.command("resume", &["--accept-changes"]),
    };
    let why = visible_line(why);
    EngineError::Usage(format!(
        "run {} has other tests than the scenario: {why}\nfirst run: {next}",
        dir.id()
    ))
}
