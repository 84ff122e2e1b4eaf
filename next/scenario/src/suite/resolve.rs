//! [`resolve`]: reads all tests and writes the suite.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    ops::ControlFlow,
};

use crate::{
    lists::AllTests,
    problem::{Problem, Problems},
    scenario::Scenario,
    suite::{
        Suite, hash,
        selection::Selection,
        writer::{SuiteWriter, cannot_write},
    },
};

/// Problems of tests and lists that are shown.
const MAX_SHOWN: usize = 10;

/// Reads all tests and lists, and writes the selected tests into `into`, an empty file: one line for each
/// ([`runner_model::test::Test`]), in order.
///
/// # Errors
///
/// Problems of lists and tests. A selection of nothing is valid: the suite has no trials.
///
/// # Panics
///
/// If the scenario is stored: its lists may be gone.
pub fn resolve(
    scenario: &Scenario,
    selection: &Selection,
    into: &mut File,
) -> Result<Suite, Problems> {
    let is_stored = scenario.folder.as_os_str().is_empty();
    assert!(!is_stored, "the tests of a stored scenario are in its suite");
    let file = into.try_clone().map_err(|error| cannot_write(&error))?;
    let document = scenario.document().map_err(|problems| Problems::first(MAX_SHOWN, problems))?;
    let tests = AllTests::new(scenario, &document);
    let mut writer = SuiteWriter::new(scenario, selection, into)?;
    let (mut hashes, mut found) = (Vec::new(), Problems::default());
    let _ = tests.visit(&mut |test| {
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
        if writer.is_broken { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    check_ids(&tests, &hashes, &mut found);
    if found.count() > 0 {
        return Err(found);
    }
    Ok(writer.finish(file)?)
}

/// Reports repeated ids.
// A hash takes 8 bytes of memory a test. Only ids with equal hashes are compared, in a second read.
fn check_ids(tests: &AllTests<'_>, hashes: &[u64], found: &mut Problems) {
    let mut sorted = hashes.to_vec();
    sorted.sort_unstable();
    let repeated: HashSet<u64> =
        sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    if repeated.is_empty() {
        return;
    }
    let mut seen = HashSet::new();
    let is_repeat = |hash: &&u64| repeated.contains(hash) && !seen.insert(**hash);
    let repeats: Vec<&u64> = hashes.iter().filter(is_repeat).collect();
    let shown: HashSet<&u64> = repeats.iter().copied().take(MAX_SHOWN).collect();
    // The second read counts every repeat of the shown ids.
    found.add_hidden(repeats.iter().filter(|hash| !shown.contains(*hash)).count());
    let mut first = HashMap::new();
    // Invalid tests were reported by the first read.
    let _ = tests.visit(&mut |test| {
        if let Ok((origin, test)) = test
            && shown.contains(&hash(&test.id))
        {
            if let Some(first) = first.get(&test.id) {
                let problem = Problem::new(format!("the id `{}` is used twice", test.id))
                    .at_all(origin.place("and again here"))
                    .at_all(Vec::clone(first));
                found.add(MAX_SHOWN, problem);
            } else {
                first.insert(test.id, origin.place("first here"));
            }
        }
        ControlFlow::Continue(())
    });
}
