//! [`LiveTests`]: the tests of a scenario as it is now, by their ids.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, OnceLock},
};

use crate::{
    model::Digest,
    scenario::{Expectation, ExpectationReader, Suite, SuiteReader, Test},
};

/// The tests of a scenario, to be found by their ids. Mostly they are where they were, and then no table is made of them.
#[derive(Clone)]
pub(super) struct LiveTests {
    suite: Suite,
    expectations: ExpectationReader,
    /// For tests of which more is asked than what they expect.
    whole: Option<SuiteReader>,
    /// One for all clones.
    places: Arc<OnceLock<HashMap<String, u64>>>,
}

impl LiveTests {
    pub(super) fn new(suite: &Suite) -> Self {
        Self {
            suite: suite.clone(),
            expectations: ExpectationReader::new(suite),
            whole: None,
            places: Arc::default(),
        }
    }

    /// The place of the test with this id, which may be `guess`, and what it expects.
    pub(super) fn find(&mut self, id: &str, guess: u64) -> io::Result<Option<(u64, Expectation)>> {
        if self.places.get().is_none()
            && let Some(expectation) = self.expectations.at_if(guess, id)?
        {
            return Ok(Some((guess, expectation)));
        }
        let table = Arc::clone(&self.places);
        let places = match table.get() {
            Some(places) => places,
            None => {
                let found = self.places()?;
                table.get_or_init(|| found)
            }
        };
        match places.get(id) {
            Some(place) => Ok(Some((*place, self.expectations.at(*place)?))),
            None => Ok(None),
        }
    }

    /// The checks that hold of an output that is written like this, and what the test is judged by, if that test is where it
    /// was or is known to be elsewhere, and expects nothing else.
    pub(super) fn held_by(
        &mut self,
        id: &str,
        guess: u64,
        output: &str,
    ) -> io::Result<Option<(Vec<&'static str>, Digest)>> {
        let known = self.places.get().and_then(|places| places.get(id));
        let place = known.copied().unwrap_or(guess);
        self.expectations.held_by(place, id, output)
    }

    /// All of the test at this place.
    pub(super) fn whole(&mut self, place: u64) -> io::Result<Arc<Test>> {
        let reader = || self.suite.reader_of_rows();
        self.whole.get_or_insert_with(reader).test(place)
    }

    fn places(&mut self) -> io::Result<HashMap<String, u64>> {
        let mut places = HashMap::new();
        for place in 0..self.suite.test_count() {
            places.insert(self.expectations.id_at(place)?.to_owned(), place);
        }
        Ok(places)
    }
}
