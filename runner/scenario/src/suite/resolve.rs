//! [`resolve`]: reads all tests and writes the suite.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Write as _};
use std::{fs::File, ops::ControlFlow, sync::Arc};

use runner_files::DigestCache;
use runner_model::TestId;
use runner_model::alike::{appearance, escaped_difference};

use crate::{
    lists::{AllTests, TestChunk},
    problem::{Place, Problem, Problems},
    scenario::Scenario,
    suite::{
        Suite, SuiteBuilder, hash,
        limit::TestLimit,
        planner::{Block, MAX_SHOWN, PlanRules, cannot_write},
        selection::Selection,
        threads::Threads,
    },
};

/// Reads all tests and lists, and writes the selected tests into `into`, an empty file: one line for each
/// ([`runner_model::test::Test`]), in order.
///
/// # Errors
///
/// Problems of lists and tests, also of a list without tests. A selection of nothing is valid: the suite has no trials.
///
/// # Panics
///
/// If the scenario is stored: its lists may be gone.
pub fn resolve(
    scenario: &Scenario,
    selection: &Selection,
    into: &mut File,
) -> Result<Suite, Problems> {
    resolve_on(&Threads::default(), None, scenario, selection, into)
}

/// Resolves the selected tests into a new file, and removes the other providers, which need no plugin, secret or folder. Tools
/// stay if one of the remaining providers may call them. Files of bases whose digests are in `digests` are not read again while they
/// do not change.
///
/// # Errors
///
/// An error of `new_file`. The inner error is that of [`resolve`].
pub fn resolve_selected(
    scenario: &mut Scenario,
    selection: &Selection,
    digests: Arc<dyn DigestCache>,
    new_file: impl Fn() -> io::Result<File>,
) -> io::Result<Result<(Suite, File), Problems>> {
    scenario.project.digests = Some(digests);
    let mut file = new_file()?;
    let suite = match resolve(scenario, selection, &mut file) {
        Ok(suite) => suite,
        Err(problems) => return Ok(Err(problems)),
    };
    let all = &scenario.providers;
    let callers = (0..all.len()).filter(|index| {
        let provider = &all[*index];
        match provider.role() {
            "grader" => suite.graders().contains(&*provider.name),
            "tool" => false,
            _ => suite.next_trial(*index as u16, 0).is_some(),
        }
    });
    let mut used: HashSet<_> = callers.collect();
    used.extend(used.clone().into_iter().flat_map(|caller| all[caller].tools(all.iter())));
    if !selection.is_some() || used.is_empty() || used.len() == scenario.providers.len() {
        return Ok(Ok((suite, file)));
    }
    let names: HashSet<_> =
        used.iter().map(|index| scenario.providers[*index].name.clone()).collect();
    scenario.keep_providers(|provider| names.contains(&provider.name));
    // A suite has the indexes of its providers.
    let mut file = new_file()?;
    Ok(resolve(scenario, selection, &mut file).map(|suite| (suite, file)))
}

/// Resolves with a division of the work, which has no effect on the suite or the problems.
pub(crate) fn resolve_on(
    threads: &Threads,
    chunk_size: Option<usize>,
    scenario: &Scenario,
    selection: &Selection,
    into: &mut File,
) -> Result<Suite, Problems> {
    let is_stored = scenario.folder.as_os_str().is_empty();
    assert!(!is_stored, "the tests of a stored scenario are in its suite");
    let file = into.try_clone().map_err(|error| cannot_write(&error))?;
    let document = scenario.document().map_err(|problems| Problems::first(MAX_SHOWN, problems))?;
    let mut tests = AllTests::new(scenario, &document);
    tests.chunk_size = chunk_size.unwrap_or(tests.chunk_size);
    let rules = PlanRules::new(scenario, selection)?;
    let limit = TestLimit::new(selection, scenario.run.seed);
    let mut writer = SuiteWriter::new(into, limit);
    let mut problems = Problems::default();
    let mut has_tests = vec![false; scenario.lists.len()];
    // Threads only read and plan. Bounds, repeated ids and the order of problems need all tests in order.
    let _ = tests.visit_chunks(&mut |chunks| {
        threads.run(chunks, TestChunk::bytes, |chunk, send| rules.plan(chunk, send), &mut |block| {
            if let Err(problem) = writer.add(&block) {
                problems.add(MAX_SHOWN, problem);
                return ControlFlow::Break(());
            }
            block.tests.iter().filter_map(|test| test.list).for_each(|list| has_tests[list] = true);
            problems.append(MAX_SHOWN, block.problems);
            ControlFlow::Continue(())
        })
    });
    if problems.count() == 0 {
        check_lists(&tests, scenario, &has_tests, &mut problems);
    }
    check_ids(&tests, &writer.hashes, &mut problems);
    if problems.count() > 0 {
        return Err(problems);
    }
    let (builder, limit) = writer.finish()?;
    let suite = builder.finish(file, &scenario.providers, rules.into_files());
    Ok(limit.finish(suite, &scenario.providers).map_err(|error| cannot_write(&error))?)
}

