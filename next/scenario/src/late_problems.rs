//! Problems of providers and tests that only plugins or whole files show, with their places in the scenario.

use std::{collections::HashMap, ops::ControlFlow};

use crate::problem::{Place, Problem, Problems};
use crate::reading::{Part, Places, Step, keys};
use crate::scenario::{MAX_SHOWN, Scenario, sorted};
use crate::{lists::AllTests, suite::Suite};

/// A problem of a test that only its provider or a whole file shows.
#[derive(Clone, Debug)]
pub struct TestProblem {
    /// The test's index in the suite.
    pub test: u64,
    /// The test's key, such as `input` or `expect`.
    pub key: &'static str,
    pub message: String,
    pub help: Option<String>,
}

/// A problem of a provider that only its plugin or the environment shows.
#[derive(Clone, Debug)]
pub struct ProviderProblem {
    /// The provider's index in the scenario.
    pub provider: u16,
    /// The key of its table, such as `plugin` or `grants.secrets`.
    pub key: &'static str,
    pub message: String,
    pub help: Option<String>,
}

impl Scenario {
    /// Adds the places of problems of providers.
    pub fn provider_problems(&self, found: &[ProviderProblem]) -> Problems {
        let document = self.document().ok();
        let problem = |found: &ProviderProblem| {
            let mut places = Vec::new();
            if let (Some(document), Some(provider)) =
                (&document, self.providers.get(usize::from(found.provider)))
            {
                let table = provider.table();
                let path = [table, &provider.name].into_iter().chain(found.key.split('.'));
                let label = format!("of {} `{}`", table.trim_end_matches('s'), provider.name);
                places = document.places(&keys(path), Part::Value, &label);
            }
            Problem {
                message: found.message.clone(),
                places,
                help: found.help.clone(),
                is_of_machine: false,
            }
        };
        sorted(found.iter().map(problem).collect())
    }

    /// Adds the places of problems of tests. Reads the lists again, up to the last of these tests.
    pub fn test_problems(&self, suite: &Suite, found: &[TestProblem]) -> Problems {
        let mut places = match self.document() {
            Ok(document) => places_of(&AllTests::new(self, &document), suite, found),
            Err(_) => HashMap::new(),
        };
        let problem = |(index, found): (usize, &TestProblem)| Problem {
            message: found.message.clone(),
            places: places.remove(&index).unwrap_or_default(),
            help: found.help.clone(),
            is_of_machine: false,
        };
        Problems::first(MAX_SHOWN, found.iter().enumerate().map(problem))
    }
}

/// Returns the places of problems by their indexes.
fn places_of(
    tests: &AllTests<'_>,
    suite: &Suite,
    found: &[TestProblem],
) -> HashMap<usize, Vec<Place>> {
    let mut remaining: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, problem) in found.iter().enumerate() {
        if let Some(id) = suite.id(problem.test) {
            remaining.entry(id).or_default().push(index);
        }
    }
    let mut places = HashMap::new();
    // Invalid tests were reported before the suite was written.
    let _ = tests.visit(&mut |test| {
        if let Ok((origin, test)) = test {
            for index in remaining.remove(&*test.id).into_iter().flatten() {
                let path = [Step::Key(found[index].key.to_owned())];
                let label = format!("of test `{}`", test.id);
                places.insert(index, origin.places(&path, Part::Value, &label));
            }
        }
        if remaining.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    places
}
