//! Problems of providers and tests that only plugins or whole files show, with their places in the scenario.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::{ops::ControlFlow, path::Path};

use runner_model::GateScope;
use runner_model::prepare::RefusedPart;

use crate::problem::{Place, Problem, Problems};
use crate::reading::{Part, Places, Step, keys, similar, suggest};
use crate::scenario::{MAX_SHOWN, Scenario, sorted};
use crate::{keys::unmatched_glob, lists::AllTests, suite::Suite};

/// Bytes of a key that is compared with others.
const MAX_KEY: usize = 64;

/// A problem of a test that only its provider or a whole file shows.
#[derive(Clone, Debug)]
pub struct TestProblem {
    /// The test's index in the suite.
    pub test: u64,
    /// The test's key, such as `input` or `expect`.
    pub key: &'static str,
    pub message: String,
    pub help: Option<String>,
    /// The refused part of the key's value.
    pub refused: RefusedPart,
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
    /// The refused part of the key's value.
    pub refused: RefusedPart,
}

impl Scenario {
    /// Adds the places of problems of providers.
    pub fn provider_problems(&self, problems: &[ProviderProblem]) -> Problems {
        let document = self.document().ok();
        let problems = problems.iter().map(|problem| {
            let mut places = Vec::new();
            if let (Some(document), Some(provider)) =
                (&document, self.providers.get(usize::from(problem.provider)))
            {
                let table = provider.table();
                let path = [table, &provider.name].into_iter().chain(problem.key.split('.'));
                let (path, part) = path_of(keys(path), &problem.refused);
                let label = format!("of {} `{}`", table.trim_end_matches('s'), provider.name);
                places = document.places(&path, part, &label);
            }
            Problem {
                message: problem.message.clone(),
                places,
                help: problem.help.clone().or_else(|| similar_key(&problem.refused)),
                is_of_machine: false,
            }
        });
        sorted(problems.collect())
    }

    /// Returns the problem of a `judge_seed` whose secret has no value.
    pub fn judge_seed_problem(&self, message: String, help: String) -> Problems {
        let path = keys(["run", "judge_seed", "secret"]);
        let places = self.document().ok();
        let places = places.map(|document| document.places(&path, Part::Value, "of `[run]`"));
        let places = places.unwrap_or_default();
        sorted([Problem { message, places, help: Some(help), is_of_machine: false }].into())
    }

    /// Returns a problem for each rule of the gate that is about no test or provider, also of those that a selection leaves out.
    pub fn gate_problems(&self) -> Problems {
        let rules = self.gate.iter().flat_map(|gate| &gate.0);
        let mut problems = Problems::default();
        let mut tags: Option<BTreeSet<String>> = None;
        let names: Vec<_> = self
            .providers
            .iter()
            .filter(|provider| provider.is_tested())
            .map(|provider| &*provider.name)
            .chain(self.unused.iter().map(String::as_str))
            .collect();
        for rule in rules {
            let (table, name, problem) = match &rule.scope {
                GateScope::All => continue,
                GateScope::Provider(glob) => ("providers", glob, unmatched_glob(glob, &names)),
                GateScope::Tag(tag) => {
                    let known = tags.get_or_insert_with(|| self.all_tags()).iter();
                    let help = suggest(tag, known.clone().map(String::as_str));
                    let is_unknown = !known.clone().any(|known| known == tag);
                    let problem = (format!("no test has the tag `{tag}`"), help);
                    ("tags", tag, is_unknown.then_some(problem))
                }
            };
            if let Some((message, help)) = problem {
                let places = self.document().map_or_else(
                    |_| Vec::new(),
                    |document| {
                        let path = keys(["gate", table, name]);
                        document.places(&path, Part::Key, "no trial")
                    },
                );
                let problem = Problem::new(message).at_all(places).with_help(help);
                problems.add(MAX_SHOWN, problem);
            }
        }
        problems
    }

    /// Returns the folder of the scenario's project, absolute and without links.
    pub fn project_folder(&self) -> &Path {
        &self.project.root
    }

    /// Returns the files and lines of these tests. Reads the lists up to the last of them.
    pub fn test_places(&self, ids: &HashSet<&str>) -> HashMap<String, (String, usize)> {
        let mut places = HashMap::new();
        let Ok(document) = self.document() else { return places };
        let _ = AllTests::new(self, &document).visit(&mut |test| {
            if let Ok((origin, test)) = test
                && ids.contains(&*test.id)
                && let Some(Place { source, span, .. }) = origin.place("").first()
            {
                places.insert(test.id.to_string(), (source.path.clone(), source.line(span.start)));
            }
            let is_done = places.len() == ids.len();
            if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        places
    }

    /// Adds the places of problems of tests. Reads the lists again, up to the last of these tests.
    pub fn test_problems(&self, suite: &Suite, problems: &[TestProblem]) -> Problems {
        let mut places = match self.document() {
            Ok(document) => places_of(&AllTests::new(self, &document), suite, problems),
            Err(_) => HashMap::new(),
        };
        Problems::first(
            MAX_SHOWN,
            problems.iter().enumerate().map(|(index, problem)| Problem {
                message: problem.message.clone(),
                places: places.remove(&index).unwrap_or_default(),
                help: problem.help.clone().or_else(|| similar_key(&problem.refused)),
                is_of_machine: false,
            }),
        )
    }
}

/// Returns the path to a refused part of the value at `path`, and the part of its entry to mark.
fn path_of(mut path: Vec<Step>, refused: &RefusedPart) -> (Vec<Step>, Part) {
    path.extend_from_slice(&refused.path);
    (path, if refused.known.is_empty() { Part::Value } else { Part::Key })
}

/// Returns a help with the known key of which an unknown one may be a slip. A worker may send keys of any length.
fn similar_key(refused: &RefusedPart) -> Option<String> {
    let Step::Key(key) = refused.path.last()? else { return None };
    let known = refused.known.iter().map(String::as_str).filter(|key| key.len() <= MAX_KEY);
    let near = similar(Some(key.as_str()).filter(|key| key.len() <= MAX_KEY)?, known)?;
    Some(format!("did you mean `{near}`?"))
}

/// Returns the places of problems by their indexes.
fn places_of(
    tests: &AllTests<'_>,
    suite: &Suite,
    problems: &[TestProblem],
) -> HashMap<usize, Vec<Place>> {
    let mut remaining: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, problem) in problems.iter().enumerate() {
        if let Some(id) = suite.id(problem.test) {
            remaining.entry(id).or_default().push(index);
        }
    }
    let mut places = HashMap::new();
    // Invalid tests were reported before the suite was written.
    let _ = tests.visit(&mut |test| {
        if let Ok((origin, test)) = test {
            for index in remaining.remove(&*test.id).into_iter().flatten() {
                let (path, part) = path_of(keys([problems[index].key]), &problems[index].refused);
                let label = format!("of test `{}`", test.id);
                places.insert(index, origin.places(&path, part, &label));
            }
        }
        if remaining.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    places
}