/// Writes the lines of planned tests.
struct SuiteWriter<'f> {
    builder: SuiteBuilder,
    out: BufWriter<&'f mut File>,
    /// The hashes of the ids of all tests, selected or not.
    hashes: Vec<u64>,
    limit: TestLimit,
}

impl<'f> SuiteWriter<'f> {
    fn new(into: &'f mut File, limit: TestLimit) -> Self {
        let out = BufWriter::with_capacity(64 << 10, into);
        Self { builder: SuiteBuilder::default(), out, hashes: Vec::new(), limit }
    }

    /// Writes the tests of a block. No more can be added after an error.
    fn add(&mut self, block: &Block) -> Result<(), Problem> {
        let mut start = 0;
        for test in &block.tests {
            self.hashes.push(test.hash);
            if test.providers.is_empty() {
                continue;
            }
            let line = &block.lines[start..test.end];
            start = test.end;
            if !self.limit.takes(line, self.builder.outline.tests.len()) {
                continue;
            }
            self.builder.push(line, &test.providers, test.repeat, test.facts).map_err(|bound| {
                Problem::new(format!("a run has at most {bound}, but the scenario has more"))
                    .with_help("select some with `--test` or `--provider`, or lower `repeat`")
            })?;
            self.out.write_all(line).map_err(|error| cannot_write(&error))?;
        }
        Ok(())
    }

    /// Flushes the lines.
    fn finish(mut self) -> Result<(SuiteBuilder, TestLimit), Problem> {
        self.out.flush().map_err(|error| cannot_write(&error))?;
        Ok((self.builder, self.limit))
    }
}

/// Reports lists that `select` and `exclude` leave without a test.
fn check_lists(
    tests: &AllTests<'_>,
    scenario: &Scenario,
    has_tests: &[bool],
    problems: &mut Problems,
) {
    for (index, (list, has_tests)) in scenario.lists.iter().zip(has_tests).enumerate() {
        // A list without files was not needed.
        let is_read = !list.files.is_empty() || list.records.is_some();
        if !has_tests && !list.is_optional && is_read {
            let message = "`select` and `exclude` leave no test of a list".to_owned();
            problems.add(MAX_SHOWN, tests.no_tests(index, message));
        }
    }
}

/// Reports repeated ids, and ids that look like another one.
// A hash takes 8 bytes of memory per test. Only ids with equal hashes are compared, in a second read.
fn check_ids(tests: &AllTests<'_>, hashes: &[u64], problems: &mut Problems) {
    let mut sorted = hashes.to_vec();
    sorted.sort_unstable();
    let repeated: HashSet<u64> =
        sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    if repeated.is_empty() {
        return;
    }
    let mut seen = HashSet::new();
    let repeats: Vec<&u64> =
        hashes.iter().filter(|hash| repeated.contains(hash) && !seen.insert(**hash)).collect();
    let shown: HashSet<&u64> = repeats.iter().copied().take(MAX_SHOWN).collect();
    // The second read counts every repeat of the shown ids.
    problems.add_hidden(repeats.iter().filter(|hash| !shown.contains(*hash)).count());
    let mut first: HashMap<String, (TestId, Vec<Place>)> = HashMap::new();
    // Invalid tests were reported by the first read.
    let _ = tests.visit(&mut |test| {
        if let Ok((origin, test)) = test
            && let look = appearance(&test.id).into_owned()
            && shown.contains(&hash(&look))
        {
            if let Some((id, first)) = first.get(&look) {
                let message = match escaped_difference([&test.id, id]) {
                    Some([own, other]) => {
                        format!("the id `{own}` looks the same as the id `{other}`")
                    }
                    None => format!("the id `{}` is used twice", test.id),
                };
                let problem = Problem::new(message)
                    .at_all(origin.place("and again here"))
                    .at_all(Vec::clone(first));
                problems.add(MAX_SHOWN, problem);
            } else {
                first.insert(look, (test.id, origin.place("first here")));
            }
        }
        ControlFlow::Continue(())
    });
}
