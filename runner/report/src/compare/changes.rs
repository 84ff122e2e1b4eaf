//! [`Changes`]: the tests of a comparison that are listed. [`ChangeList`]: the groups of tests with the same kind of change.

use std::iter;

use runner_model::known::{Known, KnownState};
use runner_model::{Places as _, RowRef, TrialId, visible::visible_line};
use runner_record::{Manifest, RecordError, RunDir};
use runner_results::{RunTable, Side, TableRow, pairs, plan};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::class::{self, Class, ClassCounts, Outcomes};
use crate::failures::{self, FailureGroup, Failures};
use crate::{KnownResult, failure, json::Items};

/// Greatest number of groups in a list, and of tests that a group names.
const MOST_GROUPS: usize = 20;
const MOST_NAMED: usize = 10;

/// Tests that do not just pass in both runs. Their rows are read from disk at each use.
#[derive(Debug)]
pub struct Changes {
    pub(super) providers: Option<[String; 2]>,
    pub(super) changed: Vec<Changed>,
    /// Of the base and of the new run.
    pub(super) tables: [RunTable; 2],
}

/// A test that is listed.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) class: Class,
    /// Changes of the result in recent runs, if they make the test [`Class::Flaky`].
    pub(super) changes: u8,
    /// The worst repeat's row in the new run; of a test that is gone, in the base.
    pub(super) row: u32,
    outcomes: [Option<Outcomes>; 2],
}

/// A test on a provider that does not just pass in both runs.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Change<'a> {
    /// The change of the test.
    pub class: Class,
    /// The test's id.
    pub test: &'a str,
    /// The provider's name. Of two compared providers, the newer one.
    pub provider: &'a str,
    /// Results of the earlier run. `null` if the test is new.
    pub base: Option<Outcomes>,
    /// Results of the later run. `null` if the test is gone.
    pub new: Option<Outcomes>,
    /// Cause of a flaky result, and the reason of the new run's failure, of its entry in the list of known failures, or the
    /// provider's summary of a new skip, on one line.
    pub reason: Option<String>,
}

/// Tests with the same kind of change.
#[derive(Debug, Default)]
pub struct ChangeList {
    pub title: String,
    /// The first groups, failures before others.
    pub groups: Vec<ChangeGroup>,
    /// Number of tests in no group.
    pub left: u64,
    /// Whether the list comes before others: regressed tests, failures that the base lacks, and skips, which may hide a failure.
    is_first: bool,
    /// Failures of the new run by the outcomes in both.
    failures: Vec<(String, Failures)>,
}

/// Tests with the same change and reason.
#[derive(Debug)]
pub struct ChangeGroup {
    /// One name for all tests: `a@x`, `a on x, y` or `a@x, b@x and 3 more`.
    pub name: String,
    /// The outcomes in both runs: `passed → failed`.
    pub outcomes: String,
    /// One line, or empty.
    pub reason: String,
    pub count: u64,
    /// The first tests, each with its provider.
    tests: Vec<[String; 2]>,
    /// Whether all of them, also those that are not named, are the same test.
    is_one_test: bool,
}

impl ChangeGroup {
    /// Returns whether a test that does not fail belongs to this group. Tests without a reason share a group only with themselves on other providers.
    fn is_of(&self, change: &Change<'_>, outcomes: &str) -> bool {
        let reason = change.reason.as_deref().unwrap_or_default();
        self.outcomes == outcomes
            && self.reason == reason
            && (!reason.is_empty() || self.tests[0][0] == change.test)
    }

    fn set_name(&mut self) {
        let [test, _] = &self.tests[0];
        self.name = if self.is_one_test && self.count > 1 {
            let providers = self.tests.iter().map(|[_, provider]| provider.clone());
            format!("{test} on {}", failures::named(&providers.collect::<Vec<_>>(), self.count))
        } else {
            let names = self.tests.iter().map(|[test, provider]| format!("{test}@{provider}"));
            failures::named(&names.collect::<Vec<_>>(), self.count)
        };
    }

