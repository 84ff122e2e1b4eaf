//! From a text to a valid [`Scenario`], or to everything that is wrong with it.

mod graders;
mod memory;
mod named;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    Budgets, Notify, OutputForm, Problem, Protocol, Provider, Rate, Reuse, RunOptions, Scenario,
    Stdin, Template,
    check::{self, At, FormError, Part, ValueStep},
    files::{self, ListFile, ListFormat},
    globs, grants, keys,
    matrix::{self, MatrixProviders},
    needs::{self, TestNeed},
    provider::read_limits,
    raw::{Document, Lines},
    reports,
    settings::{self, Settings},
    template::TemplateValue,
    test_list::TestList,
};
use crate::model::{Digest, PluginRole, ProviderId};

/// A test as the scenario itself writes it: checked, not yet resolved.
#[derive(Clone, Debug)]
pub(super) struct InlineTest {
    pub(super) record: Map<String, Value>,
    /// From 1.
    pub(super) line: u64,
}

const EXAMPLE: &str = r#"a scenario needs a provider and a test, for example:

[providers.echo]
plugin = "plugins/echo"

[[tests]]
id = "greeting"
input = "hello"
expect = { equals = "hello" }"#;

/// Whether the files that a scenario names must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedFiles {
    /// They are about to be read.
    Needed,
    /// Their content was stored when a run began, and nobody looks at them again.
    Stored,
}

/// Validates the text of the scenario in `path`.
pub(super) fn validate(
    path: &Path,
    text: &str,
    named_files: NamedFiles,
) -> Result<Scenario, Vec<Problem>> {
    let mut document = Document::parse(text)?;
    let mut problems = Vec::new();
    let mut value = document.value(&mut problems);
    if value.as_object().is_some_and(Map::is_empty) {
        return Err(vec![Problem::general("the scenario is empty", EXAMPLE)]);
    }
    let mut findings = Vec::new();
    let MatrixProviders {
        names,
        tables,
        idle,
    } = expand(&document, &mut value, &mut findings);
    document.make_providers(tables);
    let root = value.as_object().expect("a TOML text is a table");
    check::check(&value, &keys::SCENARIO, &At::ROOT, &mut findings);

    let mut validator = Validator {
        document: &document,
        text,
        graders: document.keys_in_order(&[ValueStep::Key("graders".into())]),
        directory: files::directory_of(path),
        names: names.iter().map(String::as_str).collect(),
        named_files,
        findings,
        problems,
    };
    let mut scenario = validator.scenario(path, root);
    scenario.idle_axes = idle;
    validator.finish()?;
    Ok(scenario)
}

/// Writes out the providers of matrices.
fn expand(
    document: &Document<'_>,
    value: &mut Value,
    findings: &mut Vec<FormError>,
) -> MatrixProviders {
    let providers = ValueStep::Key("providers".into());
    let written = document.keys_in_order(std::slice::from_ref(&providers));
    let keys_of = |name: &str| {
        let steps = [name, "matrix"].map(|key| ValueStep::Key(key.into()));
        let [name, matrix] = steps;
        let keys = document.keys_in_order(&[providers.clone(), name, matrix]);
        keys.into_iter().map(str::to_owned).collect()
    };
    matrix::expand(value, &written, keys_of, findings)
}

/// Builds the parts of a scenario. Where something is wrong it builds whatever it can, because the result is dropped.
struct Validator<'a> {
    document: &'a Document<'a>,
    text: &'a str,
    directory: PathBuf,
    /// The providers' names in the order written.
    names: Vec<&'a str>,
    /// The graders' names in the order written.
    graders: Vec<&'a str>,
    named_files: NamedFiles,
    findings: Vec<FormError>,
    problems: Vec<Problem>,
}

