//! [`LiveTests`]: the tests of a scenario as it is now, by their ids.

use std::{collections::HashMap, io, sync::Arc};

use crate::scenario::{Suite, SuiteReader, Test};

/// The tests of a scenario, to be found by their ids. Mostly they are where they were, and then no table is made of them.
pub(super) struct LiveTests {
    count: u64,
    reader: SuiteReader,
    places: Option<HashMap<String, u64>>,
}

impl LiveTests {
    pub(super) fn new(suite: &Suite) -> Self {
        Self {
            count: suite.test_count(),
            reader: suite.reader_of_rows(),
            places: None,
        }
    }

    /// The test with this id, which may be at this place.
    pub(super) fn find(&mut self, id: &str, place: u64) -> io::Result<Option<Arc<Test>>> {
        if place < self.count && self.places.is_none() {
            let test = self.reader.test(place)?;
            if test.id.as_str() == id {
                return Ok(Some(test));
            }
        }
        let places = match &self.places {
            Some(places) => places,
            None => {
                let mut places = HashMap::new();
                for index in 0..self.count {
                    let test = self.reader.test(index)?;
                    places.insert(test.id.as_str().to_owned(), index);
                }
                self.places.insert(places)
            }
        };
        match places.get(id) {
            Some(index) => self.reader.test(*index).map(Some),
            None => Ok(None),
        }
    }
}
