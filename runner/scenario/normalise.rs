//! From a [`Scenario`] and what was selected to the [`Suite`] of resolved tests.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufWriter, Write},
    sync::Arc,
    time::Duration,
};

use globset::GlobSet;
use serde::Serialize;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::{
    Mistake, Retries, Scenario, ScenarioError, Selection, Suite,
    attachments::Attachments,
    check::{self, At, FormError},
    error::RecordPlace,
    expect::Schema,
    form::Form,
    globs, keys,
    settings::Settings,
    source::{RecordRefusal, RecordSource, fill_in, id_of, visit_records},
    suite::{Definition, FileEntry, RetriesEntry, SuiteParts, TestLine},
    test_list::TestList,
};
use crate::model::{Digest, ProviderId, media_type};

const SHOWN_MISTAKES: usize = 10;

/// Resolves the tests of `scenario` that are selected: first its own, then those of its lists in the order written.
///
/// Reports the first mistakes in the lists and how many there are. Where nothing is selected the suite is empty.
pub fn normalise(scenario: &Scenario, selection: &Selection) -> Result<Suite, ScenarioError> {
    let filter = SelectionFilter::new(scenario, selection)?;
    let mut normaliser = Normaliser::new(scenario, filter).map_err(ScenarioError::Store)?;
    visit_records(scenario, &mut |source, record| {
        normaliser.take(source, record);
    });
    normaliser.finish()
}

/// What was selected on the command line.
struct SelectionFilter {
    tests: Option<GlobSet>,
    exclude: Option<GlobSet>,
    tags: Vec<String>,
    /// By place in the scenario.
    providers: Vec<bool>,
    repeat: Option<u32>,
}

impl SelectionFilter {
    fn new(scenario: &Scenario, selection: &Selection) -> Result<Self, ScenarioError> {
        let providers = compile(&selection.providers)?;
        let is_selected = |name: &str| providers.as_ref().is_none_or(|set| set.is_match(name));
        Ok(Self {
            tests: compile(&selection.tests)?,
            exclude: compile(&selection.exclude)?,
            tags: selection.tags.clone(),
            providers: scenario
                .providers
                .iter()
                .map(|provider| is_selected(provider.id.as_str()))
                .collect(),
            repeat: selection.repeat,
        })
    }

    fn selects(&self, test: &Resolved, list: Option<&TestList>) -> bool {
        let is_in = |set: &Option<GlobSet>| set.as_ref().map(|set| set.is_match(&test.id));
        let is_wanted =
            |select, exclude| is_in(select) != Some(false) && is_in(exclude) != Some(true);
        is_wanted(&self.tests, &self.exclude)
            && list.is_none_or(|list| is_wanted(&list.select, &list.exclude))
            && (self.tags.is_empty()
                || test.settings.tags.iter().any(|tag| self.tags.contains(tag)))
            && !test.providers.is_empty()
    }
}

impl Selection {
    /// Tells whether a provider is selected, whatever its tests are.
    pub fn has_provider(&self, provider: &ProviderId) -> Result<bool, ScenarioError> {
        let globs = compile(&self.providers)?;
        Ok(globs.is_none_or(|globs| globs.is_match(provider.as_str())))
    }
}

fn compile(globs: &[String]) -> Result<Option<GlobSet>, ScenarioError> {
    globs::set(globs.iter().map(String::as_str)).map_err(|source| ScenarioError::Selection {
        glob: source.glob().unwrap_or_default().to_owned(),
        source,
    })
}

/// A test with everything that its list and the defaults say.
struct Resolved {
    id: String,
    input: Value,
    expect: Arc<RawValue>,
    providers: Vec<u32>,
    settings: Settings,
    files: Map<String, Value>,
}

struct Normaliser<'s> {
    scenario: &'s Scenario,
    names: Vec<&'s str>,
    filter: SelectionFilter,
    file: BufWriter<File>,
    line: Vec<u8>,
    parts: SuiteParts,
    attachments: Attachments,
    schemas: HashMap<String, Digest>,
    /// Of every id, selected or not.
    ids: Vec<u64>,
    // What the last record had, because the next one mostly has the same.
    expect: Option<(Value, Arc<RawValue>)>,
    providers: Option<(Value, Vec<u32>)>,
    retries: Option<(Option<Retries>, Arc<RawValue>)>,
    mistakes: Mistakes,
    failure: Option<io::Error>,
}

