//! [`SincePrevious`]: the changes of a run since the previous one of its scenario.

use runner_model::visible::{cut, visible_line};
use runner_model::{Places as _, RunStatus, Time, TrialId, status::RunVerdict, units::grouped};
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir};
use runner_results::{PassRate, RunTable, Scope, Side, key, plan};
use runner_scenario::Suite;
use schemars::JsonSchema;
use serde::Serialize;

use super::changes::{Changed, Changes};
use super::class::{Class, ClassCounts, mean};
use crate::{failures::FailureGroup, list::short_of, phrases};

/// Trials of both runs that are read. More would delay the end of a run by seconds.
pub const MAX_TRIALS: u64 = 200_000;
/// Tests that are named, and characters of their reasons.
const MOST_NAMED: usize = 10;
const MOST_CHARACTERS: usize = 120;
/// Earlier runs of which one is chosen.
const MAX_EARLIER: usize = 1000;

/// The changes of a run since the previous one of the same scenario file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SincePrevious {
    /// The previous run.
    pub run: String,
    /// Shortest name of that run.
    pub short: String,
    /// Start of that run.
    pub started_at: Time,
    /// Tests by their change. `null` if both runs together have over [`MAX_TRIALS`] trials.
    pub counts: Option<ClassCounts>,
    /// Share of the trials that passed, without skipped ones, in that run and in this one. Absent if one is not completed or they
    /// have other selections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_rates: Option<[f64; 2]>,
    /// Mean scores of the trials that have one. Absent as `pass_rates`, and without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<[f64; 2]>,
    /// Classes of tests that do not just pass, ascending by key.
    #[serde(skip)]
    classes: Vec<(u64, Class)>,
    /// A line for each new test that fails, each unstable one and each newly skipped one.
    #[serde(skip)]
    named: Vec<String>,
}

impl SincePrevious {
    /// Returns the run that a run is compared with: the newest earlier run of the same file that is completed and not damaged,
    /// and that has run all tests or the same selection. A run that was cut short would hide changes of the tests that it lacks.
    /// `--last-failed` selects other tests each time, so the base of such a run has to have all of its tests.
    ///
    /// # Errors
    ///
    /// The root cannot be read.
    pub fn base(
        root: &ResultsRoot,
        run: &RunDir,
        manifest: &Manifest,
    ) -> Result<Option<(RunDir, Manifest)>, RecordError> {
        let own = &manifest.metadata.selection;
        let tests = own.last_failed.then(|| plan::suite(run)).flatten();
        Ok(root.earlier_runs(manifest)?.take(MAX_EARLIER).find(|(run, earlier)| {
            let selection = &earlier.metadata.selection;
            earlier.status == RunStatus::Completed
                && earlier.verdict != RunVerdict::Damaged
                && (selection.is_whole()
                    || !own.last_failed && selection == own
                    || tests.as_ref().is_some_and(|tests| has_tests(run, tests)))
        }))
    }

    /// Compares a run with the previous one. `None` without one, and if all tests are the same, none is bad in either run and none
    /// is newly skipped.
    ///
    /// # Errors
    ///
    /// A run cannot be read.
    pub fn read(
        root: &ResultsRoot,
        run: &RunDir,
        manifest: &Manifest,
    ) -> Result<Option<Self>, RecordError> {
        let Some((base, earlier)) = Self::base(root, run, manifest)? else { return Ok(None) };
        let [old_names, new_names] =
            [&earlier, manifest].map(|run| run.providers.iter().map(|provider| &provider.name));
        let has_same_tests =
            earlier.metadata.suite == manifest.metadata.suite && old_names.eq(new_names);
        let bad = [&earlier.counts, &manifest.counts]
            .map(|counts| counts.bad() + counts.unexpected_passes);
        let notable = bad[0] + bad[1] + manifest.counts.skipped;
        if has_same_tests && notable == 0 {
            return Ok(None);
        }
        let mut since = Self {
            run: base.id().to_owned(),
            short: short_of(root, base.id()),
            started_at: earlier.started_at,
            counts: None,
            pass_rates: None,
            scores: None,
            classes: Vec::new(),
            named: Vec::new(),
        };
        if earlier.counts.done() + manifest.counts.done() > MAX_TRIALS {
            return Ok(Some(since));
        }
        let old = Side::new(RunTable::open(&base)?, Scope::default())?;
        let new = Side::new(RunTable::open(run)?, Scope::default())?;
        let (counts, mut changed) = Changed::all(run, [&earlier, manifest], [&old, &new], false)?;
        since.counts = Some(counts);
        let selections = [&earlier, manifest].map(|run| &run.metadata.selection);
        if manifest.status == RunStatus::Completed && selections[0] == selections[1] {
            let rate = |run: &Manifest| PassRate::of(&run.counts, true).map(|rate| rate.rate);
            since.pass_rates = rate(&earlier).zip(rate(manifest)).map(<[_; 2]>::from);
            let rows = [&old, &new].map(|side| side.table.settling().collect::<Vec<_>>());
            let [before, now] = rows.map(|rows| mean(&rows, |row| row.score));
            since.scores = before.zip(now).map(<[_; 2]>::from);
        }
        let known = changed.iter().filter(|test| test.class < Class::Passing).map(|test| {
            let side = if test.class == Class::Gone { &old } else { &new };
            (side.key(&side.table.row(test.row)), test.class)
        });
        since.classes = known.collect();
        changed.retain(|test| {
            test.fails_without_base() || test.changes > 0 || test.class == Class::NewlySkipped
        });
        since.name_tests(&Changes { providers: None, changed, tables: [old.table, new.table] })?;
        // The same tests may be skipped in each run.
        let has_changes = !since.named.is_empty() || since.shown_counts().is_some();
        Ok(Some(since).filter(|_| has_changes || !has_same_tests))
    }

