//! [`RescorePlan`]: the stored plan of a run with the expectations and graders of a scenario as it is now.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, BufWriter, Write as _};
use std::{fs::File, path::Path, path::PathBuf};

use runner_model::{
    Budgets, ErrorClass, FailFast, Grants, Outcome, Places as _, RowRef, Selected, TestId,
    provider::Provider, row::read_line,
};
use runner_prepare::{ContentSource, plugins};
use runner_record::{Fold, Manifest, PluginCache, RecordError, ResultsRoot, RunDir};
use runner_scenario::{RowFilter, Selection, Suite, load_selected};
use serde_json::value::{RawValue, to_raw_value};

use super::access::PlannedAccess;
use super::load::resolve;
use super::rejudge::{Rejudge, RowPlace, StoredRow, unjudgeable};
use super::stored::{stored_plugins, stored_tests, unreadable};
use super::{known::known_failures, list_plugins::make_records, plan::Plan, test_line::TestLine};
use crate::{Decision, EngineError};

/// Keys of a test's line that come from the scenario, in addition to the bases of workspaces. With another input, base or other
/// attachments, the fingerprint of the test differs from that of its rows, so their outputs are not judged by expectations that
/// are not about them.
const LIVE_KEYS: [&str; 5] = ["expect", "reference", "input", "files", "grader_files"];

/// The stored plan of a run. Each test that the scenario has, too, is judged by the scenario's expectations and graders.
pub(crate) struct RescorePlan {
    pub(crate) plan: Plan,
    /// The file of the plan's suite.
    pub(crate) suite: File,
    /// The plugins of the graders.
    pub(crate) sources: ContentSource,
    /// The tests of the scenario.
    pub(crate) live: Suite,
    /// The files that outputs must not replace.
    pub(crate) protected: BTreeSet<PathBuf>,
    /// The tests that the scenario lacks, by their index.
    gone: BTreeMap<u64, TestId>,
    /// By trial.
    reasons: Vec<RescoreReason>,
    with_graders: bool,
}