impl<'s> Normaliser<'s> {
    fn new(scenario: &'s Scenario, filter: SelectionFilter) -> io::Result<Self> {
        let providers = scenario.providers.iter();
        Ok(Self {
            scenario,
            names: providers.map(|provider| provider.id.as_str()).collect(),
            filter,
            // Without a name: nothing is left of it, however the process ends.
            file: BufWriter::with_capacity(1 << 16, tempfile::tempfile()?),
            line: Vec::new(),
            parts: SuiteParts::new(scenario.grants_writing()),
            attachments: Attachments::default(),
            schemas: HashMap::new(),
            ids: Vec::new(),
            expect: None,
            providers: None,
            retries: None,
            mistakes: Mistakes::default(),
            failure: None,
        })
    }

    fn take(&mut self, source: &RecordSource<'_>, record: Result<Map<String, Value>, String>) {
        let taken = record
            .map_err(RecordRefusal::from)
            .and_then(|record| self.resolve(source, record))
            .and_then(|test| self.add(source, &test));
        if let Err(refusal) = taken {
            self.mistakes.add(&source.place, refusal);
        }
    }

    fn finish(mut self) -> Result<Suite, ScenarioError> {
        self.find_duplicates();
        self.mistakes.into_result()?;
        if let Some(error) = self.failure {
            return Err(ScenarioError::Store(error));
        }
        let stored = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error);
        let file = stored.map_err(ScenarioError::Store)?;
        let attachments = self.attachments.into_paths();
        Ok(self.parts.finish(file, true, attachments))
    }

    fn resolve(
        &mut self,
        source: &RecordSource<'_>,
        record: Map<String, Value>,
    ) -> Result<Resolved, RecordRefusal> {
        let mut test = match source.list {
            Some(from) => fill_in(from, source.number, record)?,
            None => record,
        };
        let expect = self.resolve_expect(test.remove("expect"))?;
        let test = Value::Object(test);
        refuse_first(&test, &keys::TEST)?;
        let Value::Object(mut test) = test else {
            unreachable!("it was made from a map")
        };

        let mut settings = Settings::read(&test);
        if let Some(from) = source.list {
            settings = settings.over(&from.list.settings);
        }
        let providers = self.providers(source, &mut test)?;
        let Some(Value::String(id)) = test.remove("id") else {
            return Err("`id` is missing".to_owned().into());
        };
        Ok(Resolved {
            id,
            input: test.remove("input").unwrap_or_default(),
            expect,
            providers,
            settings: settings.over(&self.scenario.defaults),
            files: match test.remove("files") {
                Some(Value::Object(files)) => files,
                _ => Map::new(),
            },
        })
    }

    fn providers(
        &mut self,
        source: &RecordSource<'_>,
        test: &mut Map<String, Value>,
    ) -> Result<Vec<u32>, RecordRefusal> {
        let written = test
            .remove("providers")
            .filter(|written| !written.is_null());
        let mut places = match (written, source.list) {
            (Some(written), _) => self.matching(written)?,
            (None, Some(from)) => from.list.providers.clone(),
            (None, None) => (0..).zip(&self.names).map(|(place, _)| place).collect(),
        };
        places.retain(|place| self.filter.providers[*place as usize]);
        Ok(places)
    }

    fn matching(&mut self, written: Value) -> Result<Vec<u32>, RecordRefusal> {
        if let Some((last, places)) = &self.providers
            && *last == written
        {
            return Ok(places.clone());
        }
        let table = Map::from_iter([("providers".to_owned(), written.clone())]);
        if let Some((_, glob)) = globs::unmatched(&table, &self.names).first() {
            return Err(RecordRefusal {
                message: format!("no provider matches `{glob}`"),
                help: Some(check::suggest(glob, &self.names)),
            });
        }
        let places = globs::matching(&table, &self.names);
        self.providers = Some((written, places.clone()));
        Ok(places)
    }

    /// Checks an expectation and writes it down; most records have the one of the record before.
    fn resolve_expect(&mut self, expect: Option<Value>) -> Result<Arc<RawValue>, RecordRefusal> {
        let mut expect = match expect {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(expect) => expect,
        };
        if let Some((last, text)) = &self.expect
            && *last == expect
        {
            return Ok(Arc::clone(text));
        }
        let written = expect.clone();
        let at = At::ROOT.key("expect");
        let mut findings = Vec::new();
        check::check(&expect, &keys::EXPECT, &at, &mut findings);
        refuse(findings)?;

        if let Some(map) = expect.as_object_mut() {
            // In a record an absent key; but `null` can be what is expected.
            map.retain(|key, value| !value.is_null() || ["equals", "json"].contains(&key.as_str()));
            if let Some(Value::String(file)) = map.get("schema") {
                let digest = self.schema(&file.clone())?;
                map.insert("schema".to_owned(), digest.to_string().into());
            }
        }
        let text: Arc<RawValue> = raw(&expect).into();
        self.expect = Some((written, Arc::clone(&text)));
        Ok(text)
    }

    fn schema(&mut self, file: &str) -> Result<Digest, RecordRefusal> {
        if let Some(digest) = self.schemas.get(file) {
            return Ok(*digest);
        }
        let refusal = |reason: String| RecordRefusal::from(format!("schema `{file}`: {reason}"));
        let path = self.scenario.directory.join(file);
        self.parts.name("a schema", &path);
        let bytes = fs_err::read(path).map_err(|error| refusal(error.to_string()))?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| refusal(format!("is not JSON: {error}")))?;
        let schema = Schema::compile(value.clone())
            .map_err(|error| refusal(format!("is no JSON Schema: {error}")))?;

        let text = value.to_string();
        let digest = Digest::of(text.as_bytes());
        let is_new = !self.schemas.values().any(|known| *known == digest);
        self.schemas.insert(file.to_owned(), digest);
        if is_new {
            let definition = Definition {
                define: digest.to_string(),
                schema: value,
            };
            self.write(&definition);
            self.parts.define(digest, Arc::new(schema), &self.line);
        }
        Ok(digest)
    }

    fn add(&mut self, source: &RecordSource<'_>, test: &Resolved) -> Result<(), RecordRefusal> {
        self.ids.push(hash_of(&test.id));
        for path in source.attachments(self.scenario, &test.files) {
            // Selected or not: it may be another time.
            self.parts.name("an attachment", &path);
        }
        if !self.filter.selects(test, source.list.map(|from| from.list)) {
            return Ok(());
        }
        self.find_lacks(source, test);
        let files = self.files(source, &test.files)?;
        let repeat = self.filter.repeat.or(test.settings.repeat).unwrap_or(1);
        let retries = self.retries(&test.settings);
        let line = TestLine {
            expect: &test.expect,
            files: &raw(&files),
            id: &test.id,
            input: &raw(&test.input),
            providers: &raw(&test.providers),
            repeat,
            retries: &retries,
            tags: &raw(&test.settings.tags),
            timeout: test.settings.timeout.map(nanos),
            trial_timeout: test.settings.trial_timeout.map(nanos),
        };
        self.write(&line);
        let trials = test.providers.len() as u64 * u64::from(repeat);
        self.parts.add(trials, &self.line);
        Ok(())
    }

    /// Looks for what the templates of its providers take from a test and it does not have.
    fn find_lacks(&mut self, source: &RecordSource<'_>, test: &Resolved) {
        let places = test.providers.iter().map(|place| *place as usize);
        for need in places.flat_map(|place| &self.scenario.needs[place]) {
            if let Some(refusal) = need.lack(&test.id, &test.input, &test.files) {
                self.mistakes.add(&source.place, refusal);
            }
        }
    }

    fn retries(&mut self, settings: &Settings) -> Arc<RawValue> {
        if let Some((last, text)) = &self.retries
            && *last == settings.retries
        {
            return Arc::clone(text);
        }
        let retries = settings.retries.clone().unwrap_or_default();
        let entry = RetriesEntry {
            backoff: nanos(retries.backoff),
            max: retries.max,
            on: retries.on.iter().map(|on| on.as_str().to_owned()).collect(),
        };
        let text: Arc<RawValue> = raw(&entry).into();
        self.retries = Some((settings.retries.clone(), Arc::clone(&text)));
        text
    }

    fn files(
        &mut self,
        source: &RecordSource<'_>,
        files: &Map<String, Value>,
    ) -> Result<Vec<FileEntry>, RecordRefusal> {
        let mut entries = Vec::new();
        for (name, file) in files {
            let file = file.as_str().unwrap_or_default();
            let path = source.directory(self.scenario).join(file);
            let (digest, bytes) = self
                .attachments
                .take(path)
                .map_err(|reason| format!("attachment `{file}`: {reason}"))?;
            entries.push(FileEntry {
                bytes,
                media_type: media_type(name).to_owned(),
                name: name.clone(),
                sha256: digest.to_string(),
            });
        }
        Ok(entries)
    }

    /// Writes a line. After a failure nothing more is written, and `finish` reports it.
    fn write(&mut self, value: &impl Serialize) {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value).expect("the value has only texts as keys");
        self.line.push(b'\n');
        if self.failure.is_none() {
            self.failure = self.file.write_all(&self.line).err();
        }
    }

    /// Looks for ids that are used twice. Only their hashes are kept, so where two are equal everything is read again.
    fn find_duplicates(&mut self) {
        self.ids.sort_unstable();
        let pairs = self.ids.windows(2).filter(|pair| pair[0] == pair[1]);
        let suspects: HashSet<u64> = pairs.map(|pair| pair[0]).collect();
        if suspects.is_empty() {
            return;
        }
        let mut first = HashMap::new();
        let mistakes = &mut self.mistakes;
        visit_records(self.scenario, &mut |source, record| {
            let Some(id) = record.ok().and_then(|record| id_of(source, record)) else {
                return;
            };
            if !suspects.contains(&hash_of(&id)) {
                return;
            }
            match first.get(&id) {
                Some(place) => {
                    let message = format!("the id `{id}` is already used at {place}");
                    mistakes.add(&source.place, message.into());
                }
                None => {
                    first.insert(id, source.place.clone());
                }
            }
        });
    }
}