impl Validator<'_> {
    fn finish(self) -> Result<(), Vec<Problem>> {
        let mut problems = self.problems;
        let mut said = HashSet::new();
        for mut finding in self.findings {
            finding.path = self.document.written(finding.path);
            // What is wrong with a table that makes many providers is wrong once.
            if said.insert((check::show(&finding.path), finding.message.clone())) {
                problems.push(self.document.locate(finding));
            }
        }
        problems.sort_by_key(Problem::offset);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn scenario(&mut self, path: &Path, root: &Map<String, Value>) -> Scenario {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let empty = Map::new();
        let table = |key| root.get(key).and_then(Value::as_object).unwrap_or(&empty);
        let is_empty = |key| {
            root.get(key)
                .is_none_or(|value| *value == Value::Array(Vec::new()))
        };
        if is_empty("tests") && is_empty("test_lists") {
            self.general(
                "the scenario has no tests",
                "write `[[tests]]` or `[[test_lists]]`",
            );
        }
        let options = RunOptions::of_scenario(root, table("run"));
        let providers = self.providers(table("providers"));
        let graders = self.graders(table("graders"));
        let plugins = graders.iter().map(|grader| &grader.provider);
        self.memory(&options, providers.iter().chain(plugins));
        Scenario {
            name: string(root, "name").map_or_else(|| stem.into_owned(), str::to_owned),
            text: self.text.into(),
            path: path.to_owned(),
            directory: self.directory.clone(),
            options,
            providers,
            graders,
            reports: reports::read(table("report")),
            notify: Notify::read(table("notify")),
            idle_axes: Vec::new(),
            dimensions: root.contains_key("dimensions").then(|| {
                let keys = settings::strings(root, "dimensions");
                keys.map(str::to_owned).collect()
            }),
            defaults: Settings::read(table("defaults")),
            tests: self.tests(items(root, "tests")),
            lists: self.lists(items(root, "test_lists")),
            needs: self.needs(path, root),
        }
    }

    /// What each provider takes from its tests; a scenario that was stored has been looked through.
    fn needs(&mut self, path: &Path, root: &Map<String, Value>) -> Vec<Vec<TestNeed>> {
        if self.named_files == NamedFiles::Stored {
            return Vec::new();
        }
        needs::check(root, &mut self.findings);
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let mut lines = Lines::new(self.text);
        needs::of_providers(root, &self.names, &mut |at| {
            let span = self.document.span(&at.path(), Part::Value);
            format!("{file}:{}", lines.at(span.offset()))
        })
    }

    fn providers(&mut self, tables: &Map<String, Value>) -> Vec<Provider> {
        if self.names.is_empty() {
            self.general(
                "the scenario has no providers",
                "write `[providers.NAME]` with `plugin = \"FILE.wasm\"`",
            );
        }
        let names = self.names.clone();
        names
            .into_iter()
            .filter_map(|name| {
                let root = At::ROOT;
                let providers = root.key("providers");
                self.provider(name, tables.get(name)?.as_object()?, &providers.key(name))
            })
            .collect()
    }

    fn provider(
        &mut self,
        name: &str,
        table: &Map<String, Value>,
        at: &At<'_>,
    ) -> Option<Provider> {
        self.protocol(table, at);
        let plugin = string(table, "plugin")?;
        let path = self.plugin(plugin, &at.key("plugin"));
        let object = |key| table.get(key).and_then(Value::as_object);
        let args = settings::strings(table, "args");
        let output = string(table, "output").map(OutputForm::read);
        let limits = object("limits").map(read_limits).unwrap_or_default();
        let folders = match self.named_files {
            NamedFiles::Needed => Some(self.directory.as_path()),
            NamedFiles::Stored => None,
        };
        grants::check(table, &limits, folders, at, &mut self.findings);
        Some(Provider {
            id: ProviderId::parse(name).ok()?,
            role: PluginRole::Provider,
            plugin: path,
            sha256: string(table, "sha256").and_then(Digest::parse),
            config: object("config").cloned().unwrap_or_default().into(),
            protocol: string(table, "protocol").map(Protocol::read),
            args: args.filter_map(|text| Template::parse(text).ok()).collect(),
            stdin: table.get("stdin").and_then(Stdin::read),
            output: output.unwrap_or_default(),
            reuse: string(table, "reuse").and_then(Reuse::read),
            limits,
            grants: object("grants").map(grants::read).unwrap_or_default(),
            budgets: Budgets::of_provider(name, table.get("budget")),
            concurrency: settings::integer(table, "concurrency").and_then(NonZeroUsize::new),
            rate: string(table, "rate").and_then(Rate::parse),
        })
    }

    /// Refuses keys that do nothing with the protocol.
    fn protocol(&mut self, table: &Map<String, Value>, at: &At<'_>) {
        if string(table, "protocol") != Some("json") {
            return;
        }
        for key in ["args", "stdin", "output"] {
            if table.contains_key(key) {
                let message = format!("`{key}` is for plain commands, and `protocol` is `json`");
                self.report(&at.key(key), Part::Key, message, "does nothing", None);
            }
        }
    }

    fn tests(&mut self, tests: &[Value]) -> Vec<InlineTest> {
        let root = At::ROOT;
        let list = root.key("tests");
        let mut seen = HashMap::new();
        let mut built = Vec::new();
        let mut lines = Lines::new(self.text);
        for (index, test) in tests.iter().enumerate() {
            let Some(record) = test.as_object() else {
                continue;
            };
            let at = list.index(index);
            if let Some(id) = string(record, "id")
                && let Some(first) = seen.insert(id, index)
            {
                self.duplicate(id, first, index);
                seen.insert(id, first);
            }
            self.provider_globs(record, &at);
            self.attachments(record, &at);
            self.expect(record, &at);
            built.push(InlineTest {
                record: record.clone(),
                line: lines.at(self.document.item("tests", index)),
            });
        }
        built
    }

    fn duplicate(&mut self, id: &str, first: usize, second: usize) {
        let span = |index| {
            let path = [
                ValueStep::Key("tests".into()),
                ValueStep::Index(index),
                ValueStep::Key("id".into()),
            ];
            self.document.span(&path, Part::Value)
        };
        let problem = Problem::new(
            format!("the id `{id}` is used twice"),
            "and again here",
            span(second),
        )
        .and_label("first here", span(first));
        self.problems.push(problem);
    }

    fn attachments(&mut self, record: &Map<String, Value>, at: &At<'_>) {
        let Some(files) = record.get("files").and_then(Value::as_object) else {
            return;
        };
        let at = at.key("files");
        for (name, file) in files {
            if let Some(file) = file.as_str() {
                self.existing_file("attachment", file, &at.key(name));
            }
        }
    }

    fn expect(&mut self, record: &Map<String, Value>, at: &At<'_>) {
        let Some(expect) = record.get("expect").and_then(Value::as_object) else {
            return;
        };
        let at = at.key("expect");
        self.expected_graders(expect, &at);
        if let Some(file) = string(expect, "schema").filter(|file| !file.contains("{{")) {
            self.existing_file("schema", file, &at.key("schema"));
        }
        if expect.contains_key("tolerance") && !expect.contains_key("json") {
            let message =
                "`tolerance` says how far numbers of `json` may be off, and there is none";
            self.report(
                &at.key("tolerance"),
                Part::Key,
                message.to_owned(),
                "does nothing",
                None,
            );
        }
    }

    /// Reports globs over providers that match none.
    fn provider_globs(&mut self, record: &Map<String, Value>, at: &At<'_>) {
        let names = self.names.clone();
        let at = at.key("providers");
        for (index, glob) in globs::unmatched(record, &names) {
            let message = format!("no provider matches `{glob}`");
            let help = Some(check::suggest_provider(glob, &names));
            self.report(
                &at.index(index),
                Part::Value,
                message,
                "matches nothing",
                help,
            );
        }
    }

    fn lists(&mut self, lists: &[Value]) -> Vec<TestList> {
        let root = At::ROOT;
        let at = root.key("test_lists");
        let maps = lists.iter().enumerate();
        maps.filter_map(|(index, list)| self.list(list.as_object()?, &at.index(index)))
            .collect()
    }

    fn list(&mut self, list: &Map<String, Value>, at: &At<'_>) -> Option<TestList> {
        self.expect(list, at);
        let (files, folders) = self.list_files(list, at);
        self.provider_globs(list, at);
        let shape = |key| list.get(key).map(TemplateValue::parse).transpose().ok();
        let (input, expect, meta) = (shape("input")?, shape("expect")?, shape("meta")?);
        let reference = shape("reference")?;
        let mut shapes = input.iter().chain(&reference).chain(&expect).chain(&meta);
        Some(TestList {
            is_data: list.contains_key("id") || shapes.any(TemplateValue::is_template),
            files,
            folders,
            providers: globs::matching(list, &self.names),
            id: string(list, "id").map(Template::parse).transpose().ok()?,
            input,
            reference,
            expect,
            meta,
            settings: Settings {
                // Each record has its own.
                meta: Map::new(),
                ..Settings::read(list)
            },
            select: globs::set(settings::strings(list, "select")).ok()?,
            exclude: globs::set(settings::strings(list, "exclude")).ok()?,
        })
    }

    fn list_files(
        &mut self,
        list: &Map<String, Value>,
        at: &At<'_>,
    ) -> (Vec<ListFile>, BTreeSet<PathBuf>) {
        let at = at.key("files");
        let mut found: Vec<ListFile> = Vec::new();
        let mut folders = BTreeSet::new();
        if self.named_files == NamedFiles::Stored {
            return (found, folders);
        }
        for (index, glob) in settings::strings(list, "files").enumerate() {
            let at = at.index(index);
            let matching = match files::find(&self.directory, glob) {
                Ok(matching) => matching,
                // A glob that cannot be understood has been reported already.
                Err(_) if globs::over_files(glob).is_err() => continue,
                Err(error) => {
                    let message = format!("`{glob}` cannot be searched: {error}");
                    self.report(&at, Part::Value, message, "this glob", None);
                    continue;
                }
            };
            folders.extend(matching.folders);
            if matching.names.is_empty() {
                let help = format!(
                    "it is relative to the scenario, in {}",
                    self.directory.display()
                );
                let message = format!("no file matches `{glob}`");
                self.report(&at, Part::Value, message, "matches nothing", Some(help));
            }
            for name in matching.names {
                let path = self.directory.join(&name);
                let Some(format) = ListFormat::of(&path) else {
                    let help =
                        "a test list ends in `.jsonl`, `.json`, `.csv` or `.toml`".to_owned();
                    let message = format!("`{name}` is not a test list");
                    self.report(&at, Part::Value, message, "matches it", Some(help));
                    continue;
                };
                if !found.iter().any(|file| *file.name == *name) {
                    found.push(ListFile {
                        name: name.into(),
                        path,
                        format,
                    });
                }
            }
        }
        (found, folders)
    }

    fn report(
        &mut self,
        at: &At<'_>,
        part: Part,
        message: String,
        label: &str,
        help: Option<String>,
    ) {
        let mut finding = at.finding(part, message, label);
        finding.help = help;
        self.findings.push(finding);
    }

    fn general(&mut self, message: &str, help: &str) {
        self.problems.push(Problem::general(message, help));
    }
}

fn string<'a>(table: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

fn items<'a>(table: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    table
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
