//! [`resolve`]: reads all tests, and writes the suite.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    ops::ControlFlow,
};

use crate::{
    problem::{Problem, Problems},
    records::AllTests,
    scenario::Scenario,
    selection::Selection,
    suite::{Suite, hash},
    suite_writer::{SuiteWriter, cannot_write},
};

/// Problems of tests and lists that are shown.
const MAX_SHOWN: usize = 10;

/// Reads all tests and lists, and writes the resolved and selected tests into `into`, an empty file: one line for each
/// test ([`runner_model::test::Test`]), in order.
///
/// # Errors
///
/// Problems of lists and tests. A selection that selects nothing is no problem: the suite has no trials.
///
/// # Panics
///
/// If the scenario is a stored one, whose lists may be gone.
pub fn resolve(
    scenario: &Scenario,
    selection: &Selection,
    into: &mut File,
) -> Result<Suite, Problems> {
    let is_stored = scenario.folder.as_os_str().is_empty();
    assert!(!is_stored, "the tests of a stored scenario are in its suite");
    let file = into.try_clone().map_err(|error| cannot_write(&error))?;
    let document = scenario.document();
    let document = document.map_err(|problems| Problems::first(MAX_SHOWN, problems))?;
    let tests = AllTests::new(scenario, &document);
    let mut writer = SuiteWriter::new(scenario, selection, into)?;
    let (mut hashes, mut found) = (Vec::new(), Problems::default());
    let _ = tests.each(&mut |test| {
        let added = match test {
            Ok((origin, test)) => {
                hashes.push(hash(&test.id));
                writer.add(&origin, test)
            }
            Err(problems) => Err(problems),
        };
        for problem in added.err().into_iter().flatten() {
            found.add(MAX_SHOWN, problem);
        }
        match writer.is_broken {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    find_duplicates(&tests, &hashes, &mut found);
    if found.count() > 0 {
        return Err(found);
    }
    Ok(writer.finish(file)?)
}

/// Reports ids that are used twice. Only ids with equal hashes are read a second time.
fn find_duplicates(tests: &AllTests<'_>, hashes: &[u64], found: &mut Problems) {
    let mut sorted = hashes.to_vec();
    sorted.sort_unstable();
    let twice = sorted.windows(2).filter(|pair| pair[0] == pair[1]);
    let twice: HashSet<u64> = twice.map(|pair| pair[0]).collect();
    if twice.is_empty() {
        return;
    }
    let mut seen = HashSet::new();
    let again = |hash: &&u64| twice.contains(hash) && !seen.insert(**hash);
    let again: Vec<&u64> = hashes.iter().filter(again).collect();
    let shown: HashSet<&u64> = again.iter().copied().take(MAX_SHOWN).collect();
    // Of the shown ids every place is counted below.
    let hidden = again.iter().filter(|hash| !shown.contains(*hash));
    found.add_hidden(hidden.count());
    let mut first = HashMap::new();
    // Problems with tests were reported the first time.
    let _ = tests.each(&mut |test| {
        if let Ok((origin, test)) = test
            && shown.contains(&hash(&test.id))
        {
            match first.get(&test.id) {
                None => {
                    first.insert(test.id, origin.place("first here"));
                }
                Some(first) => {
                    let problem = Problem::new(format!("the id `{}` is used twice", test.id));
                    let problem = problem.at_all(origin.place("and again here"));
                    found.add(MAX_SHOWN, problem.at_all(first.clone()));
                }
            }
        }
        ControlFlow::Continue(())
    });
}