fn refuse_first(value: &Value, form: &Form) -> Result<(), RecordRefusal> {
    let mut findings = Vec::new();
    check::check(value, form, &At::ROOT, &mut findings);
    refuse(findings)
}

/// One mistake per record is enough: the next look shows the next.
fn refuse(findings: Vec<FormError>) -> Result<(), RecordRefusal> {
    let Some(finding) = findings.into_iter().next() else {
        return Ok(());
    };
    let message = match finding.path.len() {
        0 | 1 => finding.message,
        _ => format!("`{}`: {}", check::show(&finding.path), finding.message),
    };
    Err(RecordRefusal {
        message,
        help: finding.help,
    })
}

#[derive(Default)]
struct Mistakes {
    first: Vec<Mistake>,
    total: usize,
}

impl Mistakes {
    fn add(&mut self, place: &RecordPlace, refusal: RecordRefusal) {
        self.total += 1;
        if self.first.len() < SHOWN_MISTAKES {
            self.first.push(Mistake {
                place: place.clone(),
                message: refusal.message,
                help: refusal.help,
            });
        }
    }

    fn into_result(self) -> Result<(), ScenarioError> {
        if self.total == 0 {
            return Ok(());
        }
        let hidden = self.total - self.first.len();
        Err(ScenarioError::Tests {
            more: (hidden > 0)
                .then(|| format!("these are the first of them; {hidden} more are not shown")),
            mistakes: self.first,
            total: self.total,
        })
    }
}