/// Whether a trial is judged or stays as it is, and the reason as a clause.
#[derive(Clone, Copy, PartialEq)]
enum RescoreReason {
    Judged(&'static str),
    Kept(&'static str),
    /// The output cannot be judged.
    Unjudgeable(&'static str),
    /// The trial has no result, or the filter does not match it.
    Unmatched(&'static str),
}

const NO_RESULT: RescoreReason = RescoreReason::Unmatched("it has no result");
const JUDGED_ALREADY: RescoreReason =
    RescoreReason::Kept("it is judged by these expectations and graders already");
const NO_OUTPUT: RescoreReason = RescoreReason::Kept("it has no output");
const UNREADABLE: RescoreReason = RescoreReason::Unjudgeable("its row cannot be read");

impl RescorePlan {
    /// Plans a run's stored trials with the expectations of the scenario at `path`. Without graders, tests that have some are
    /// not judged. No trial is selected before [`Self::select`].
    ///
    /// # Errors
    ///
    /// The stored plan cannot be read, or the scenario or the plugin of a grader has problems.
    pub(crate) fn new(
        root: &ResultsRoot,
        dir: &RunDir,
        manifest: &Manifest,
        path: &Path,
        with_graders: bool,
        access: &PlannedAccess<'_>,
    ) -> Result<Self, EngineError> {
        let (stored, stored_suite) = stored_tests(root, dir, manifest)?;
        let mut providers = stored_plugins(root, dir, manifest, &stored)?;
        // The fingerprints of their rows include their tools.
        providers.retain(|prepared| prepared.provider.grading.is_none());
        let overrides = manifest.metadata.selection.overrides.clone();
        let selection = Selected { overrides, ..Selected::default() }.into();
        let mut scenario = load_selected(path, &selection).map_err(EngineError::Scenario)?;
        scenario.override_by(&manifest.metadata.selection.overrides);
        access.check(&scenario, &[])?;
        make_records(&mut scenario, &selection)?;
        let cache = PluginCache::open()?;
        let resolved = resolve(&mut scenario, &selection, &cache)?;
        let (live, _) = resolved.map_err(EngineError::Scenario)?;
        let protected = scenario.protected_files();
        let run_selection = Selection::from(manifest.metadata.selection.clone());
        let is_selected = run_selection.is_some();
        let known = known_failures(&scenario, &live, is_selected, manifest.started_at)?;

        let named: Vec<Provider> =
            providers.iter().map(|prepared| prepared.provider.clone()).collect();
        let stored_places: HashMap<_, u16> =
            named.iter().map(|provider| &provider.name).zip(0..).collect();
        let places = scenario.providers.iter();
        let places: Vec<_> =
            places.map(|provider| stored_places.get(&provider.name).copied()).collect();
        let judged = with_judgements(&stored_suite, &live, &places);
        let (file, gone) = judged.map_err(|source| unreadable(root, source))?;
        let shard = manifest.metadata.selection.shard;
        let opened = file.try_clone().and_then(|file| Suite::open(file, &named)?.of_shard(shard));
        let suite = opened.map_err(|source| unreadable(root, source))?;
        let is_used = |provider: &Provider| {
            let is_grader = provider.grading.is_some() && with_graders;
            is_grader && suite.graders().contains(&*provider.name)
        };
        let all = scenario.providers.iter();
        let used = all.clone().filter(|one| is_used(one)).flat_map(|one| one.tools(all.clone()));
        let tools: HashSet<_> = used.map(|place| scenario.providers[place].name.clone()).collect();
        scenario.keep_providers(|provider| is_used(provider) || tools.contains(&provider.name));
        // The manifest has the tools of the run before its graders, so this list must have the same order.
        scenario.providers.sort_by_key(|provider| provider.tool.is_some());
        // The calls of a run's journal belong to its own scenario.
        for grader in &mut scenario.providers {
            grader.deterministic.iter_mut().for_each(|settings| settings.journal = None);
        }
        EngineError::check(scenario.missing_files())?;
        let (graders, sources, found) =
            plugins::find(&scenario.providers, &scenario.folder, &cache)?;
        EngineError::check(scenario.provider_problems(&found))?;
        let stored_plugins = providers.iter().map(|prepared| prepared.digest);
        let mut plugins = ContentSource::stored(root, stored_plugins);
        plugins.extend(&sources);
        let mut blobs = ContentSource::stored(root, dir.blobs(manifest)?);
        blobs.extend(&ContentSource::of_suite(&live));

        scenario.name.clone_from(&manifest.scenario);
        // Its rules are about the stored tags and weights.
        scenario.gate.clone_from(&stored.gate);
        // The fingerprints of the rows include the seed.
        scenario.run.seed = stored.run.seed;
        scenario.run.judge_seed.clone_from(&stored.run.judge_seed);
        // Old outcomes do not stop a rescore.
        scenario.run.fail_fast = FailFast::default();
        if graders.is_empty() {
            scenario.run.budget = Budgets::default();
        }
        providers.extend(graders);
        scenario.providers = providers.iter().map(|prepared| prepared.provider.clone()).collect();
        let mut plan = Plan::new(scenario, suite, providers, plugins, blobs, cache);
        plan.random_recipe = manifest.metadata.random_recipe;
        let mut notices = Vec::new();
        plan.set_known(known, &mut notices)?;
        if plan.keep_known(dir, manifest) {
            notices.push("the known failures have changed since the run started".to_owned());
        }
        plan.notices = notices;
        // A rescore calls graders only, so the stored providers need no mounts, grants and budgets.
        for (prepared, provider) in
            plan.providers.iter_mut().zip(&mut plan.scenario.providers).take(named.len())
        {
            prepared.mounts.clear();
            for provider in [&mut prepared.provider, provider] {
                provider.grants = Grants::default();
                provider.budget = Budgets::default();
            }
        }
        // Folders of graders are part of the judgement fingerprints, and `prepare_grants` reports their problems.
        let _ = plan.find_folders(&[], None);
        plan.read_folders(root.path())?;
        let reasons = Vec::new();
        Ok(Self { plan, suite: file, sources, live, protected, gone, reasons, with_graders })
    }

    /// Selects the trials to judge: those whose newest final or ungraded row can be judged and matches `filter`, and was not
    /// judged by these expectations and graders or lacks the answer of a grader. `fold` is the state by the rows on disk.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub(crate) fn select(
        &mut self,
        dir: &RunDir,
        fold: &Fold,
        filter: Option<&RowFilter<'_, RecordError>>,
    ) -> Result<(), RecordError> {
        let trials = self.plan.suite.trials();
        let new = || (Fold::new(trials), vec![NO_RESULT; trials as usize], BTreeMap::new());
        let mut line = Vec::new();
        let seen = dir.fold_rows(&new, &mut |(seen, reasons, rows), at, head, bytes| {
            let Some(index) = self.plan.suite.index(&head.trial) else { return };
            let effect = seen.add(index, (&head).into());
            let is_ungraded = head.outcome == Outcome::Ungraded;
            let Some(effect) = effect.filter(|effect| effect.settles || is_ungraded) else {
                return;
            };
            let had_bad = effect.bad_before;
            let place = RowPlace { at, bytes: bytes.len() as u32, had_bad, is_ungraded };
            let before = reasons[index as usize];
            // An interrupted rescore of a trial that matched has left it ungraded.
            let has_matched = is_ungraded && !matches!(before, RescoreReason::Unmatched(_));
            let reason = match read_line(bytes) {
                Err(_) => UNREADABLE,
                Ok(row) if has_matched || filter.is_none_or(|filter| filter.matches(&row)) => {
                    let reason = self.reason(dir, index, &row, place, &mut line);
                    reason.unwrap_or(RescoreReason::Unjudgeable("its test cannot be read"))
                }
                Ok(_) => RescoreReason::Unmatched("the filter does not match it"),
            };
            reasons[index as usize] = reason;
            if matches!(reason, RescoreReason::Judged(_)) {
                rows.insert(index, place);
            } else {
                rows.remove(&index);
            }
        })?;
        let (_, mut reasons, mut rows) = seen;
        for (index, reason) in (0..).zip(&mut reasons) {
            let state = fold.trial(index);
            if state.is_pending && !state.ungraded {
                let selected = RescoreReason::Kept("it has yet to run again");
                *reason = if state.outcome.is_some() { selected } else { NO_RESULT };
                rows.remove(&index);
            }
        }
        self.reasons = reasons;
        self.plan.rejudge = Rejudge(rows);
        Ok(())
    }

    fn reason(
        &self,
        dir: &RunDir,
        index: u64,
        row: &RowRef<'_>,
        place: RowPlace,
        line: &mut Vec<u8>,
    ) -> io::Result<RescoreReason> {
        let planned = self.plan.suite.trial(index);
        if self.gone.contains_key(&planned.test) {
            return Ok(RescoreReason::Kept("the scenario has no such test"));
        }
        self.plan.suite.line(planned.test, line)?;
        let test = TestLine::read(line)?;
        let (execution, judgement) =
            test.fingerprints(&self.plan.fingerprints, planned.provider)?;
        let class = row.error.as_ref().and_then(|error| error.class);
        let has_grader_error = class == Some(ErrorClass::Grader);
        let reads_workspace = test.has_workspace_grader(&self.plan.providers)?;
        let is_cut = row.limit_that_cut().is_some()
            && test.expect()?.error.is_none()
            && (reads_workspace || test.judges_partial(reads_workspace)?);
        let is_bad = matches!(row.outcome, Outcome::Error | Outcome::Timeout) && !has_grader_error;
        let lacks_grades = is_cut && is_bad && self.lacks_grades(row, &test)?;
        let has_no_output = !is_cut && is_bad && test.expect()?.error.is_none();
        Ok(if row.fingerprint != Some(execution) {
            RescoreReason::Kept("its test or provider has changed since it ran")
        } else if !self.with_graders && !test.graders()?.is_empty() {
            RescoreReason::Kept("its test has graders")
        } else if !place.is_ungraded
            && !has_grader_error
            && !lacks_grades
            && row.judgement_fingerprint == Some(judgement)
        {
            JUDGED_ALREADY
        } else if has_no_output {
            NO_OUTPUT
        } else if let Some(why) = unjudgeable(row, &test)? {
            RescoreReason::Unjudgeable(why)
        } else if let Some(why) =
            StoredRow::unreadable(dir, row, place, &test, &self.plan.providers)?
        {
            RescoreReason::Unjudgeable(why)
        } else if place.is_ungraded {
            RescoreReason::Judged("not all of its graders have answered")
        } else if lacks_grades {
            RescoreReason::Judged("what it left has yet to be judged")
        } else if has_grader_error {
            RescoreReason::Judged("one of its graders ended in an error")
        } else {
            RescoreReason::Judged("its expectations or graders have changed")
        })
    }

    /// Returns whether a grader of the workspace has not answered about an attempt that was cut off.
    fn lacks_grades(&self, row: &RowRef<'_>, test: &TestLine<'_>) -> io::Result<bool> {
        let graders = self.plan.graders_of(test)?;
        let has = |name: &str| {
            row.grades.iter().any(|grade| *grade.grader == *name && grade.error.is_none())
        };
        Ok(graders.iter().any(|grader| grader.has_workspace && !has(&grader.name)))
    }

    /// Returns whether and why a trial is judged.
    pub(crate) fn decision(&self, trial: u64) -> Decision {
        let (is_pending, why) = match self.reasons[trial as usize] {
            RescoreReason::Judged(why) => (true, why),
            RescoreReason::Kept(why)
            | RescoreReason::Unjudgeable(why)
            | RescoreReason::Unmatched(why) => (false, why),
        };
        Decision { is_pending, is_judged: is_pending, why: why.to_owned() }
    }

    /// Returns the number of trials whose expectations have changed, and whose stored output cannot be judged.
    pub(crate) fn unjudged(&self) -> usize {
        self.reasons.iter().filter(|reason| matches!(reason, RescoreReason::Unjudgeable(_))).count()
    }

    /// Returns whether no trial keeps a grade of a grader that the plan lacks.
    pub(crate) fn replaces_grades(&self) -> bool {
        self.reasons.iter().all(|reason| match reason {
            RescoreReason::Judged(_) => true,
            reason => [NO_RESULT, JUDGED_ALREADY, NO_OUTPUT].contains(reason),
        })
    }

    /// Returns whether the filter matches a trial that has a result.
    pub(crate) fn has_match(&self) -> bool {
        !self.reasons.iter().all(|reason| matches!(reason, RescoreReason::Unmatched(_)))
    }

    /// Returns whether the scenario lacks a test.
    pub(crate) fn is_gone(&self, test: u64) -> bool {
        self.gone.contains_key(&test)
    }

    /// Returns the ids of the tests that the scenario lacks, in the order of the plan.
    pub(crate) fn gone(&self) -> impl ExactSizeIterator<Item = &TestId> {
        self.gone.values()
    }
}

/// Writes the stored tests with the expectations of the live ones. `places` are the stored indexes of the live providers. Also
/// returns the tests that the live suite lacks.
fn with_judgements(
    stored: &Suite,
    live: &Suite,
    places: &[Option<u16>],
) -> io::Result<(File, BTreeMap<u64, TestId>)> {
    let mut out = BufWriter::new(tempfile::tempfile()?);
    let mut old = Vec::new();
    let mut gone = BTreeMap::new();
    let mut new = Vec::new();
    for test in 0..stored.tests() {
        stored.line(test, &mut old)?;
        let id = TestLine::read(&old)?.id;
        match live.test(&id) {
            Some(index) => {
                live.line(index as u64, &mut new)?;
                write_judged(&mut out, &old, &new, places)?;
            }
            None => {
                out.write_all(&old)?;
                gone.insert(test, id);
            }
        }
        out.write_all(b"\n")?;
    }
    Ok((out.into_inner().map_err(io::IntoInnerError::into_error)?, gone))
}

/// Writes the line of a stored test with the expectations of a live one. A suite's lines start with the id.
fn write_judged(
    out: &mut impl io::Write,
    stored: &[u8],
    live: &[u8],
    places: &[Option<u16>],
) -> io::Result<()> {
    let mut keys: BTreeMap<&str, &RawValue> = serde_json::from_slice(stored)?;
    let (mut bases, test) = (TestLine::read(stored)?.bases, TestLine::read(live)?);
    for provider in &test.providers {
        let Some(place) = places[usize::from(*provider)] else { continue };
        match test.bases.get(provider) {
            Some(base) => drop(bases.insert(place, *base)),
            None => drop(bases.remove(&place)),
        }
    }
    let bases = to_raw_value(&bases)?;
    let live: BTreeMap<&str, &RawValue> = serde_json::from_slice(live)?;
    keys.retain(|key, _| !LIVE_KEYS.contains(key));
    keys.extend(live.into_iter().filter(|(key, _)| LIVE_KEYS.contains(key)));
    if bases.get() == "{}" {
        keys.remove("bases");
    } else {
        keys.insert("bases", &bases);
    }
    let id = keys.remove("id").map_or("null", RawValue::get);
    write!(out, "{{\"id\":{id}")?;
    for (key, value) in keys {
        write!(out, ",\"{key}\":{value}")?;
    }
    write!(out, "}}")
}
