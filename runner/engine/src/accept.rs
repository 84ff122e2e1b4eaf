//! [`accept`]: replaces the expectations of failed tests by their stored outputs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::{io, ops::Range, path::Path};

use runner_model::row::{Check, CheckKind};
use runner_model::{Outcome, Places as _, RowRef, json};
use runner_model::{outcome::Verdict, test::Test, units::plural};
use runner_record::{Manifest, ResultsRoot, RunDir, UserFolder};
use runner_results::{PlanOrder, RowSelection, RunTable, TableRow};
use runner_scenario::{AcceptedOutputs, Filter, accept_outputs, parse_stored};
use serde_json::Value;

use crate::plan::{
    Ids, PlannedAccess, RescorePlan, RowPlace, StoredRow, TestLine, resolve_filter, unreadable,
};
use crate::{EditRequest, Edits, EngineError, edits::reader};

/// Finds the new expectations of the failed tests of a run. Without a filter, those of all that did not pass. The report has
/// the reasons of tests without one, by their ids. Writes nothing before [`Edits::write`].
///
/// # Errors
///
/// The run or its scenario cannot be used, or the filter matches no trial.
pub fn accept(request: &EditRequest) -> Result<Edits<BTreeMap<String, String>>, EngineError> {
    Edits::find(request, |root, dir, manifest| {
        if manifest.metadata.selection.shard.is_some() {
            return Err(EngineError::Usage(
                "a shard lacks trials of its tests: accept the outputs of the merged run"
                    .to_owned(),
            ));
        }
        let path = Path::new(&manifest.scenario_path);
        let access = PlannedAccess::new(dir, manifest);
        let plan = RescorePlan::new(root, dir, manifest, path, true, &access)?;
        let stored = StoredOutputs::read(root, dir, manifest, &plan, request.filter.clone())?;
        let (outputs, refused) = stored.outputs().map_err(|source| unreadable(root, source))?;
        let scenario = &plan.plan.scenario;
        let folder = UserFolder::open(&scenario.folder)?;
        let accepted = accept_outputs(scenario, outputs, &plan.protected, &mut reader(&folder));
        let AcceptedOutputs { files, refused: mut all_refused } =
            accepted.map_err(EngineError::Scenario)?;
        all_refused.extend(refused);
        let mut edits = Edits::new(dir, folder, files, all_refused);
        if stored.left_out > 0 {
            let known = plural(stored.left_out, "known failure is", "known failures are");
            edits.notices.push(format!("{known} left out; to accept them, add: -E 'known()'"));
        }
        Ok(edits)
    })
}

/// The newest results of a run, and the tests that a filter selects among the failed ones.
struct StoredOutputs<'p> {
    dir: &'p RunDir,
    plan: &'p RescorePlan,
    table: RunTable,
    order: PlanOrder,
    /// Trials that have a row or that the results need, ascending.
    needed: Vec<u32>,
    /// Indexes of tests.
    selected: BTreeSet<u64>,
    /// Number of known failures that are not selected.
    left_out: u64,
    has_secrets: bool,
}

impl<'p> StoredOutputs<'p> {
    fn read(
        root: &ResultsRoot,
        dir: &'p RunDir,
        manifest: &Manifest,
        plan: &'p RescorePlan,
        mut filter: Option<Filter>,
    ) -> Result<Self, EngineError> {
        let text = dir.scenario(manifest)?;
        let overrides = &manifest.metadata.selection.overrides;
        let stored =
            parse_stored(&text, &manifest.scenario, overrides).map_err(EngineError::Scenario)?;
        let has_secrets =
            stored.providers.iter().any(|provider| !provider.grants.secret_names().is_empty());
        if let Some(filter) = &mut filter {
            resolve_filter(filter, root)?;
        }
        let table = RunTable::open(dir)?;
        let order = PlanOrder::read(&table);
        let matching = filter.as_ref().map(|filter| {
            let rows = table.select(&RowSelection::Matching(filter.clone()))?;
            Ok::<_, EngineError>(rows.into_iter().collect::<HashSet<_>>())
        });
        let matching = matching.transpose()?;
        let takes_known = filter.as_ref().is_some_and(|filter| filter.has_known());
        let (mut selected, mut left_out) = (BTreeSet::new(), 0);
        for place in 0..order.len() {
            let row = order.number(place).and_then(|trial| table.result(trial));
            let is_meant = |row: &TableRow| {
                matching.as_ref().is_none_or(|matching| matching.contains(&row.number))
            };
            let Some(row) = row.filter(|row| row.outcome.is_bad() && is_meant(row)) else {
                continue;
            };
            // Right expectations would become wrong answers that are known.
            if takes_known || row.is_unexpected() {
                selected.insert(plan.plan.suite.trial(place.into()).test);
            } else {
                left_out += 1;
            }
        }
        if let (Some(filter), true, 0) = (filter, selected.is_empty(), left_out) {
            return Err(EngineError::no_match(&filter));
        }
        let needed = order.needed(&table);
        Ok(Self { dir, plan, table, order, needed, selected, left_out, has_secrets })
    }