fn hash_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a checked duration is shorter than a year")
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("the value has only texts as keys")
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::FileExt as _, path::Path, sync::Arc};

    use crate::scenario::{Scenario, ScenarioError, Selection, Suite, Test, load, normalise};

    /// A folder with a scenario that has the providers `p`, `q` and `r`, and with `files` beside it.
    fn folder(scenario: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let providers = "providers.p.plugin = 'x.wasm'\nproviders.q.plugin = 'x.wasm'\nproviders.r.plugin = 'x.wasm'\n";
        let scenario = format!("{providers}{scenario}");
        for (name, text) in [("x.wasm", ""), ("s.toml", &scenario)].iter().chain(files) {
            let path = directory.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        directory
    }

    fn scenario(directory: &Path) -> Scenario {
        load(&directory.join("s.toml")).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn select(directory: &Path, selection: &Selection) -> Suite {
        normalise(&scenario(directory), selection).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn tests(suite: &Suite) -> Vec<Arc<Test>> {
        let mut reader = suite.reader();
        let indexes = 0..suite.test_count();
        indexes.map(|index| reader.test(index).unwrap()).collect()
    }

    fn ids(suite: &Suite) -> Vec<String> {
        tests(suite)
            .iter()
            .map(|test| test.id.to_string())
            .collect()
    }

    const LISTS: &str = "
        tests = [{ id = 'z', tags = ['one'], providers = ['q'], repeat = 2 }]
        [[test_lists]]
        files = ['lists/*.jsonl']
        tags = ['two']
        [[test_lists]]
        files = ['a.csv']
        id = '{{file.stem}}/{{row.n}}'
        exclude = ['*/2']
    ";

    /// The file of a suite, read by its handle.
    fn bytes(suite: &Suite) -> Vec<u8> {
        let file = suite.file();
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn lists() -> tempfile::TempDir {
        folder(
            LISTS,
            &[
                ("lists/b.jsonl", "{\"id\": \"b\"}\n"),
                ("lists/a.jsonl", "{\"id\": \"a\", \"tags\": [\"one\"]}\n"),
                ("a.csv", "n,id\n1,x\n2,y\n3,z\n"),
            ],
        )
    }

    #[test]
    fn tests_come_first_and_then_lists_in_the_order_written() {
        let directory = lists();
        let suite = select(directory.path(), &Selection::default());
        assert_eq!(ids(&suite), ["z", "a", "b", "a/1", "a/3"]);
        assert_eq!(suite.trial_count(), 2 + 4 * 3);
        assert_eq!(*tests(&suite)[1].tags, ["one".to_owned(), "two".to_owned()]);
    }

    #[test]
    fn the_command_line_selects_tests_providers_and_repeats() {
        let directory = lists();
        let select = |selection: Selection| {
            let suite = select(directory.path(), &selection);
            (ids(&suite).join(" "), suite.trial_count())
        };
        let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        let all = Selection::default;

        assert_eq!(
            select(Selection {
                tests: globs(&["a*", "z"]),
                ..all()
            }),
            ("z a a/1 a/3".into(), 11)
        );
        assert_eq!(
            select(Selection {
                exclude: globs(&["a*"]),
                ..all()
            }),
            ("z b".into(), 5)
        );
        assert_eq!(
            select(Selection {
                tags: globs(&["one"]),
                ..all()
            }),
            ("z a".into(), 5)
        );
        assert_eq!(
            select(Selection {
                providers: globs(&["[pr]"]),
                ..all()
            }),
            ("a b a/1 a/3".into(), 8)
        );
        assert_eq!(
            select(Selection {
                repeat: Some(5),
                ..all()
            }),
            ("z a b a/1 a/3".into(), 65)
        );
        assert_eq!(
            select(Selection {
                tests: globs(&["none"]),
                ..all()
            }),
            (String::new(), 0)
        );
        assert_eq!(
            select(Selection {
                providers: globs(&["none"]),
                ..all()
            }),
            (String::new(), 0)
        );
    }

    #[test]
    fn a_glob_of_the_command_line_that_is_none_is_refused() {
        let directory = lists();
        let selection = Selection {
            tests: vec!["[".into()],
            ..Selection::default()
        };
        let refused = normalise(&scenario(directory.path()), &selection);
        assert!(matches!(refused, Err(ScenarioError::Selection { glob, .. }) if glob == "["));
    }

    #[test]
    fn ordinals_count_tests_then_providers_then_repeats() {
        let records: String = (0..1000)
            .map(|n| format!("{{\"id\": \"t{n}\", \"repeat\": {}}}\n", n % 3 + 1))
            .collect();
        let directory = folder(
            "test_lists = [{ files = ['a.jsonl'] }]",
            &[("a.jsonl", &records)],
        );
        let suite = select(directory.path(), &Selection::default());
        let mut expected = Vec::new();
        for n in 0..1000 {
            for provider in 0..3 {
                expected.extend((1..=n % 3 + 1).map(|repeat| (format!("t{n}"), provider, repeat)));
            }
        }
        let mut reader = suite.reader();
        let mut at = |ordinal| {
            let (test, provider, repeat) = reader.at(ordinal).unwrap();
            (test.id.to_string(), provider, repeat)
        };
        assert_eq!(
            (0..suite.trial_count()).map(&mut at).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(at(0).0, "t0");
        assert!(reader.at(suite.trial_count()).is_err());
        assert!(reader.test(1000).is_err());
    }

    #[test]
    fn a_stored_suite_reads_back_the_same() {
        let list = "{\"id\": \"a\", \"input\": {\"b\": 1, \"a\": \"\\u00e9\"}, \"expect\": {\"schema\": \"s.json\"}, \"files\": {\"f\": \"f.txt\"}}\n";
        let directory = folder(
            "defaults = { retries = { max = 1 }, timeout = '5s' }\ntest_lists = [{ files = ['l/a.jsonl'] }]",
            &[
                ("l/a.jsonl", list),
                ("l/f.txt", "text"),
                ("s.json", "{\"type\": \"object\"}"),
            ],
        );
        let suite = select(directory.path(), &Selection::default());
        let path = directory.path().join("stored");
        fs_err::write(&path, bytes(&suite)).unwrap();
        let stored = fs_err::read_to_string(&path).unwrap();
        assert!(!stored.contains(directory.path().to_str().unwrap()));
        assert_eq!(suite.attachments().count(), 1);

        let opened = Suite::open(fs_err::File::open(&path).unwrap().into_parts().0).unwrap();
        assert_eq!((opened.digest(), opened.trial_count()), (suite.digest(), 3));
        assert_eq!(
            format!("{:?}", tests(&opened)),
            format!("{:?}", tests(&suite))
        );

        let test = &tests(&opened)[0];
        assert_eq!(&*test.input, "{\"a\":\"é\",\"b\":1}");
        assert_eq!((test.files[0].bytes, test.retries.on.len()), (4, 2));
        assert_eq!(test.timeout, Some(std::time::Duration::from_secs(5)));
        assert!(
            test.expect
                .schema
                .as_ref()
                .unwrap()
                .validator()
                .is_valid(&serde_json::json!({}))
        );
    }

    #[test]
    fn the_digest_of_a_test_covers_what_decides_its_result() {
        let digest = |test: &str| {
            let directory = folder(
                &format!("tests = [{{ id = 'a', {test} }}]"),
                &[("f.txt", "text")],
            );
            let test = &tests(&select(directory.path(), &Selection::default()))[0];
            (test.execution, test.judgement)
        };
        let plain = digest("input = 1");
        for same in [
            "input = 1, timeout = '1s'",
            "input = 1, repeat = 2",
            "input = 1, providers = ['p']",
        ] {
            assert_eq!(digest(same), plain, "{same}");
        }
        for other in [
            "input = 2",
            "input = 1, tags = ['t']",
            "input = 1, files = { f = 'f.txt' }",
        ] {
            assert_ne!(digest(other).0, plain.0, "{other}");
            assert_eq!(digest(other).1, plain.1, "{other}");
        }
        let judged = digest("input = 1, expect = { equals = 1 }");
        assert_eq!(judged.0, plain.0);
        assert_ne!(judged.1, plain.1);
    }

    #[test]
    fn where_a_list_has_no_template_a_record_is_a_test() {
        let refused = |list: &str| {
            let directory = folder(
                &format!("test_lists = [{{ files = ['a.jsonl'], {list} }}]"),
                &[("a.jsonl", "{\"id\": \"a\", \"want\": 1}\n")],
            );
            normalise(&scenario(directory.path()), &Selection::default()).is_err()
        };
        assert!(refused("input = 1"));
        assert!(!refused("input = '{{row.want}}'"));
        assert!(!refused("expect = { equals = '{{row.want}}' }"));
        assert!(!refused("id = 'x/{{row_number}}'"));
    }

    #[test]
    fn scenarios_and_lists_may_begin_with_a_mark_and_end_lines_as_windows_does() {
        let directory = folder(
            "",
            &[
                (
                    "w.toml",
                    "\u{feff}providers.p.plugin = 'x.wasm'\r\n[[test_lists]]\r\nfiles = ['*.json']\r\n",
                ),
                (
                    "a.json",
                    "\u{feff}[{\"id\": \"a\"},\r\n{\"id\": \"b\"}]\r\n",
                ),
            ],
        );
        let scenario =
            load(&directory.path().join("w.toml")).unwrap_or_else(|error| panic!("{error:?}"));
        let suite = normalise(&scenario, &Selection::default()).unwrap();
        assert_eq!(ids(&suite), ["a", "b"]);
        assert_eq!(scenario.name(), "w");
    }
}
