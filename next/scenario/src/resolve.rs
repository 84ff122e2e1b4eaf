//! [`resolve`]: completes tests, selects among them, and writes the suite.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    fs::File,
    io::{BufWriter, Write},
    mem,
    ops::ControlFlow,
};

use globset::GlobSet;
use runner_model::{Text, row::MAX_DEPTH, test::Test};
use serde_json::{Value, value::to_raw_value};

use crate::{
    check,
    document::Document,
    globs,
    needs::{Need, needs},
    problem::{Problem, Problems},
    reading::{Part, Places, Step},
    records::{AllTests, Origin},
    scenario::Scenario,
    selection::{Filter, Selection},
    suite::{Suite, SuiteBuilder, hash},
    test_keys::{DEFAULT_TIMEOUT, Settings, TestList, WrittenTest},
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
    assert!(
        !is_stored,
        "the tests of a stored scenario are in its suite"
    );
    let file = into.try_clone().map_err(|error| cannot_write(&error))?;
    let document = Document::parse(&scenario.path, &scenario.text);
    let document = document.map_err(|problems| Problems::first(MAX_SHOWN, problems))?;
    let tests = AllTests::new(scenario, &document);
    let mut writer = SuiteWriter::new(scenario, selection, into)?;
    let mut found = Problems::default();
    let mut hashes = Vec::new();
    let ended = tests.each(&mut |test| {
        let added = test.and_then(|(origin, test)| {
            hashes.push(hash(&test.id));
            writer.add(origin, test)
        });
        match added {
            Ok(()) => {}
            Err(problem) if writer.is_broken => return ControlFlow::Break(problem),
            Err(problem) => found.add(MAX_SHOWN, problem),
        }
        ControlFlow::Continue(())
    });
    if let ControlFlow::Break(problem) = ended {
        return Err(problem.into());
    }
    find_duplicates(&tests, &hashes, &mut found);
    if found.count() > 0 {
        return Err(found);
    }
    let SuiteWriter {
        builder, mut out, ..
    } = writer;
    out.flush().map_err(|error| cannot_write(&error))?;
    drop(out);
    Ok(builder.finish(file, &scenario.providers))
}

fn cannot_write(error: &dyn Display) -> Problem {
    Problem::new(format!("cannot write the suite: {error}"))
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
    found.add_hidden(again.len().saturating_sub(MAX_SHOWN));
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
                    let mut problem = Problem::new(format!("the id `{}` is used twice", test.id));
                    problem.places = [&origin.place("and again here"), &first[..]].concat();
                    found.add(MAX_SHOWN, problem);
                }
            }
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
    /// What each provider takes from its tests.
    needs: Vec<Vec<Need<'s>>>,
    /// The globs of the last test and what they match, because the next one mostly has the same.
    providers: (Vec<String>, Vec<u16>),
    builder: SuiteBuilder,
    out: BufWriter<&'s mut File>,
    /// Nothing more can be added.
    is_broken: bool,
    line: Vec<u8>,
}

impl<'s> SuiteWriter<'s> {
    fn new(
        scenario: &'s Scenario,
        selection: &Selection,
        into: &'s mut File,
    ) -> Result<Self, Problem> {
        let sets = |list: &TestList| {
            let select = list.select.as_ref().map(|select| globs::set(select));
            Ok((select.transpose()?, globs::set(&list.exclude)?))
        };
        let lists: Result<_, globset::Error> = scenario.lists.iter().map(sets).collect();
        let providers = scenario.providers.iter();
        Ok(Self {
            scenario,
            names: providers.clone().map(|provider| &*provider.name).collect(),
            filter: Filter::new(selection)?,
            lists: lists.map_err(|error| Problem::new(format!("too many globs: {error}")))?,
            needs: providers.map(|provider| needs(provider, "input")).collect(),
            providers: Default::default(),
            builder: SuiteBuilder::default(),
            out: BufWriter::with_capacity(64 << 10, into),
            is_broken: false,
            line: Vec::new(),
        })
    }

