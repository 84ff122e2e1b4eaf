//! [`Changes`]: the tests of a comparison that are listed.

use runner_model::row::{RowHead, read_line};
use runner_model::{Places as _, RowRef};
use runner_record::{ReadLine, RecordError, RunDir};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::class::{self, Class, Outcomes};
use super::side::{Sample, Scope};
use crate::{failure, json::Items, stored_tests};

/// Tests that do not just pass in both runs. Their rows are read from disk at each use.
#[derive(Debug)]
pub struct Changes {
    pub(super) base: RunDir,
    pub(super) new: RunDir,
    pub(super) providers: Option<[String; 2]>,
    /// Ascending by key.
    pub(super) changed: Vec<Changed>,
}

/// A test that is listed. Takes 40 bytes.
#[derive(Debug)]
pub(super) struct Changed {
    key: u64,
    class: Class,
    /// Changes of the result in recent runs, if they make the test [`Class::Flaky`].
    changes: u8,
    /// Number of the worst repeat's row in the new run; of a test that is gone, in the base.
    seq: u32,
    outcomes: [Option<Outcomes>; 2],
}

/// A test on a provider that does not just pass in both runs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Change<'a> {
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
    /// Cause of a flaky result, and the reason of the new run's failure, or the provider's summary of a new skip, on one line.
    pub reason: Option<String>,
}

impl Change<'_> {
    /// Returns the title of its list. Failing tests without a result in the base have lists of their own.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self.class {
            Class::New if self.fails_without_base() => "new, failing",
            Class::NotJudged => "failing, skipped in base",
            Class::Unpaired => "failing, without a result in base",
            class => class.title(),
        }
    }

    /// Returns whether the test fails in the new run, and the base has no result to compare with.
    #[must_use]
    pub fn fails_without_base(&self) -> bool {
        fails_without_base(self.class, self.new)
    }
}

impl Changes {
    /// Calls `each` for every test, by class and then in the order of the plan. Tests that are gone come last.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn each(&self, each: impl FnMut(&Change<'_>)) -> Result<(), RecordError> {
        self.first(usize::MAX, each)
    }

    /// Calls `each` for the first tests of the new run, and the first ones that are gone, at most `most` of both.
    pub(super) fn first(
        &self,
        most: usize,
        mut each: impl FnMut(&Change<'_>),
    ) -> Result<(), RecordError> {
        // Only the base has rows of tests that are gone.
        for (at, run) in [(1, &self.new), (0, &self.base)] {
            let (mut rows, suite) = (Vec::new(), stored_tests::plan(run));
            if !self.changed.iter().any(|changed| (changed.class == Class::Gone) == (at == 0)) {
                continue;
            }
            run.rows(&mut |offset, line| {
                if let ReadLine::Row(head, bytes) = line
                    && let Some(changed) = self.of(&head, at)
                {
                    let place = suite.as_ref().and_then(|suite| suite.index(&head.trial));
                    rows.push((changed.class, place, offset, bytes.len()));
                }
            })?;
            rows.sort_unstable();
            // Another program may have doubled rows.
            rows.dedup_by_key(|(_, place, offset, _)| place.ok_or(*offset));
            let places = rows.into_iter().map(|(_, _, offset, bytes)| (offset, bytes)).take(most);
            run.rows_at(places, &mut |line| {
                if let Ok(head) = serde_json::from_slice(line)
                    && let Some(changed) = self.of(&head, at)
                    && let Ok(row) = read_line(line)
                {
                    each(&changed.with(&row));
                }
            })?;
        }
        Ok(())
    }

    /// Returns the test whose worst repeat has this row of the base, at 0, or of the new run.
    fn of(&self, row: &RowHead, at: usize) -> Option<&Changed> {
        let provider = self.providers.as_ref().map(|providers| &*providers[at]);
        let key = Scope { provider, ..Scope::default() }.key(&row.trial)?;
        let place = self.changed.binary_search_by_key(&key, |changed| changed.key).ok()?;
        let changed = &self.changed[place];
        let is_its = changed.seq == row.seq as u32 && (changed.class == Class::Gone) == (at == 0);
        (is_its && row.r#final).then_some(changed)
    }
}

impl Changed {
    /// Returns the entry of a test with these results. `None` if it is only counted: if it just passes, or if one run lacks a
    /// result and the other one no failure.
    pub(super) fn of(pair: [&[Sample]; 2], (class, changes): (Class, u8)) -> Option<Self> {
        let worst = class::worst(if class == Class::Gone { pair[0] } else { pair[1] })?;
        let is_listed = match class {
            Class::Passing => false,
            Class::NotJudged | Class::Unpaired => worst.outcome.is_bad(),
            _ => true,
        };
        let outcomes = pair.map(class::outcomes);
        is_listed.then_some(Self { key: worst.key, class, changes, seq: worst.seq, outcomes })
    }

    pub(super) fn fails_without_base(&self) -> bool {
        fails_without_base(self.class, self.outcomes[1])
    }

    /// Returns whether the test is flaky only because of earlier runs.
    pub(super) fn is_unstable(&self) -> bool {
        self.changes > 0
    }

    fn with<'a>(&self, row: &'a RowRef<'_>) -> Change<'a> {
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
        let failure = (is_bad || is_explained).then(|| failure::headline(row));
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

fn fails_without_base(class: Class, new: Option<Outcomes>) -> bool {
    matches!(class, Class::New | Class::NotJudged | Class::Unpaired)
        && new.is_some_and(|new| new.outcome.is_bad())
}

impl Serialize for Changes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = Items::new(serializer)?;
        let read = self.each(|change| items.add(change));
        items.end(read)
    }
}
