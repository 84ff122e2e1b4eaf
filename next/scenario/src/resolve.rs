//! [`resolve`]: completes tests, selects among them, and writes the suite.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufWriter, Write},
    mem,
    ops::ControlFlow,
};

use globset::GlobSet;
use runner_model::{Text, row::MAX_DEPTH, test::Test};
use serde_json::{Value, value::to_raw_value};

use crate::{
    check, globs,
    needs::{Need, needs},
    problem::{Place, Problem, Problems},
    reading::{Part, Places, Step},
    records::{AllTests, Origin},
    scenario::{Scenario, TestList},
    selection::{Filter, Selection},
    suite::{MAX_TESTS, MAX_TRIALS, Suite, SuiteBuilder, TooMany, hash},
    test_keys::{DEFAULT_TIMEOUT, Settings, WrittenTest},
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
    assert!(
        !scenario.folder.as_os_str().is_empty(),
        "the tests of a stored scenario are in its suite"
    );
    let cannot_write =
        |error: std::io::Error| Problem::new(format!("cannot write the suite: {error}"));
    let file = into.try_clone().map_err(cannot_write)?;
    let mut writer = SuiteWriter::new(scenario, selection, into)?;
    let tests = AllTests::new(scenario);
    let mut found = Found::default();
    let mut hashes = Vec::new();
    let ended = tests.each(&mut |test| {
        let added = test.map_err(Refused::Test).and_then(|(origin, test)| {
            hashes.push(hash(&test.id));
            writer.add(&tests, origin, test)
        });
        match added {
            Ok(()) => ControlFlow::Continue(()),
            Err(Refused::Test(problem)) => {
                found.add(problem);
                ControlFlow::Continue(())
            }
            Err(Refused::Suite(problem)) => ControlFlow::Break(problem),
        }
    });
    if let ControlFlow::Break(problem) = ended {
        return Err(problem.into());
    }
    find_duplicates(&tests, &hashes, &mut found);
    found.into_result()?;
    let SuiteWriter {
        builder, mut out, ..
    } = writer;
    out.flush().map_err(cannot_write)?;
    drop(out);
    Ok(builder.finish(file, &scenario.providers))
}

/// Why a test is not in the suite.
enum Refused {
    /// It is wrong, and the others are looked at all the same.
    Test(Problem),
    /// The suite cannot be written on.
    Suite(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Test(problem)
    }
}

/// The first problems, and how many there are.
#[derive(Default)]
struct Found {
    shown: Vec<Problem>,
    total: usize,
}

impl Found {
    fn add(&mut self, problem: Problem) {
        self.total += 1;
        if self.shown.len() < MAX_SHOWN {
            self.shown.push(problem);
        }
    }

    fn into_result(self) -> Result<(), Problems> {
        match self.total {
            0 => Ok(()),
            total => Err(Problems::new(self.shown, total)),
        }
    }
}

/// Reports ids that are used twice. Only ids with equal hashes are read a second time.
fn find_duplicates(tests: &AllTests<'_>, hashes: &[u64], found: &mut Found) {
    let mut sorted = hashes.to_vec();
    sorted.sort_unstable();
    let twice = sorted.windows(2).filter(|pair| pair[0] == pair[1]);
    let twice: HashSet<u64> = twice.map(|pair| pair[0]).collect();
    if twice.is_empty() {
        return;
    }
    let mut seen = HashSet::new();
    let again: Vec<u64> = hashes
        .iter()
        .copied()
        .filter(|hash| twice.contains(hash) && !seen.insert(*hash))
        .collect();
    let shown: HashSet<u64> = again.iter().copied().take(MAX_SHOWN).collect();
    found.total += again.len() - again.len().min(MAX_SHOWN);
    let mut first: HashMap<String, Place> = HashMap::new();
    // Problems with a record were reported the first time.
    let _ = tests.each(&mut |test| {
        let Ok((origin, test)) = test else {
            return ControlFlow::Continue(());
        };
        if !shown.contains(&hash(&test.id)) {
            return ControlFlow::Continue(());
        }
        match first.get(&*test.id) {
            None => {
                first.insert(test.id.to_string(), tests.place(origin, "first here"));
            }
            Some(first) => found.add(
                Problem::new(format!("the id `{}` is used twice", test.id))
                    .at(tests.place(origin, "and again here"))
                    .at(first.clone()),
            ),
        }
        ControlFlow::Continue(())
    });
}

/// Completes tests, selects among them and writes their lines.
struct SuiteWriter<'s> {
    scenario: &'s Scenario,
    names: Vec<&'s str>,
    filter: Filter,
    /// Of each list, its `select` and `exclude`.
    lists: Vec<(Option<GlobSet>, GlobSet)>,
    needs: Vec<Vec<Need<'s>>>,
    /// The globs of the last test and what they match, because the next one mostly has the same.
    providers: (Vec<String>, Vec<u16>),
    builder: SuiteBuilder,
    out: BufWriter<&'s mut File>,
    line: Vec<u8>,
}