    /// Adds a test, if it is selected.
    fn add(&mut self, origin: &Origin<'_>, mut test: WrittenTest) -> Result<(), Problem> {
        let mut settings = mem::take(&mut test.settings);
        let mut globs = test.providers.take();
        let mut is_in_list = true;
        if let Origin::Record(record) = origin {
            settings = settings.over(&record.list.settings);
            globs = globs.or_else(|| record.list.providers.clone());
            let (select, exclude) = &self.lists[record.index];
            let is_selected = select
                .as_ref()
                .is_none_or(|select| select.is_match(&*test.id));
            is_in_list = is_selected && !exclude.is_match(&*test.id);
        }
        let settings = settings.over(&self.scenario.defaults);
        let mut providers = self.providers(origin, globs)?;
        self.filter
            .narrow(&test.id, &settings, &self.names, &mut providers);
        if providers.is_empty() || !is_in_list {
            return Ok(());
        }
        self.check(origin, &test, &providers)?;
        let written = self.write(test, providers, settings);
        self.is_broken = written.is_err();
        written
    }

    /// The providers that globs match.
    fn providers(
        &mut self,
        origin: &Origin<'_>,
        globs: Option<Vec<String>>,
    ) -> Result<Vec<u16>, Problem> {
        let all = (0..).zip(&self.names);
        let Some(globs) = globs else {
            return Ok(all.map(|(index, _)| index).collect());
        };
        if self.providers.0 != globs {
            for (index, glob) in globs.iter().enumerate() {
                if let Some((message, help)) = check::unmatched(glob, &self.names) {
                    let path = [Step::Key("providers".to_owned()), Step::Index(index)];
                    let mut problem = Problem::new(message).with_help(help);
                    problem.places = origin.places(&path, Part::Value, "matches nothing");
                    return Err(problem);
                }
            }
            let set = globs::set(&globs).unwrap_or_default();
            let matching = all.filter(|(_, name)| set.is_match(name));
            self.providers = (globs, matching.map(|(index, _)| index).collect());
        }
        Ok(self.providers.1.clone())
    }

    /// Refuses a test that its providers cannot be called with.
    fn check(
        &self,
        origin: &Origin<'_>,
        test: &WrittenTest,
        providers: &[u16],
    ) -> Result<(), Problem> {
        let mut needs = providers
            .iter()
            .flat_map(|index| &self.needs[usize::from(*index)]);
        let who = || format!("test `{}`", test.id);
        let lack = |need: &Need<'_>| {
            let mut problem = need.lack("input", &test.input, &who)?;
            problem.places = origin.place("this test");
            problem
                .places
                .extend(origin.scenario_place(&need.path, "needed here"));
            Some(problem)
        };
        if let Some(problem) = needs.find_map(lack) {
            return Err(problem);
        }
        let expect = &test.expect;
        let expected = expect
            .equals
            .iter()
            .chain(&expect.json)
            .chain(&expect.contains);
        let mut values = expected.chain([&test.input]);
        if values.any(|value| is_deep(value, MAX_DEPTH)) {
            let message = format!("{} has a value of more than {MAX_DEPTH} levels", who());
            let mut problem = Problem::new(message);
            problem.places = origin.place("this test");
            return Err(problem);
        }
        Ok(())
    }

    fn write(
        &mut self,
        test: WrittenTest,
        providers: Vec<u16>,
        settings: Settings,
    ) -> Result<(), Problem> {
        let input = to_raw_value(&test.input).map_err(|error| cannot_write(&error))?;
        let test = Test {
            id: test.id,
            input: &input,
            providers,
            repeat: settings.repeat.unwrap_or(1),
            tags: settings.tags.into_iter().map(Text::from).collect(),
            meta: Default::default(),
            files: Vec::new(),
            timeout: settings.timeout.unwrap_or(DEFAULT_TIMEOUT),
            trial_timeout: settings.trial_timeout,
            retries: settings.retries.unwrap_or_default(),
            expect: test.expect,
        };
        self.line.clear();
        serde_json::to_writer(&mut self.line, &test).map_err(|error| cannot_write(&error))?;
        let pushed = self.builder.push(&self.line, &test.providers, test.repeat);
        pushed.map_err(|bound| {
            Problem::new(format!("a run has at most {bound}, and these are more"))
                .with_help("choose some with `--test` or `--provider`, or write a smaller `repeat`")
        })?;
        self.line.push(b'\n');
        self.out
            .write_all(&self.line)
            .map_err(|error| cannot_write(&error))
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