    /// Creates the group of failures in the new run. Each test has one row, so the names leave out its repeat.
    fn of_failures(outcomes: &str, group: FailureGroup) -> Self {
        let first = group.first().filter_map(|trial| TrialId::parse(trial).ok());
        let first: Vec<_> = first.collect();
        let providers = group.providers().collect::<Vec<_>>().join(", ");
        let name = match &first[..] {
            [one, _, ..] if group.name() == format!("{} on {providers}", one.test) => group.name(),
            _ => {
                let names = first.iter().map(|trial| format!("{}@{}", trial.test, trial.provider));
                failures::named(&names.collect::<Vec<_>>(), group.trials)
            }
        };
        let outcomes = outcomes.to_owned();
        let (reason, count) = (group.reason, group.trials);
        Self { name, outcomes, reason, count, tests: Vec::new(), is_one_test: false }
    }
}

impl ChangeList {
    fn add(&mut self, change: &Change<'_>, row: &RowRef<'_>, place: u64) {
        let outcomes = [change.base, change.new].into_iter().flatten().map(|one| one.text());
        let outcomes = outcomes.collect::<Vec<_>>().join(" → ");
        // The reason of a flaky test has its cause, too.
        let is_failing = change.new.is_some_and(|new| new.is_failing() && new.outcome.is_bad());
        if is_failing && change.class != Class::Flaky {
            let known = self.failures.iter().position(|(known, _)| *known == outcomes);
            let known = known.unwrap_or_else(|| {
                self.failures.push((outcomes, Failures::default()));
                self.failures.len() - 1
            });
            self.failures[known].1.add_first(row, place);
            return;
        }
        let known = self.groups.iter_mut().find(|group| group.is_of(change, &outcomes));
        let test = [change.test.to_owned(), change.provider.to_owned()];
        if let Some(group) = known {
            group.count += 1;
            group.is_one_test &= group.tests[0][0] == test[0];
            if group.tests.len() < MOST_NAMED {
                group.tests.push(test);
            }
        } else if self.groups.len() < MOST_GROUPS {
            let reason = change.reason.clone().unwrap_or_default();
            let name = String::new();
            let tests = vec![test];
            self.groups.push(ChangeGroup {
                name,
                outcomes,
                reason,
                count: 1,
                tests,
                is_one_test: true,
            });
        } else {
            self.left += 1;
        }
    }

    fn finish(&mut self) {
        self.groups.iter_mut().for_each(ChangeGroup::set_name);
        let failures = self.failures.drain(..).flat_map(|(outcomes, failures)| {
            let groups = failures.sorted();
            self.left += failures.trials - groups.iter().map(|group| group.trials).sum::<u64>();
            groups.into_iter().map(move |group| ChangeGroup::of_failures(&outcomes, group))
        });
        self.groups.splice(..0, failures.collect::<Vec<_>>());
        let more = self.groups.drain(MOST_GROUPS.min(self.groups.len())..);
        self.left += more.map(|group| group.count).sum::<u64>();
    }
}

impl Change<'_> {
    /// Returns the title of its list. Failing tests without a result in the base have lists of their own.
    pub(super) fn title(&self, providers: Option<&[String; 2]>) -> String {
        let base = providers.map_or("base", |[base, _]| base);
        match self.class {
            Class::New if self.class.fails_without_base(self.new) => {
                format!("{}, failing", self.class.title(providers))
            }
            Class::NotJudged => format!("failing, skipped in {base}"),
            Class::Unpaired => format!("failing, without a result in {base}"),
            class => class.title(providers),
        }
    }
}

