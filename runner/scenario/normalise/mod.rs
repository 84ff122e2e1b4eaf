//! From a [`Scenario`] and what was selected to the [`Suite`] of resolved tests.

mod filter;
mod large_lists;
mod mistakes;
mod plain_records;
mod resolver;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufWriter, Write},
    sync::Arc,
};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use self::{
    filter::{Resolved, SelectionFilter},
    mistakes::Mistakes,
    resolver::TestResolver,
};
use super::{
    Scenario, ScenarioError, Selection, Suite,
    attachments::Attachments,
    definition::Definition,
    error::RecordPlace,
    expect::Schema,
    files::ListFormat,
    source::{
        FromList, RecordRefusal, RecordSource, id_of, visit_lists, visit_records, visit_tests,
    },
    suite::SuiteParts,
    test_line::FileEntry,
};
use crate::model::{Digest, MOST_TRIALS, media_type};

/// Resolves the tests of `scenario` that are selected: first its own, then those of its lists in the order written.
///
/// Reports the first mistakes in the lists and how many there are. Where nothing is selected the suite is empty.
pub fn normalise(scenario: &Scenario, selection: &Selection) -> Result<Suite, ScenarioError> {
    let filter = SelectionFilter::new(selection)?;
    let mut resolver = TestResolver::new(scenario, filter);
    let mut normaliser = Normaliser::new(scenario).map_err(ScenarioError::Store)?;
    visit_tests(scenario, &mut |source, record| {
        normaliser.take(&mut resolver, source, record);
    });
    visit_lists(scenario, &mut |from| {
        normaliser.take_list(&mut resolver, from);
    });
    normaliser.finish()
}

struct Normaliser<'s> {
    scenario: &'s Scenario,
    file: BufWriter<File>,
    hasher: Sha256,
    line: Vec<u8>,
    parts: SuiteParts,
    attachments: Attachments,
    schemas: HashMap<String, Digest>,
    /// Of every id, selected or not.
    ids: Vec<u64>,
    mistakes: Mistakes,
    failure: Option<io::Error>,
}

impl<'s> Normaliser<'s> {
    fn new(scenario: &'s Scenario) -> io::Result<Self> {
        Ok(Self {
            scenario,
            // Without a name: nothing is left of it, however the process ends.
            file: BufWriter::with_capacity(1 << 16, tempfile::tempfile()?),
            hasher: Sha256::new(),
            line: Vec::new(),
            parts: SuiteParts::new(scenario.grants_writing()),
            attachments: Attachments::default(),
            schemas: HashMap::new(),
            ids: Vec::new(),
            mistakes: Mistakes::default(),
            failure: None,
        })
    }

    /// Takes the records of a list.
    fn take_list(&mut self, resolver: &mut TestResolver<'_>, from: &FromList<'_>) {
        let taken = match from.file.format {
            ListFormat::JsonLines => self.take_large(resolver, from),
            ListFormat::Json | ListFormat::Csv | ListFormat::Toml => Ok(false),
        };
        match taken {
            Ok(true) => {}
            Ok(false) => from.visit_records(&mut |source, record| {
                self.take(resolver, source, record);
            }),
            Err(error) => {
                let place = RecordPlace {
                    file: Arc::clone(&from.file.name),
                    line: None,
                };
                self.mistakes.add(&place, error.to_string().into());
            }
        }
    }

    fn take(
        &mut self,
        resolver: &mut TestResolver<'_>,
        source: &RecordSource<'_>,
        record: Result<Map<String, Value>, String>,
    ) {
        let taken = record
            .map_err(RecordRefusal::from)
            .and_then(|record| self.resolve_and_add(resolver, source, record));
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
            let mut line = std::mem::take(&mut self.line);
            line.clear();
            serde_json::to_writer(&mut line, &definition).expect("it has only texts as keys");
            line.push(b'\n');
            self.write_line(&line);
            self.line = line;
            self.parts.define(digest, Arc::new(schema), &self.line);
        }
        Ok(digest)
    }

    fn resolve_and_add(
        &mut self,
        resolver: &mut TestResolver<'_>,
        source: &RecordSource<'_>,
        record: Map<String, Value>,
    ) -> Result<(), RecordRefusal> {
        let test = resolver.resolve(source, record, |file| self.schema(file))?;
        self.add(resolver, source, &test)
    }

    fn add(
        &mut self,
        resolver: &mut TestResolver<'_>,
        source: &RecordSource<'_>,
        test: &Resolved,
    ) -> Result<(), RecordRefusal> {
        self.ids.push(hash_of(&test.id));
        for path in source.attachments(self.scenario, &test.files) {
            // Selected or not: it may be another time.
            self.parts.name("an attachment", &path);
        }
        if !filter::is_run(test, source.list.map(|from| from.list)) {
            return Ok(());
        }
        // What the templates of its providers take from it.
        for refusal in resolver.lacks(test) {
            self.mistakes.add(&source.place, refusal);
        }
        let files = self.files(source, &test.files)?;
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let trials = resolver.write(test, &files, &mut line);
        self.write_line(&line);
        self.parts.add(trials, &line);
        self.line = line;
        Ok(())
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
    fn write_line(&mut self, line: &[u8]) {
        self.hasher.update(line);
        if self.failure.is_none() {
            self.failure = self.file.write_all(line).err();
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

fn hash_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