impl<'s> SuiteWriter<'s> {
    fn new(
        scenario: &'s Scenario,
        selection: &Selection,
        into: &'s mut File,
    ) -> Result<Self, Problem> {
        let bad_glob = |error: globset::Error| Problem::new(format!("not a glob: {error}"));
        let sets = |list: &TestList| {
            let select = list.written.select.as_ref();
            let select = select.map(|globs| globs::set(globs)).transpose();
            Ok((select?, globs::set(&list.written.exclude)?))
        };
        let lists: Result<_, globset::Error> = scenario.lists.iter().map(sets).collect();
        Ok(Self {
            scenario,
            names: scenario
                .providers
                .iter()
                .map(|provider| &*provider.name)
                .collect(),
            filter: Filter::new(selection)?,
            lists: lists.map_err(bad_glob)?,
            needs: scenario.providers.iter().map(needs).collect(),
            providers: Default::default(),
            builder: SuiteBuilder::default(),
            out: BufWriter::with_capacity(64 << 10, into),
            line: Vec::new(),
        })
    }

    /// Adds a test, if it is selected.
    fn add(
        &mut self,
        tests: &AllTests<'_>,
        origin: &Origin<'_>,
        mut test: WrittenTest,
    ) -> Result<(), Refused> {
        let list = match origin {
            Origin::Record(index, _) => Some(&self.scenario.lists[*index].written),
            Origin::Scenario(_) => None,
        };
        let globs = match (test.providers.take(), list) {
            (None, Some(list)) => list.providers.clone(),
            (own, _) => own,
        };
        let mut providers = self.providers(tests, origin, globs)?;
        let mut settings = mem::take(&mut test.settings);
        if let Some(list) = list {
            settings = settings.over(&list.settings);
        }
        let settings = settings.over(&self.scenario.defaults);
        if let Origin::Record(index, _) = origin {
            let (select, exclude) = &self.lists[*index];
            let id = test.id.as_str();
            if select.as_ref().is_some_and(|select| !select.is_match(id)) || exclude.is_match(id) {
                return Ok(());
            }
        }
        self.filter
            .narrow(&test.id, &settings, &self.names, &mut providers);
        if providers.is_empty() {
            return Ok(());
        }
        for provider in &providers {
            for need in &self.needs[usize::from(*provider)] {
                if let Some((message, help)) = need.lack(&test.id, &test.input) {
                    let mut problem = Problem::new(message)
                        .at(tests.place(origin, "this test"))
                        .at(tests.scenario_place(&need.path, "needed here"));
                    problem.help = help;
                    return Err(problem.into());
                }
            }
        }
        let values = [&test.expect.equals, &test.expect.json];
        let values = values.into_iter().flatten().chain(&test.expect.contains);
        if values
            .chain([&test.input])
            .any(|value| is_deep(value, MAX_DEPTH))
        {
            let message = format!(
                "test `{}` has a value that is nested deeper than {MAX_DEPTH} levels",
                test.id
            );
            return Err(Problem::new(message)
                .at(tests.place(origin, "this test"))
                .into());
        }
        self.write(test, providers, settings)
    }

    fn providers(
        &mut self,
        tests: &AllTests<'_>,
        origin: &Origin<'_>,
        globs: Option<Vec<String>>,
    ) -> Result<Vec<u16>, Problem> {
        let Some(globs) = globs else {
            return Ok((0..self.names.len() as u16).collect());
        };
        if self.providers.0 != globs {
            for (index, glob) in globs.iter().enumerate() {
                if let Some((message, help)) = check::unmatched(glob, &self.names) {
                    let path = [Step::Key("providers".into()), Step::Index(index)];
                    let place = match origin {
                        Origin::Record(_, line) => {
                            line.place(&path, Part::Value, "matches nothing")
                        }
                        Origin::Scenario(_) => tests.place(origin, "this test"),
                    };
                    return Err(Problem::new(message).at(place).with_help(help));
                }
            }
            let set = globs::set(&globs).unwrap_or_default();
            let matching = (0..)
                .zip(&self.names)
                .filter(|(_, name)| set.is_match(name));
            let matching = matching.map(|(index, _)| index).collect();
            self.providers = (globs, matching);
        }
        Ok(self.providers.1.clone())
    }

    fn write(
        &mut self,
        test: WrittenTest,
        providers: Vec<u16>,
        settings: Settings,
    ) -> Result<(), Refused> {
        let stop = |message: String| Refused::Suite(Problem::new(message));
        let cannot =
            |error: &dyn std::fmt::Display| stop(format!("cannot write the suite: {error}"));
        let input = to_raw_value(&test.input).map_err(|error| cannot(&error))?;
        let test = Test {
            id: test.id,
            input: &input,
            providers,
            repeat: settings.repeat.unwrap_or(1),
            tags: settings.tags.into_iter().map(Text::from).collect(),
            timeout: settings.timeout.unwrap_or(DEFAULT_TIMEOUT),
            trial_timeout: settings.trial_timeout,
            retries: settings.retries.unwrap_or_default(),
            expect: test.expect,
        };
        self.line.clear();
        serde_json::to_writer(&mut self.line, &test).map_err(|error| cannot(&error))?;
        let pushed = self.builder.push(&self.line, &test.providers, test.repeat);
        pushed.map_err(|too_many| {
            let bound = match too_many {
                TooMany::Tests => format!("{MAX_TESTS} tests"),
                TooMany::Trials => format!("{MAX_TRIALS} trials"),
            };
            let help = "choose some with `--test` or `--provider`, write a smaller `repeat`, or make several scenarios of them";
            Refused::Suite(Problem::new(format!("a run has at most {bound}, and these are more")).with_help(help))
        })?;
        self.line.push(b'\n');
        self.out
            .write_all(&self.line)
            .map_err(|error| cannot(&error))
    }
}

/// Tells whether a value is nested deeper than so many levels.
fn is_deep(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deep(item, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|item| is_deep(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
