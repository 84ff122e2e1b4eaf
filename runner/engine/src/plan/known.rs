//! Known failures of a plan: finds the entries that do not apply, and compares lists.

use std::{io, sync::Arc};

use runner_model::known::plan::KnownPlan;
use runner_model::known::{Known, KnownEntry, KnownList, Stale};
use runner_model::{Time, units::grouped};
use runner_record::{Manifest, NO_KNOWN, RunDir};
use runner_scenario::{Scenario, Suite};

use super::plan::Plan;
use super::test_line::TestLine;
use crate::error::{EngineError, machine_error};

/// Entries that a notice names.
const MAX_NAMED: usize = 3;

/// Reads the known failures of a scenario, and notices about the entries that do not apply to the run. `suite` has the tests of
/// all shards; with a selection, it may lack tests, and no entry is [`Stale::Unmatched`]. `made_at` is the start of the run. `None`
/// without `[known]`.
///
/// # Errors
///
/// Problems of the lists.
pub(crate) fn known_failures(
    scenario: &Scenario,
    suite: &Suite,
    is_selected: bool,
    made_at: Time,
) -> Result<Option<(Known, Vec<String>)>, EngineError> {
    let Some(list) = scenario.known_list(false).map_err(EngineError::Scenario)? else {
        return Ok(None);
    };
    let has_judged = list.entries.iter().any(|entry| entry.judged.is_some());
    let mut plan = KnownPlan::new(list, made_at).map_err(|problem| {
        EngineError::Usage(format!("the known failures cannot be used: {problem}"))
    })?;
    if !is_selected || has_judged {
        add_tests(&mut plan, suite).map_err(machine_error)?;
    }
    let known = plan.finish(!is_selected);
    let notices = notices(&known.list().entries, scenario.path(), !is_selected);
    Ok(Some((known, notices)))
}

/// Compares the entries with the tests of a plan.
fn add_tests(plan: &mut KnownPlan, suite: &Suite) -> io::Result<()> {
    let mut line = Vec::new();
    for test in 0..suite.tests() {
        if plan.is_settled() {
            break;
        }
        let id = suite.id(test).ok_or_else(|| io::Error::other("a test cannot be read"))?;
        let has_provider = |known: &Known, number| {
            suite.providers(test).any(|name| known.has_provider(number, name))
        };
        plan.add(&id, has_provider, || {
            suite.line(test, &mut line)?;
            Ok::<_, io::Error>(TestLine::read(&line)?.judged()?)
        })?;
    }
    Ok(())
}

/// Returns a notice for each reason why entries do not apply. With `is_whole`, also one for those that have lost tests.
fn notices(entries: &[KnownEntry], scenario: &str, is_whole: bool) -> Vec<String> {
    let kinds = [
        (Stale::Expired, "they have expired"),
        (Stale::Changed, "their tests have changed; to confirm them: runner known --update"),
        (Stale::Unmatched, "they match no trial"),
    ];
    let stale = kinds.into_iter().filter_map(|(stale, words)| {
        let named = named(entries, scenario, |entry| entry.stale == Some(stale))?;
        Some(format!("known failures in {named} do not apply: {words}"))
    });
    let lost = named(entries, scenario, |entry| is_whole && entry.lost_tests() > 0).map(|named| {
        format!(
            "known failures in {named} do not apply to tests whose input or expectations have changed; to list them again: runner known --update"
        )
    });
    stale.chain(lost).collect()
}

/// Names the first entries of a kind. `None` without any.
fn named(
    entries: &[KnownEntry],
    scenario: &str,
    is_of_kind: impl Fn(&&KnownEntry) -> bool,
) -> Option<String> {
    let mut all = entries.iter().filter(is_of_kind);
    let first: Vec<_> = all.by_ref().take(MAX_NAMED).map(|entry| entry.named(scenario)).collect();
    let more = match all.count() as u64 {
        0 => String::new(),
        more => format!(" and {} more", grouped(more)),
    };
    (!first.is_empty()).then(|| first.join(", ") + &more)
}

/// Returns whether lists have the same entries, whatever tests and days decide which of them apply.
pub(crate) fn has_same_entries(one: &KnownList, other: &KnownList) -> bool {
    let [one_entries, other_entries] =
        [one, other].map(|list| list.entries.iter().map(KnownEntry::as_written));
    [one.strict, one.strict_entries] == [other.strict, other.strict_entries]
        && one_entries.eq(other_entries)
}

/// Returns whether lists judge alike, whatever the lines of their entries and the days are on which they were read.
pub(crate) fn is_same(one: &KnownList, other: &KnownList) -> bool {
    let expired = Some(Stale::Expired);
    let mut pairs = one.entries.iter().zip(&other.entries).map(|(one, other)| [one, other]);
    has_same_entries(one, other)
        && pairs.all(|[one, other]| {
            (one.stale == other.stale || [one.stale, other.stale].contains(&expired))
                && one.members == other.members
        })
}

/// Returns whether two runs have the same known failures. A list that cannot be read differs from all.
pub(crate) fn has_same_known(one: (&RunDir, &Manifest), other: (&RunDir, &Manifest)) -> bool {
    match (one.1.known(), other.1.known()) {
        (Some(first), Some(second)) if first != second => {
            let [first, second] = [one, other].map(|(run, manifest)| run.known(manifest));
            first.is_ok_and(|first| second.is_ok_and(|second| is_same(first.list(), second.list())))
        }
        (first, second) => first == second,
    }
}

impl Plan {
    /// Judges by the known failures that [`known_failures`] read, and adds its notices.
    pub(crate) fn set_known(
        &mut self,
        known: Option<(Known, Vec<String>)>,
        notices: &mut Vec<String>,
    ) -> Result<(), EngineError> {
        let Some((known, found)) = known else { return Ok(()) };
        let list = serde_json::to_string(known.list());
        self.new_known = Some(list.map_err(|error| machine_error(error.into()))?);
        self.known = Arc::new(known);
        notices.extend(found);
        Ok(())
    }

    /// Returns whether a run has the known failures of the plan, which is not stored.
    pub(crate) fn has_known_of(&self, run: &RunDir, manifest: &Manifest) -> bool {
        let has_list = manifest.known().is_some();
        let is_known =
            || run.known(manifest).is_ok_and(|own| is_same(own.list(), self.known.list()));
        has_list == self.new_known.is_some() && (!has_list || is_known())
    }

    /// Keeps the stored known failures of a run if they are those of the plan. Returns whether they differ.
    pub(crate) fn keep_known(&mut self, run: &RunDir, manifest: &Manifest) -> bool {
        let is_kept = self.has_known_of(run, manifest);
        if is_kept {
            self.new_known = None;
        } else {
            self.new_known.get_or_insert_with(|| NO_KNOWN.to_owned());
        }
        !is_kept
    }
}