    /// Returns the outputs of the selected tests by id, and the reasons why tests have none to accept.
    #[allow(clippy::type_complexity, reason = "both are by the id of a test")]
    fn outputs(&self) -> io::Result<(BTreeMap<String, Value>, BTreeMap<String, String>)> {
        let suite = &self.plan.plan.suite;
        let (mut outputs, mut refused) = (BTreeMap::new(), BTreeMap::new());
        let mut line = Vec::new();
        let mut trial = 0;
        while trial < suite.trials() {
            let test = suite.trial(trial).test;
            let after = (trial..suite.trials()).find(|next| suite.trial(*next).test != test);
            let trials = trial..after.unwrap_or(suite.trials());
            trial = trials.end;
            if !self.selected.contains(&test) {
                continue;
            }
            suite.line(test, &mut line)?;
            let id = TestLine::read(&line)?.id.to_string();
            let output = if self.plan.is_gone(test) {
                Err("the scenario has no such test".to_owned())
            } else {
                self.output(trials, &line)
            };
            match output {
                Ok(Some(output)) => drop(outputs.insert(id, output)),
                Ok(None) => {}
                Err(why) => drop(refused.insert(id, why)),
            }
        }
        Ok((outputs, refused))
    }

    /// Returns the output of all trials of a test. `None` if it is the expected one already.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be accepted.
    fn output(&self, trials: Range<u64>, line: &[u8]) -> Result<Option<Value>, String> {
        let test: Test<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mut ids = Ids::new(&self.plan.plan.suite, &self.plan.plan.scenario.providers);
        let mut accepted: Option<(String, Value)> = None;
        let mut is_compared = false;
        let mut has_changed = false;
        let mut has_other = None;
        for trial in trials {
            let name = ids.trial(trial).map_err(|error| error.to_string())?.to_string();
            let number = self.order.number(trial as u32);
            let row = match number.and_then(|number| self.table.result(number)) {
                Some(row) => row,
                // Adaptive repeats do not need it.
                None if self.needed.binary_search(&(trial as u32)).is_err() => continue,
                None => return Err(format!("`{name}` has no result")),
            };
            let stored = StoredRow::read(self.dir, RowPlace::of(&self.table, row.number));
            let stored = stored.ok_or_else(|| format!("the output of `{name}` cannot be read"))?;
            let row: RowRef<'_> =
                serde_json::from_slice(&stored.bytes).map_err(|error| error.to_string())?;
            has_changed |= self.has_changed(trial, line, &row, &name)?;
            let output = self.output_of(&row).map_err(|why| format!("`{name}` {why}"))?;
            let is_other = |check: &&Check<'_>| {
                check.kind != Some(CheckKind::Equals) && check.verdict == Verdict::Fail
            };
            let other = row.checks.iter().find(is_other);
            has_other = has_other.or(other.map(|check| (name.clone(), check.label().to_owned())));
            is_compared |= row.checks.iter().any(|check| {
                check.kind == Some(CheckKind::Equals) && check.verdict == Verdict::Fail
            });
            match &accepted {
                Some((first, other)) if *other != output => {
                    return Err(format!("`{first}` and `{name}` have different outputs"));
                }
                Some(_) => {}
                None => accepted = Some((name, output)),
            }
        }
        let accepted = accepted.map(|(_, output)| output);
        if test.expect.equals == accepted {
            return Ok(None);
        }
        if has_changed {
            let next = self.dir.command("rescore", &[]);
            return Err(format!(
                "its expectations have changed since it was judged; first run: {next}"
            ));
        }
        if !is_compared && (test.expect.equals.is_some() || test.expect.file.is_some()) {
            return Err("its `equals` or `file` holds, and another expectation does not".to_owned());
        }
        if let Some((name, check)) = has_other.filter(|_| is_compared) {
            return Err(format!("`{name}` does not hold `{check}`, and would not pass with it"));
        }
        Ok(accepted)
    }

    /// Returns the output of a row, or the reason why it is not a whole one, as the end of a sentence.
    fn output_of(&self, row: &RowRef<'_>) -> Result<Value, String> {
        match row.outcome {
            Outcome::Error => return Err("ended in an error".to_owned()),
            Outcome::Timeout => return Err("ended in a timeout".to_owned()),
            _ => {}
        }
        let output = row.output.as_ref().ok_or("has no output")?.get();
        if row.output_artifact().is_some() {
            return Err("has an output of more than 8 MiB".to_owned());
        }
        if row.truncated {
            return Err("has a result that was cut".to_owned());
        }
        // A mark of the redactor.
        if self.has_secrets && (output.contains("[secret") || output.contains("***")) {
            return Err("has an output with a redacted secret".to_owned());
        }
        json::parse(output).map_err(|why| format!("has an output that no file can have: {why}"))
    }

    /// Returns whether the expectations of a test are others than those that judged a row.
    ///
    /// # Errors
    ///
    /// Its input, attachments or provider differ, so the output is not its own.
    fn has_changed(
        &self,
        trial: u64,
        line: &[u8],
        row: &RowRef<'_>,
        name: &str,
    ) -> Result<bool, String> {
        let provider = self.plan.plan.suite.trial(trial).provider;
        let fingerprints = TestLine::read(line)
            .and_then(|test| Ok(test.fingerprints(&self.plan.plan.fingerprints, provider)?));
        let (execution, judgement) = fingerprints.map_err(|error| error.to_string())?;
        if row.fingerprint != Some(execution) {
            return Err(format!("the test or the provider of `{name}` has changed since it ran"));
        }
        Ok(row.judgement_fingerprint != Some(judgement))
    }
}