    /// Names the first of these tests.
    fn name_tests(&mut self, changes: &Changes) -> Result<(), RecordError> {
        changes.first(MOST_NAMED, |change, _| {
            let reason = change.reason.as_deref().unwrap_or_default();
            let title = change.title(None);
            let line = format!("{title}: {}@{}  {reason}", change.test, change.provider);
            self.named.push(cut(visible_line(&line).trim_end(), MOST_CHARACTERS));
        })?;
        let left = changes.changed.len().saturating_sub(self.named.len()) as u64;
        self.named.extend((left > 0).then(|| format!("… and {} more", grouped(left))));
        Ok(())
    }

    /// Formats the changes: `since 1f2e3d4c (3 h ago): 2 newly failing, 1 fixed`, and a line for each test whose failure or
    /// change needs a word. `None` without any.
    pub fn text(&self, now: Time) -> Option<String> {
        let counts = self.shown_counts();
        let ago = phrases::ago(now, self.started_at);
        let named: String = self.named.iter().map(|line| format!("\n  {line}")).collect();
        // Tests that the base has skipped are named, and not counted.
        let has_changes = counts.is_some() || !named.is_empty();
        let counts = counts.map(|counts| format!(" {counts}")).unwrap_or_default();
        has_changes.then(|| format!("since {} ({ago}):{counts}{named}", self.short))
    }

    /// Formats the numbers of changes. `None` without any.
    fn shown_counts(&self) -> Option<String> {
        let counts = ClassCounts { passing: 0, not_judged: 0, unpaired: 0, ..self.counts? };
        Some(counts.text(|class| match class {
            Class::Regressed => "newly failing".to_owned(),
            class => class.title(None),
        }))
        .filter(|text| !text.is_empty())
    }

    /// Returns the change of a trial's test. `None` if it just passes in both runs, or is not known.
    pub(crate) fn class(&self, trial: &str) -> Option<Class> {
        let trial = TrialId::parse(trial).ok()?;
        self.class_of(key(&trial.test, &trial.provider))
    }

    /// Returns the change of the test with this key.
    pub(crate) fn class_of(&self, key: u64) -> Option<Class> {
        let place = self.classes.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.classes[place].1)
    }

    /// Formats the changes of a group's tests in a word: `new`, `still` or, of some trials, `2 new`.
    pub fn change(&self, group: &FailureGroup) -> Option<String> {
        let words = [
            (Class::Regressed, "new"),
            (Class::StillFailing, "still"),
            (Class::UnexpectedPass, "still"),
            // The list still expects the failure.
            (Class::Fixed, "new"),
            (Class::Flaky, "flaky"),
            (Class::New, "new test"),
            (Class::NewlySkipped, "new"),
        ];
        let words = words.map(|(class, word)| {
            let keys = group.keys.iter().filter(|key| self.class_of(**key) == Some(class));
            (keys.count(), word)
        });
        let mut words = words.into_iter().filter(|(count, _)| *count > 0);
        match (words.next(), words.next()) {
            (Some((count, word)), None) if count == group.keys.len() => Some(word.to_owned()),
            (Some((count, word)), _) => Some(format!("{count} {word}")),
            (None, _) => None,
        }
    }
}

/// Returns whether a run has planned all of these tests on their providers.
fn has_tests(run: &RunDir, tests: &Suite) -> bool {
    let trials = (0..tests.trials()).filter_map(|index| tests.trial_id(index));
    let mut first = trials.filter(|trial| trial.repeat == 1);
    plan::suite(run).is_some_and(|plan| first.all(|trial| plan.index(&trial).is_some()))
}
