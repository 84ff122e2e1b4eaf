//! From a [`Scenario`] and what was selected to the [`Suite`] of resolved tests.

mod filter;
mod large_lists;
mod mistakes;
mod plain_records;
mod resolver;
mod suite_writer;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::Path,
    sync::Arc,
};

use serde_json::{Map, Value};

use self::{
    filter::{Resolved, SelectionFilter},
    mistakes::Mistakes,
    resolver::TestResolver,
    suite_writer::SuiteWriter,
};
use super::{
    Scenario, ScenarioError, Selection, Suite,
    attachments::Attachments,
    definition::Definition,
    error::RecordPlace,
    expect::Schema,
    files::ListFormat,
    shard::{OwnLines, ShardLines},
    source::{
        FromList, RecordRefusal, RecordSource, id_of, visit_lists, visit_records, visit_tests,
    },
    test_line::FileEntry,
};
use crate::model::{Digest, MOST_TRIALS, Shard, media_type};

/// Resolves the tests of `scenario` that are selected: first its own, then those of its lists in the order written.
///
/// Reports the first mistakes in the lists and how many there are. Where nothing is selected the suite is empty.
pub fn normalise(scenario: &Scenario, selection: &Selection) -> Result<Suite, ScenarioError> {
    let (whole, _) = normalise_all(scenario, selection, None)?;
    Ok(whole)
}

/// The same, and the trials of it that belong to `shard`, in the same order, as a suite of their own. It hands over the same
/// attachments, and may be empty.
pub fn normalise_with_part(
    scenario: &Scenario,
    selection: &Selection,
    shard: Shard,
) -> Result<(Suite, Suite), ScenarioError> {
    let (whole, part) = normalise_all(scenario, selection, Some(shard))?;
    let part = part.expect("whoever asks for a part gets one");
    Ok((whole, part))
}

fn normalise_all(
    scenario: &Scenario,
    selection: &Selection,
    shard: Option<Shard>,
) -> Result<(Suite, Option<Suite>), ScenarioError> {
    let filter = SelectionFilter::new(selection)?;
    let mut resolver = TestResolver::new(scenario, filter);
    let mut normaliser = Normaliser::new(scenario, shard).map_err(ScenarioError::Store)?;
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
    line: Vec<u8>,
    whole: SuiteWriter,
    /// What a shard has of it, if one is wanted.
    part: Option<PartWriter<'s>>,
    attachments: Attachments,
    schemas: HashMap<String, Digest>,
    /// Of every id, selected or not.
    ids: Vec<u64>,
    mistakes: Mistakes,
}

struct PartWriter<'s> {
    suite: SuiteWriter,
    divider: ShardLines<'s>,
    /// What it has of a test, as long as that is taken.
    own: OwnLines,
}

impl<'s> Normaliser<'s> {
    fn new(scenario: &'s Scenario, shard: Option<Shard>) -> io::Result<Self> {
        let writer = || SuiteWriter::new(scenario.grants_writing());
        let part = |shard| {
            Ok::<_, io::Error>(PartWriter {
                suite: writer()?,
                divider: ShardLines::new(shard, scenario),
                own: OwnLines::default(),
            })
        };
        Ok(Self {
            scenario,
            line: Vec::new(),
            whole: writer()?,
            part: shard.map(part).transpose()?,
            attachments: Attachments::default(),
            schemas: HashMap::new(),
            ids: Vec::new(),
            mistakes: Mistakes::default(),
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

    fn finish(mut self) -> Result<(Suite, Option<Suite>), ScenarioError> {
        self.find_duplicates();
        self.mistakes.into_result()?;
        let trials = self.whole.trials();
        if trials > MOST_TRIALS {
            return Err(ScenarioError::TooMany { trials });
        }
        let attachments = self.attachments.into_paths();
        let part = self.part.map(|part| part.suite.finish(attachments.clone()));
        Ok((self.whole.finish(attachments)?, part.transpose()?))
    }

    fn schema(&mut self, file: &str) -> Result<Digest, RecordRefusal> {
        if let Some(digest) = self.schemas.get(file) {
            return Ok(*digest);
        }
        let refusal = |reason: String| RecordRefusal::from(format!("schema `{file}`: {reason}"));
        let path = self.scenario.directory.join(file);
        self.name("a schema", &path);
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
            let schema = Arc::new(schema);
            if let Some(part) = &mut self.part {
                part.suite.define(digest, Arc::clone(&schema), &line);
            }
            self.whole.define(digest, schema, &line);
            self.line = line;
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
            self.name("an attachment", &path);
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
        self.whole.add(trials, &line);
        if let Some(part) = &mut self.part {
            let repeat = resolver.repeat(&test.settings);
            part.divider
                .take(&test.id, &test.providers, repeat, &line, &mut part.own);
            for (trials, line) in part.own.lines() {
                part.suite.add(trials, line);
            }
            part.own.clear();
        }
        self.line = line;
        Ok(())
    }

    /// Takes a line that the shard has of a test, if one is wanted.
    fn add_to_part(&mut self, trials: u64, line: &[u8]) {
        if let Some(part) = &mut self.part {
            part.suite.add(trials, line);
        }
    }

    /// Notes a file that a test names.
    fn name(&mut self, what: &'static str, path: &Path) {
        self.whole.name(what, path);
        if let Some(part) = &mut self.part {
            part.suite.name(what, path);
        }
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