impl Changes {
    /// Groups the tests by their change and reason. Lists with failures that the base lacks come first.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn lists(&self) -> Result<Vec<ChangeList>, RecordError> {
        let mut lists = Vec::<ChangeList>::new();
        let mut place = 0;
        self.first(usize::MAX, |change, row| {
            place += 1;
            let title = change.title(self.providers.as_ref());
            let known = lists.iter().position(|list| list.title == title);
            let known = known.unwrap_or_else(|| {
                let is_first = matches!(change.class, Class::Regressed | Class::NewlySkipped)
                    || change.class.fails_without_base(change.new);
                lists.push(ChangeList { title, is_first, ..ChangeList::default() });
                lists.len() - 1
            });
            lists[known].add(change, row, place);
        })?;
        lists.iter_mut().for_each(ChangeList::finish);
        lists.sort_by_key(|list| !list.is_first);
        Ok(lists)
    }

    /// Calls `each` for the first tests of the new run, and the first ones that are gone, at most `most` of both: by class and then
    /// in the order of the plan. Tests that are gone come last.
    pub(super) fn first(
        &self,
        most: usize,
        mut each: impl FnMut(&Change<'_>, &RowRef<'_>),
    ) -> Result<(), RecordError> {
        // Only the base has rows of tests that are gone.
        for (is_base, table) in [(false, &self.tables[1]), (true, &self.tables[0])] {
            let changed = self.changed.iter();
            let mut changed: Vec<_> =
                changed.filter(|one| (one.class == Class::Gone) == is_base).collect();
            if changed.is_empty() {
                continue;
            }
            let suite = plan::suite(table.run());
            let known = table.known()?;
            changed.sort_by_cached_key(|changed| {
                let trial = table.trial_id(table.row(changed.row).trial);
                let place = suite.as_ref().and_then(|suite| suite.index(&trial?));
                (changed.class, place, changed.row)
            });
            changed.truncate(most);
            let rows: Vec<_> = changed.iter().map(|changed| changed.row).collect();
            let mut changed = changed.into_iter().peekable();
            table.each_row_in_order(&rows, |indexed, row, _| {
                // A row that was changed meanwhile is left out.
                while changed.next_if(|changed| changed.row != indexed.number).is_some() {}
                if let Some(changed) = changed.next() {
                    each(&changed.with(row, &known), row);
                }
            })?;
        }
        Ok(())
    }
}

impl Changed {
    /// Counts the tests of two runs by their class, and lists those that do not just pass, ascending by key. The arguments are
    /// those of [`class::classes`].
    pub(super) fn all(
        new: &RunDir,
        manifests: [&Manifest; 2],
        sides: [&Side; 2],
        compares_providers: bool,
    ) -> Result<(ClassCounts, Vec<Self>), RecordError> {
        let mut counts = ClassCounts::default();
        let mut changed = Vec::new();
        let classes = class::classes(new, manifests, sides, compares_providers)?;
        for (pair, class) in iter::zip(pairs(sides[0], sides[1]), classes) {
            *counts.of(class.0) += 1;
            changed.extend(Self::of(pair, class));
        }
        Ok((counts, changed))
    }

    /// Returns the entry of a test with these results. `None` if it is only counted: if it just passes, or if one run lacks a
    /// result and the other one no failure.
    fn of(pair: [&[TableRow]; 2], (class, changes): (Class, u8)) -> Option<Self> {
        let worst = class::worst(if class == Class::Gone { pair[0] } else { pair[1] })?;
        let is_listed = match class {
            Class::Passing => false,
            Class::NotJudged | Class::Unpaired => worst.outcome.is_bad() || worst.is_unexpected(),
            _ => true,
        };
        let outcomes = pair.map(class::outcomes);
        is_listed.then_some(Self { class, changes, row: worst.number, outcomes })
    }

    pub(super) fn fails_without_base(&self) -> bool {
        self.class.fails_without_base(self.outcomes[1])
    }

    fn with<'a>(&self, row: &'a RowRef<'_>, known: &Known) -> Change<'a> {
        let [base, new] = self.outcomes;
        let is_bad = new.is_some_and(|new| new.outcome.is_bad());
        let flaky = match (self.class, self.changes) {
            (Class::Flaky, 0) if !is_bad => Some("passed after a retry".to_owned()),
            (Class::Flaky, 1..) => {
                Some(format!("unstable: {} changes without a cause in recent runs", self.changes))
            }
            // The outcomes have the number of passes.
            _ => None,
        };
        // Without a summary, only the outcome would be repeated.
        let is_explained = self.class == Class::NewlySkipped && row.summary.is_some();
        let failure = match new.and_then(|_| KnownResult::of(known, row)) {
            Some(KnownResult { state: KnownState::Known, reason, .. }) => {
                Some(visible_line(&reason).into_owned())
            }
            Some(pass) => Some(pass.line()),
            None => (is_bad || is_explained).then(|| failure::headline(row)),
        };
        Change {
            class: self.class,
            test: &row.test,
            provider: &row.provider,
            base,
            new,
            reason: flaky.into_iter().chain(failure).reduce(|flaky, why| format!("{flaky}; {why}")),
        }
    }
}

impl Serialize for Changes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = Items::new(serializer)?;
        let read = self.first(usize::MAX, |change, _| items.add(change));
        items.end(read)
    }
}
