//! From a [`Scenario`] and what was selected to the [`Suite`] of resolved tests.

mod filter;
mod mistakes;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufWriter, Write},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};
use sha2::{Digest as _, Sha256};

use self::{
    filter::{Resolved, SelectionFilter},
    mistakes::Mistakes,
};
use super::{
    Grader, Retries, Scenario, ScenarioError, Selection, Suite,
    attachments::Attachments,
    check::{self, At, FormError},
    definition::Definition,
    expect::Schema,
    form::Form,
    globs, graders, keys,
    settings::Settings,
    source::{RecordRefusal, RecordSource, fill_in, id_of, visit_records},
    suite::SuiteParts,
    test_line::{FileEntry, RetriesEntry, TestLine},
};
use crate::model::{Digest, MOST_TRIALS, media_type};

/// Resolves the tests of `scenario` that are selected: first its own, then those of its lists in the order written.
///
/// Reports the first mistakes in the lists and how many there are. Where nothing is selected the suite is empty.
pub fn normalise(scenario: &Scenario, selection: &Selection) -> Result<Suite, ScenarioError> {
    let filter = SelectionFilter::new(selection)?;
    let mut normaliser = Normaliser::new(scenario, filter).map_err(ScenarioError::Store)?;
    visit_records(scenario, &mut |source, record| {
        normaliser.take(source, record);
    });
    normaliser.finish()
}

struct Normaliser<'s> {
    scenario: &'s Scenario,
    names: Vec<&'s str>,
    graders: Vec<&'s str>,
    filter: SelectionFilter,
    file: BufWriter<File>,
    hasher: Sha256,
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
            graders: scenario.graders.iter().map(Grader::name).collect(),
            filter,
            // Without a name: nothing is left of it, however the process ends.
            file: BufWriter::with_capacity(1 << 16, tempfile::tempfile()?),
            hasher: Sha256::new(),
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
        let trials = self.parts.trials();
        if trials > MOST_TRIALS {
            return Err(ScenarioError::TooMany { trials });
        }
        let stored = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error);
        let file = stored.map_err(ScenarioError::Store)?;
        let attachments = self.attachments.into_paths();
        let digest = Digest::finish(self.hasher);
        Ok(self.parts.finish(file, digest, true, attachments))
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
        let mut resolved = Resolved {
            id,
            input: test.remove("input").unwrap_or_default(),
            reference: test.remove("reference").filter(|value| !value.is_null()),
            expect,
            providers,
            settings: settings.over(&self.scenario.defaults),
            files: match test.remove("files") {
                Some(Value::Object(files)) => files,
                _ => Map::new(),
            },
        };
        self.filter.narrow(&mut resolved, &self.names);
        Ok(resolved)
    }

    fn providers(
        &mut self,
        source: &RecordSource<'_>,
        test: &mut Map<String, Value>,
    ) -> Result<Vec<u32>, RecordRefusal> {
        let written = test
            .remove("providers")
            .filter(|written| !written.is_null());
        Ok(match (written, source.list) {
            (Some(written), _) => self.matching(written)?,
            (None, Some(from)) => from.list.providers.clone(),
            (None, None) => (0..).zip(&self.names).map(|(place, _)| place).collect(),
        })
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
                help: Some(check::suggest_provider(glob, &self.names)),
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
        let map = expect.as_object().into_iter();
        let mut refusals = map.flat_map(|map| graders::refusals(map, &self.graders));
        if let Some((_, message, help)) = refusals.next() {
            return Err(RecordRefusal { message, help });
        }

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
            .map_err(|error| refusal(format!("is not a valid JSON Schema: {error}")))?;

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
        if !filter::is_run(test, source.list.map(|from| from.list)) {
            return Ok(());
        }
        self.find_lacks(source, test);
        let files = self.files(source, &test.files)?;
        let repeat = self.filter.repeat.or(test.settings.repeat).unwrap_or(1);
        let retries = self.retries(&test.settings);
        let meta = &test.settings.meta;
        let meta = (!meta.is_empty()).then(|| raw(meta));
        let reference = test.reference.as_ref().map(raw);
        let line = TestLine {
            expect: &test.expect,
            files: &raw(&files),
            id: &test.id,
            input: &raw(&test.input),
            meta: meta.as_deref(),
            providers: &raw(&test.providers),
            reference: reference.as_deref(),
            repeat,
            repeats: None,
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
        self.hasher.update(&self.line);
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
