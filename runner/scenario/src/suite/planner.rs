//! [`Planner`]: applies defaults to tests, selects among them, and writes their lines.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{collections::BTreeMap, fmt::Display, mem, ops::ControlFlow};

use globset::GlobSet;
use runner_model::test::{Attachment, Expect, Retries, Test};
use runner_model::workspace::KeptChanges;
use runner_model::{
    Digest, Text, globs,
    row::{MAX_DEPTH, MAX_GRADERS},
    visible::shown_path,
};
use runner_model::{
    alike::appearance,
    provider::{Provider, ProviderFile},
};
use serde_json::value::to_raw_value;

use crate::{
    filter::Filter,
    keys::{
        DEFAULT_TIMEOUT, MAX_META, Repeat, TestSettings, WrittenExpect, WrittenTest,
        template_inputs::{TestInput, test_inputs},
        unmatched_glob,
    },
    lists::{Origin, TestChunk},
    problem::{Problem, Problems},
    project::Refusal,
    reading::{Part, Places, Step, keys, similar, suggest},
    scenario::Scenario,
    suite::{
        Base, SuiteFile, TestFacts,
        base::check_chosen,
        blobs::{Blobs, golden_file, is_deep},
        hash,
        selection::{Selection, narrow},
    },
};

/// Problems of tests and lists that are shown.
pub(crate) const MAX_SHOWN: usize = 10;
/// Bytes of lines after which a block is sent.
const BLOCK_BYTES: usize = 128 << 10;

/// The parts of a scenario and a selection that apply to all tests. Threads share it.
pub(crate) struct PlanRules<'s> {
    scenario: &'s Scenario,
    names: Vec<&'s str>,
    /// The names of graders.
    graders: Vec<&'s str>,
    /// The names of unused providers, too.
    all_names: Vec<&'s str>,
    selection: &'s Selection,
    /// `None` if all tests are selected.
    filter: Option<Filter>,
    /// `select` and `exclude` of each list.
    lists: Vec<(Option<GlobSet>, GlobSet)>,
    /// The inputs that each provider needs from its tests.
    inputs: Vec<Vec<TestInput<'s>>>,
    // Locked while a file is read, so that each file is read once.
    blobs: Mutex<Blobs>,
}

/// Applies the rules to the tests of a chunk.
pub(crate) struct Planner<'p> {
    rules: &'p PlanRules<'p>,
    /// The globs of the last test and their matches. Most tests have the same as the one before.
    last_providers: (Vec<String>, Vec<u16>),
    block: Block,
}

/// Consecutive planned tests, and the problems after them.
#[derive(Default)]
pub(crate) struct Block {
    pub(crate) tests: Vec<PlannedTest>,
    /// The lines of the selected tests, each with its line break.
    pub(crate) lines: Vec<u8>,
    pub(crate) problems: Problems,
}

pub(crate) struct PlannedTest {
    /// The hash of the id.
    pub(crate) hash: u64,
    /// The list whose record it is, unless the list's `select` or `exclude` leaves it out.
    pub(crate) list: Option<usize>,
    /// The end of the test's line in its block.
    pub(crate) end: usize,
    /// Empty if the test has no line, since it is invalid or not selected.
    pub(crate) providers: Vec<u16>,
    pub(crate) repeat: Repeat,
    pub(crate) facts: TestFacts,
}

/// Receives a block. May end the planning.
pub(crate) type SendBlock<'v> = dyn FnMut(Block) -> ControlFlow<()> + 'v;

impl<'s> PlanRules<'s> {
    pub(crate) fn new(scenario: &'s Scenario, selection: &'s Selection) -> Result<Self, Problem> {
        let lists = scenario.lists.iter().map(|list| {
            let select = list.select.as_ref().map(|select| globs::over_ids(select)).transpose()?;
            Ok((select, globs::over_ids(&list.exclude)?))
        });
        let lists: Result<_, String> = lists.collect();
        let tested = scenario.providers.iter().filter(|provider| provider.is_tested());
        let names = tested.map(|provider| &*provider.name);
        Ok(Self {
            scenario,
            all_names: names.clone().chain(scenario.unused.iter().map(String::as_str)).collect(),
            names: names.collect(),
            graders: (scenario.providers.iter())
                .filter(|provider| provider.grading.is_some())
                .map(|provider| &*provider.name)
                .chain(scenario.unused.iter().map(String::as_str))
                .collect(),
            selection,
            filter: selection.compile()?,
            lists: lists.map_err(|reason| {
                Problem::new(format!(
                    "the globs of `select` or `exclude` are together invalid: {reason}"
                ))
            })?,
            inputs: scenario.providers.iter().map(test_inputs).collect(),
            blobs: Mutex::default(),
        })
    }

