//! [`SuiteWriter`]: completes tests, selects among them, and writes the suite.

use std::{
    fmt::Display,
    fs::File,
    io::{BufWriter, Write},
    mem,
};

use globset::GlobSet;
use runner_model::{
    Text,
    row::MAX_DEPTH,
    test::{Attachment, Test},
};
use serde_json::{Value, value::to_raw_value};

use crate::{
    blobs::Blobs,
    check, globs,
    problem::Problem,
    reading::{Part, Places, Step, keys},
    records::Origin,
    scenario::Scenario,
    selection::{Filter, Selection},
    suite::{Suite, SuiteBuilder},
    template_inputs::{Need, needs},
    test_keys::{DEFAULT_TIMEOUT, MAX_META, TestList, TestSettings, WrittenExpect, WrittenTest},
};

/// Completes tests, selects among them and writes their lines.
pub(crate) struct SuiteWriter<'s> {
    scenario: &'s Scenario,
    names: Vec<&'s str>,
    filter: Filter<'s>,
    /// Of each list, its `select` and `exclude`.
    lists: Vec<(Option<GlobSet>, GlobSet)>,
    /// What each provider takes from its tests.
    needs: Vec<Vec<Need<'s>>>,
    blobs: Blobs,
    /// The globs of the last test and what they match, because the next one mostly has the same.
    providers: (Vec<String>, Vec<u16>),
    builder: SuiteBuilder,
    out: BufWriter<&'s mut File>,
    line: Vec<u8>,
    /// Nothing more can be added.
    pub(crate) is_broken: bool,
}

/// Everything that is wrong with a test.
type Refused = Vec<Problem>;

