//! [`KnownPlan`]: finds the entries of a list of known failures that apply to the tests of a plan.

use super::{Known, KnownList, Stale};
use crate::{Fingerprint, Time};

/// A list that is compared with the tests of a plan, one after another.
pub struct KnownPlan {
    known: Known,
    entries: Vec<EntryTests>,
    /// Number of entries that further tests may change.
    open: usize,
}

/// The tests of a plan that the globs of an entry match.
#[derive(Clone, Default)]
struct EntryTests {
    is_met: bool,
    /// Those that `judged` confirms.
    confirmed: Vec<String>,
    has_others: bool,
}

impl KnownPlan {
    /// Compiles a list. Its entries that have expired at `now` do not apply.
    ///
    /// # Errors
    ///
    /// That of [`Known::new`].
    pub fn new(mut list: KnownList, now: Time) -> Result<Self, String> {
        for entry in &mut list.entries {
            entry.stale = entry.is_expired(now).then_some(Stale::Expired);
        }
        let open = list.entries.len();
        Ok(Self { known: Known::new(list)?, entries: vec![EntryTests::default(); open], open })
    }

    /// Returns whether further tests change nothing.
    pub fn is_settled(&self) -> bool {
        self.open == 0
    }

    /// Adds a test. `has_provider` returns whether the test runs on a provider of an entry, and `judged` the fingerprint of the test
    /// and its expectations.
    ///
    /// # Errors
    ///
    /// The error of `judged`.
    pub fn add<E>(
        &mut self,
        test: &str,
        has_provider: impl Fn(&Known, u32) -> bool,
        judged: impl FnOnce() -> Result<Fingerprint, E>,
    ) -> Result<(), E> {
        let mut judged = Some(judged);
        let mut fingerprint = None;
        for number in self.known.of_test(test) {
            let entry = &self.known.list().entries[number as usize];
            let tests = &mut self.entries[number as usize];
            let is_one = entry.judged.is_none() || entry.only_test().is_some();
            if tests.is_met && is_one || !has_provider(&self.known, number) {
                continue;
            }
            tests.is_met = true;
            self.open -= usize::from(is_one);
            let Some(written_for) = &entry.judged else { continue };
            if let Some(judged) = judged.take() {
                fingerprint = Some(judged()?);
            }
            if fingerprint.is_some_and(|judged| written_for.confirms(test, judged)) {
                tests.confirmed.push(test.to_owned());
            } else {
                tests.has_others = true;
            }
        }
        Ok(())
    }

    /// Returns the list with the entries that do not apply, and the tests of those that apply to some. `is_whole` is false if the
    /// plan may lack tests.
    pub fn finish(mut self, is_whole: bool) -> Known {
        // The globs of an entry stay the same, so nothing is compiled again.
        for (entry, tests) in self.known.entries_mut().iter_mut().zip(self.entries) {
            let stale = match () {
                () if !tests.is_met => is_whole.then_some(Stale::Unmatched),
                () => (tests.has_others && tests.confirmed.is_empty()).then_some(Stale::Changed),
            };
            entry.stale = entry.stale.or(stale);
            if tests.has_others {
                entry.members = tests.confirmed;
                entry.members.sort_unstable();
            }
        }
        self.known
    }
}