    /// Plans the tests of a chunk in order.
    pub(crate) fn plan(&self, chunk: TestChunk<'_>, send: &mut SendBlock<'_>) -> ControlFlow<()> {
        let mut planner =
            Planner { rules: self, last_providers: Default::default(), block: Block::default() };
        chunk.visit(&mut |test| {
            let added = test.and_then(|(origin, test)| planner.add(&origin, test));
            let block = &mut planner.block;
            for problem in added.err().into_iter().flatten() {
                block.problems.add(MAX_SHOWN, problem);
            }
            // A block with problems is sent now: its problems are reported after its tests, and before the next block.
            if block.lines.len() < BLOCK_BYTES && block.problems.count() == 0 {
                return ControlFlow::Continue(());
            }
            send(mem::take(block))
        })?;
        send(planner.block)
    }

    /// Returns whether `select` and `exclude` of a list leave a test in it.
    fn is_in_list(&self, id: &str, list: usize) -> bool {
        let (select, exclude) = &self.lists[list];
        select.as_ref().is_none_or(|select| select.is_match(id)) && !exclude.is_match(id)
    }

    /// Returns the attachments and schemas, and the bases, by digest.
    pub(crate) fn into_files(self) -> (BTreeMap<Digest, SuiteFile>, BTreeMap<Digest, Base>) {
        self.blobs.into_inner().unwrap_or_else(PoisonError::into_inner).into_parts()
    }