impl<'s> SuiteWriter<'s> {
    pub(crate) fn new(
        scenario: &'s Scenario,
        selection: &'s Selection,
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
            needs: providers.map(needs).collect(),
            blobs: Blobs::default(),
            providers: Default::default(),
            builder: SuiteBuilder::default(),
            out: BufWriter::with_capacity(64 << 10, into),
            line: Vec::new(),
            is_broken: false,
        })
    }

    /// Adds a test, if it is selected.
    pub(crate) fn add(
        &mut self,
        origin: &Origin<'_>,
        mut test: WrittenTest,
    ) -> Result<(), Refused> {
        let mut settings = mem::take(&mut test.settings);
        let mut globs = test.providers.take();
        let mut is_in_list = true;
        if let Origin::Record(record) = origin {
            settings = settings.over(&record.list.settings);
            globs = globs.or_else(|| record.list.providers.clone());
            let (select, exclude) = &self.lists[record.index];
            let is_selected = select.as_ref().is_none_or(|select| select.is_match(&*test.id));
            is_in_list = is_selected && !exclude.is_match(&*test.id);
        }
        let settings = settings.over(&self.scenario.defaults);
        let mut providers = self.providers(origin, globs)?;
        let (filter, names) = (&self.filter, &self.names);
        filter.narrow(&test.id, &settings, names, &mut providers);
        if providers.is_empty() || !is_in_list {
            return Ok(());
        }
        self.check(origin, &test, &settings, &providers)?;
        self.resolve(origin, test, settings, providers)
    }

    /// The suite, in the file that `into` is a copy of.
    pub(crate) fn finish(mut self, file: File) -> Result<Suite, Problem> {
        self.out.flush().map_err(|error| cannot_write(&error))?;
        let providers = &self.scenario.providers;
        Ok(self.builder.finish(file, providers, self.blobs.into_paths()))
    }

    /// The providers that globs match.
    fn providers(
        &mut self,
        origin: &Origin<'_>,
        globs: Option<Vec<String>>,
    ) -> Result<Vec<u16>, Refused> {
        let all = (0..).zip(&self.names);
        let Some(globs) = globs else {
            return Ok(all.map(|(index, _)| index).collect());
        };
        if self.providers.0 != globs {
            for (index, glob) in globs.iter().enumerate() {
                if let Some((message, help)) = check::unmatched(glob, &self.names) {
                    let path = [Step::Key("providers".to_owned()), Step::Index(index)];
                    let places = origin.places(&path, Part::Value, "matches nothing");
                    let problem = Problem::new(message).with_help(help);
                    return Err(vec![problem.at_all(places)]);
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
        settings: &TestSettings,
        providers: &[u16],
    ) -> Result<(), Refused> {
        let who = || format!("test `{}`", test.id);
        let needs = providers.iter().flat_map(|index| &self.needs[usize::from(*index)]);
        let lacks = needs.filter_map(|need| {
            let problem = need.lack("input", &test.input, &test.files, &who)?;
            let problem = problem.at_all(origin.place("this test"));
            Some(problem.at_all(origin.scenario_place(&need.path, "needed here")))
        });
        let mut refused: Vec<_> = lacks.collect();
        let mut refuse = |what: String| {
            let problem = Problem::new(format!("{} has {what}", who()));
            refused.push(problem.at_all(origin.place("this test")));
        };
        let expect = &test.expect.expect;
        let expected = expect.equals.iter().chain(&expect.json);
        let mut values = expected.chain(&expect.contains).chain([&test.input]);
        if values.any(|value| is_deep(value, MAX_DEPTH)) {
            refuse(format!("a value of more than {MAX_DEPTH} levels"));
        }
        if settings.meta.len() > MAX_META {
            let count = settings.meta.len();
            refuse(format!(
                "{count} keys of `meta` with those of the defaults and its list, and {MAX_META} is the most"
            ));
        }
        match refused.is_empty() {
            true => Ok(()),
            false => Err(refused),
        }
    }

    fn resolve(
        &mut self,
        origin: &Origin<'_>,
        test: WrittenTest,
        settings: TestSettings,
        providers: Vec<u16>,
    ) -> Result<(), Refused> {
        let input = to_raw_value(&test.input).map_err(|error| vec![cannot_write(&error)])?;
        let files = self.attachments(origin, &test.files)?;
        let WrittenExpect { mut expect, schema } = test.expect;
        if let Some(path) = &schema {
            let schema = self.blobs.schema(self.scenario.folder.join(path));
            let schema = schema.map_err(|what| {
                refuse_file(origin, &["expect", "schema"], "schema", path, &what)
            })?;
            expect.schema = Some(schema);
        }
        let test = Test {
            id: test.id,
            input: &input,
            providers,
            repeat: settings.repeat.unwrap_or(1),
            tags: settings.tags.into_iter().map(Text::from).collect(),
            meta: settings.meta,
            files,
            timeout: settings.timeout.unwrap_or(DEFAULT_TIMEOUT),
            trial_timeout: settings.trial_timeout,
            retries: settings.retries.unwrap_or_default(),
            expect,
        };
        let written = self.write(&test);
        self.is_broken = written.is_err();
        written.map_err(|problem| vec![problem])
    }

    fn write(&mut self, test: &Test<'_>) -> Result<(), Problem> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, test).map_err(|error| cannot_write(&error))?;
        let pushed = self.builder.push(&self.line, &test.providers, test.repeat);
        pushed.map_err(|bound| {
            Problem::new(format!("a run has at most {bound}, and these are more"))
                .with_help("choose some with `--test` or `--provider`, or write a smaller `repeat`")
        })?;
        self.line.push(b'\n');
        let written = self.out.write_all(&self.line);
        written.map_err(|error| cannot_write(&error))
    }

    fn attachments<'t>(
        &mut self,
        origin: &Origin<'_>,
        files: &'t [(String, String)],
    ) -> Result<Vec<Attachment<'t>>, Refused> {
        let attachment = |(name, path): &'t (String, String)| {
            let read = self.blobs.attachment(origin.folder().join(path));
            let (sha256, bytes) = read
                .map_err(|what| refuse_file(origin, &["files", name], "attachment", path, &what))?;
            Ok(Attachment { name: name.as_str().into(), sha256, bytes })
        };
        files.iter().map(attachment).collect()
    }
}

pub(crate) fn cannot_write(error: &dyn Display) -> Problem {
    Problem::new(format!("cannot write the suite: {error}"))
}

fn refuse_file(origin: &Origin<'_>, path: &[&str], noun: &str, file: &str, what: &str) -> Refused {
    let path = keys(path.iter().copied());
    let problem = Problem::new(format!("{noun} `{file}` {what}"));
    vec![problem.at_all(origin.places(&path, Part::Value, "this file"))]
}

/// Tells whether a value is nested deeper than so many levels.
fn is_deep(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deep(item, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|item| is_deep(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