    fn blobs(&self) -> MutexGuard<'_, Blobs> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Planner<'_> {
    /// Adds a test, if it is selected.
    fn add(&mut self, origin: &Origin<'_>, mut test: WrittenTest) -> Result<(), Vec<Problem>> {
        let hash = hash(&appearance(&test.id));
        let end = self.block.lines.len();
        let rules = self.rules;
        let list = match origin {
            Origin::Scenario(..) => None,
            Origin::Record(record) => {
                rules.is_in_list(&test.id, record.index).then_some(record.index)
            }
        };
        let is_in_list = list.is_some() || matches!(origin, Origin::Scenario(..));
        let providers = Vec::new();
        let repeat = Repeat { max: 0, until: None };
        let facts = TestFacts::default();
        self.block.tests.push(PlannedTest { hash, list, end, providers, repeat, facts });
        let mut settings = mem::take(&mut test.settings);
        let mut globs = test.providers.take();
        if let Origin::Record(record) = origin {
            settings = settings.over(&record.list.settings);
            globs = globs.or_else(|| record.list.providers.clone());
        }
        let settings = settings.over(&rules.scenario.defaults);
        let mut providers = self.providers(origin, globs)?;
        if let Some(filter) = &rules.filter {
            narrow(filter, &test.id, &settings, &rules.names, &mut providers);
        }
        if providers.is_empty() || !is_in_list {
            return Ok(());
        }
        self.check(origin, &test, &settings, &providers)?;
        self.resolve(origin, test, settings, providers)
    }

    /// Returns the providers that globs match.
    fn providers(
        &mut self,
        origin: &Origin<'_>,
        globs: Option<Vec<String>>,
    ) -> Result<Vec<u16>, Vec<Problem>> {
        let names = &self.rules.names;
        let all = (0..).zip(names);
        let Some(globs) = globs else {
            return Ok(all.map(|(index, _)| index).collect());
        };
        if self.last_providers.0 != globs {
            for (index, glob) in globs.iter().enumerate() {
                if let Some((message, help)) = unmatched_glob(glob, &self.rules.all_names) {
                    let path = [Step::Key("providers".to_owned()), Step::Item(index)];
                    let places = origin.places(&path, Part::Value, "no match");
                    let problem = Problem::new(message).with_help(help);
                    return Err(vec![problem.at_all(places)]);
                }
            }
            let set = globs::over_ids(&globs).map_err(|reason| {
                let path = [Step::Key("providers".to_owned())];
                let places = origin.places(&path, Part::Value, "these globs");
                vec![
                    Problem::new(format!(
                        "the globs of `providers` are together invalid: {reason}"
                    ))
                    .at_all(places),
                ]
            })?;
            let matching = all.filter(|(_, name)| set.is_match(name));
            self.last_providers = (globs, matching.map(|(index, _)| index).collect());
        }
        Ok(self.last_providers.1.clone())
    }

    /// Checks that the providers of a test have their inputs, and that the test is within its bounds.
    fn check(
        &self,
        origin: &Origin<'_>,
        test: &WrittenTest,
        settings: &TestSettings,
        providers: &[u16],
    ) -> Result<(), Vec<Problem>> {
        let named = self.graders(&test.expect.expect.graders);
        let used = providers.iter().map(|index| usize::from(*index)).chain(named.iter().copied());
        let inputs = used.flat_map(|index| &self.rules.inputs[index]);
        let mut problems: Vec<_> = inputs
            .filter_map(|input| {
                let problem = input.missing_in(test)?.at_all(origin.place("this test"));
                Some(problem.at_all(origin.scenario_place(&input.path, "needed here")))
            })
            .collect();
        problems.extend(self.file_twice(origin, test, providers));
        let expect = &test.expect.expect;
        let all = &self.rules.scenario.providers;
        let graders = || origin.places(&keys(["expect", "graders"]), Part::Value, "named here");
        let has_too_many = expect.graders.len() > MAX_GRADERS;
        for (index, name) in expect.graders.iter().enumerate().filter(|_| !has_too_many) {
            if !self.rules.graders.contains(&&**name) {
                let problem = Problem::new(format!("the scenario has no grader `{name}`"));
                let help = if self.rules.graders.is_empty() {
                    format!("add a table for it: `[graders.{name}]`")
                } else {
                    suggest(name, self.rules.graders.iter().copied())
                };
                problems.push(problem.with_help(help).at_all(graders()));
            }
            if expect.graders[..index].contains(name) {
                let problem = Problem::new(format!("the grader `{name}` is named twice"));
                problems.push(problem.at_all(graders()));
            }
        }
        let expected = expect.workspace.as_ref().map(|_| {
            let places = origin.places(&keys(["expect", "workspace"]), Part::Key, "expected here");
            ("`expect.workspace` is about a workspace".to_owned(), places)
        });
        let reads = |grader: &&Provider| {
            grader.grading.as_ref().is_some_and(|grading| grading.workspace.is_some())
        };
        let readers = named.iter().map(|index| &all[*index]).filter(reads);
        let readers = readers
            .map(|grader| (format!("grader `{}` reads a workspace", grader.name), graders()));
        for (reader, places) in expected.into_iter().chain(readers) {
            for index in providers {
                let Provider { name, workspace, .. } = &all[usize::from(*index)];
                let (reason, help) = match workspace.as_ref().map(|workspace| workspace.keep) {
                    Some(KeptChanges::Changes) => continue,
                    Some(KeptChanges::None) => {
                        ("keeps no changes of its workspace", "remove `keep = \"none\"` there")
                    }
                    None => ("has no workspace", "give it a `workspace`"),
                };
                let help = format!("restrict `providers` of the test, or {help}");
                let problem = Problem::new(format!("{reader}, and provider `{name}` {reason}"));
                let provider = origin.scenario_place(&keys(["providers", name]), "this provider");
                let problem = problem.with_help(help).at_all(places.clone());
                problems.push(problem.at_all(provider));
            }
        }
        problems.extend(self.missing_tools(origin, expect, providers));
        let mut refuse = |excess: String| {
            let problem = Problem::new(format!("test `{}` has {excess}", test.id));
            problems.push(problem.at_all(origin.place("this test")));
        };
        if has_too_many {
            let count = expect.graders.len();
            refuse(format!("{count} graders; at most {MAX_GRADERS} are allowed"));
        }
        let expected = expect.equals.iter().chain(&expect.json).chain(&expect.not.equals);
        let lists =
            [&expect.equals_any, &expect.contains, &expect.contains_any, &expect.not.contains];
        let stderr = expect.stderr.iter().flat_map(|text| {
            let lists = [&text.contains, &text.contains_any, &text.not.contains];
            lists.into_iter().flatten().chain(&text.not.equals)
        });
        let mut values =
            expected.chain(lists.into_iter().flatten()).chain(stderr).chain([&test.input]);
        if values.any(|value| is_deep(value, MAX_DEPTH)) {
            refuse(format!("a value of more than {MAX_DEPTH} levels"));
        }
        if settings.meta.len() > MAX_META {
            let count = settings.meta.len();
            refuse(format!(
                "{count} keys of `meta` with those of the defaults and its list; at most {MAX_META} are allowed"
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Returns the problems of expected calls that no provider of a test can make: their checks would fail, or pass by mistake.
    fn missing_tools(
        &self,
        origin: &Origin<'_>,
        expect: &Expect,
        providers: &[u16],
    ) -> Vec<Problem> {
        let Some(expected) = &expect.transcript else { return Vec::new() };
        let all = &self.rules.scenario.providers;
        let tools = || self.rules.scenario.tools.iter().map(String::as_str);
        let mut problems = Vec::new();
        let calls = expected.calls.iter().map(|name| (name, "calls"));
        let calls = calls.chain(expected.call.iter().map(|call| (&call.tool, "call")));
        let named = calls.chain(expected.never.iter().map(|name| (name, "never")));
        let is_plain = |name: &String| !name.contains(['*', '?', '[', '{', '\\']);
        for (name, key) in named.filter(|(name, _)| is_plain(name)) {
            let places = || {
                let path = keys(["expect", "transcript", key]);
                origin.places(&path, Part::Value, "expected here")
            };
            if !tools().any(|tool| tool == name) {
                problems.extend(similar(name, tools()).map(|near| {
                    let problem = Problem::new(format!("the scenario has no tool `{name}`"));
                    problem.with_help(format!("did you mean `{near}`?")).at_all(places())
                }));
                continue;
            }
            let of_test = providers.iter().map(|index| &all[usize::from(*index)]);
            let lacks = |provider: &&Provider| !provider.grants.tools.contains(name);
            for provider in of_test.filter(|_| key != "never").filter(lacks) {
                let table = &provider.name;
                let problem = Problem::new(format!(
                    "a call of tool `{name}` is expected, and provider `{table}` is not granted it"
                ));
                let help =
                    "add it to `grants.tools` of the provider, or restrict `providers` of the test";
                let place = origin.scenario_place(&keys(["providers", table]), "this provider");
                problems.push(problem.with_help(help).at_all(places()).at_all(place));
            }
        }
        problems
    }

    /// Returns the problem of a file that both a test and one of its providers name.
    fn file_twice(
        &self,
        origin: &Origin<'_>,
        test: &WrittenTest,
        indexes: &[u16],
    ) -> Option<Problem> {
        let providers = &self.rules.scenario.providers;
        let (provider, file) = indexes.iter().find_map(|index| {
            let provider = providers.get(usize::from(*index))?;
            let is_named = |file: &&ProviderFile| test.files.iter().any(|own| own.0 == file.name);
            Some((provider, &provider.files.iter().find(is_named)?.name))
        })?;
        let message = format!(
            "test `{}` and provider `{}` both have a file `{file}`",
            test.id, provider.name
        );
        let of_test = origin.places(&keys(["files", file]), Part::Value, "of the test");
        let path = keys(["providers", &provider.name, "files", file]);
        let of_provider = origin.scenario_place(&path, "of the provider");
        let problem = Problem::new(message).with_help("rename or remove one of them");
        Some(problem.at_all(of_test).at_all(of_provider))
    }

    fn resolve(
        &mut self,
        origin: &Origin<'_>,
        test: WrittenTest,
        settings: TestSettings,
        providers: Vec<u16>,
    ) -> Result<(), Vec<Problem>> {
        let input = to_raw_value(&test.input).map_err(|error| vec![cannot_write(&error)])?;
        let reference = test.reference.as_ref().map(to_raw_value).transpose();
        let reference = reference.map_err(|error| vec![cannot_write(&error)])?;
        let files = self.attachments(origin, &test.files)?;
        let bases = self.bases(origin, &test, &providers)?;
        let grader_files = self.grader_files(origin, &test)?;
        let WrittenExpect { mut expect, schema } = test.expect;
        if let Some(path) = &schema {
            let Scenario { project, folder, .. } = self.rules.scenario;
            let checked = origin.check_chosen("schema", path);
            let read = checked.and_then(|()| self.rules.blobs().schema(project, folder.join(path)));
            let digest = read.map_err(|refusal| {
                file_problem(origin, &["expect", "schema"], "schema", path, refusal)
            })?;
            expect.schema = Some(digest);
        }
        if let Some(path) = &expect.file {
            let Scenario { project, folder, .. } = self.rules.scenario;
            let checked = origin.check_chosen("file", path);
            let golden = checked.and_then(|()| golden_file(project, &folder.join(path)));
            expect.equals = golden.map_err(|refusal| {
                file_problem(origin, &["expect", "file"], "golden file", path, refusal)
            })?;
        }
        expect.judge_partial = settings.judge_partial.unwrap_or_default();
        let overrides = &self.rules.selection.selected.overrides;
        let mut retries = settings.retries;
        if let Some(max) = overrides.retries {
            retries.get_or_insert_with(Retries::of_network).max = max;
        }
        let given = overrides.repeat.map(|max| Repeat { max, until: None });
        let repeat = given.or(settings.repeat).unwrap_or(Repeat { max: 1, until: None });
        let test = Test {
            id: test.id,
            input: &input,
            providers,
            repeat: repeat.max,
            until: repeat.until,
            weight: settings.weight.unwrap_or(1.0),
            tags: settings.tags.into_iter().map(Text::from).collect(),
            meta: settings.meta,
            files,
            bases,
            grader_files,
            timeout: settings.timeout.unwrap_or(DEFAULT_TIMEOUT),
            trial_timeout: settings.trial_timeout,
            retries,
            reference: reference.as_deref(),
            expect,
        };
        let lines = &mut self.block.lines;
        serde_json::to_writer(&mut *lines, &test).map_err(|error| vec![cannot_write(&error)])?;
        lines.push(b'\n');
        if let Some(planned) = self.block.tests.last_mut() {
            planned.end = lines.len();
            planned.facts = TestFacts {
                is_unchecked: test.expect.is_empty(),
                may_be_weak: test.expect.may_be_weak(),
                has_only_input: test.has_only_input(),
            };
            (planned.providers, planned.repeat) = (test.providers, repeat);
        }
        Ok(())
    }

    fn attachments<'t>(
        &self,
        origin: &Origin<'_>,
        files: &'t [(String, String)],
    ) -> Result<Vec<Attachment<'t>>, Vec<Problem>> {
        files
            .iter()
            .map(|(name, path)| {
                let rules = self.rules;
                let file = origin.folder().join(path);
                let (sha256, bytes) = origin
                    .check_granted(&file)
                    .and_then(|()| rules.blobs().attachment(&rules.scenario.project, file))
                    .map_err(|refusal| {
                        file_problem(origin, &["files", name], "attachment", path, refusal)
                    })?;
                Ok(Attachment { name: name.as_str().into(), sha256, bytes })
            })
            .collect()
    }

    /// Returns the base of each provider with a workspace that starts as a folder.
    fn bases(
        &self,
        origin: &Origin<'_>,
        test: &WrittenTest,
        providers: &[u16],
    ) -> Result<BTreeMap<u16, Digest>, Vec<Problem>> {
        let Scenario { providers: all, project, folder, .. } = self.rules.scenario;
        let mut bases = BTreeMap::new();
        let mut problems = Vec::new();
        for index in providers {
            let Provider { name, workspace, .. } = &all[usize::from(*index)];
            let from = workspace.as_ref().and_then(|workspace| workspace.from.as_ref());
            let Some(from) = from else { continue };
            // `check` has reported missing values.
            let Ok(path) = from.render_text(&[("input", &test.input)]) else { continue };
            let base = check_chosen("from", from, &path)
                .and_then(|()| self.rules.blobs().base(project, folder.join(&path)));
            match base {
                Ok(digest) => drop(bases.insert(*index, digest)),
                Err(refusal) => {
                    let key = keys(["providers", name, "workspace", "from"]);
                    let places = origin.path_places(from, &key, "this folder");
                    let workspace = format!("workspace `{path}`");
                    problems.push(Problem::refused(&workspace, refusal).at_all(places));
                }
            }
        }
        if problems.is_empty() { Ok(bases) } else { Err(problems) }
    }

    /// Returns the indexes of graders among the providers.
    fn graders(&self, names: &[String]) -> Vec<usize> {
        let all = &self.rules.scenario.providers;
        let index =
            |name: &String| all.iter().position(|one| one.grading.is_some() && *one.name == **name);
        names.iter().filter_map(index).collect()
    }

    /// Returns the files that each grader of a test puts into workspaces, as a base.
    fn grader_files(
        &self,
        origin: &Origin<'_>,
        test: &WrittenTest,
    ) -> Result<BTreeMap<String, Digest>, Vec<Problem>> {
        let Scenario { providers: all, project, folder, .. } = self.rules.scenario;
        // All have the same one if a grader has files.
        let mount = all.iter().find_map(|one| Some(&*one.workspace.as_ref()?.mount));
        let mut bases = BTreeMap::new();
        let mut problems = Vec::new();
        for index in self.graders(&test.expect.expect.graders) {
            let Provider { name, grading, .. } = &all[index];
            let workspace = grading.as_ref().and_then(|grading| grading.workspace.as_ref());
            let mut trees = Vec::new();
            for (place, template) in workspace.iter().flat_map(|workspace| &workspace.hidden) {
                // `check` has reported missing values and workspaces, and the path was checked when it was read.
                let Ok(path) = template.render_text(&[("input", &test.input)]) else { continue };
                let inner = mount.and_then(|mount| place.strip_prefix(mount)?.strip_prefix('/'));
                let Some(inner) = inner else { continue };
                let tree = check_chosen("hidden", template, &path)
                    .and_then(|()| self.rules.blobs().grader_file(project, folder.join(&path)));
                match tree {
                    Ok(tree) => trees.push((inner.to_owned(), tree)),
                    Err(refusal) => {
                        let key = keys(["graders", name, "hidden", place]);
                        let places = origin.path_places(template, &key, "this path");
                        let file = format!("`{path}` of grader `{name}`");
                        problems.push(Problem::refused(&file, refusal).at_all(places));
                    }
                }
            }
            if trees.is_empty() {
                continue;
            }
            match self.rules.blobs().grader_files(trees) {
                Ok(digest) => drop(bases.insert(name.to_string(), digest)),
                Err(reason) => {
                    let key = keys(["graders", name, "hidden"]);
                    let problem =
                        Problem::new(format!("the workspace of grader `{name}` {reason}"));
                    problems.push(
                        problem
                            .at_all(origin.scenario_place(&key, "from these files"))
                            .at_all(origin.place("of this test")),
                    );
                }
            }
        }
        if problems.is_empty() { Ok(bases) } else { Err(problems) }
    }
}

pub(crate) fn cannot_write(error: &dyn Display) -> Problem {
    let folder = shown_path(&std::env::temp_dir());
    let message = format!("cannot write the tests into a temporary file in {folder}: {error}");
    let mut problem = Problem::new(message)
        .with_help("free some space or inodes, raise `ulimit -f`, or set TMPDIR to another folder");
    problem.is_of_machine = true;
    problem
}

fn file_problem(
    origin: &Origin<'_>,
    path: &[&str],
    noun: &str,
    file: &str,
    refusal: Refusal,
) -> Vec<Problem> {
    let places = origin.places(&keys(path.iter().copied()), Part::Value, "this file");
    vec![Problem::refused(&format!("{noun} `{file}`"), refusal).at_all(places)]
}
