//! [`TestResolver`]: from a record to a test with everything that its list and the defaults say, and to its line.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::filter::{Resolved, SelectionFilter};
use crate::{
    model::Digest,
    scenario::{
        Grader, Retries, Scenario,
        check::{self, At, FormError},
        form::Form,
        globs, graders, keys,
        settings::Settings,
        source::{FromList, RecordRefusal, RecordSource, fill_in},
        test_line::{FileEntry, RetriesEntry, TestLine},
    },
};

/// Makes tests of records, each by itself. A clone of it is for another thread.
#[derive(Clone)]
pub(super) struct TestResolver<'s> {
    scenario: &'s Scenario,
    names: Vec<&'s str>,
    graders: Vec<&'s str>,
    filter: Arc<SelectionFilter>,
    // What the last record had, because the next one mostly has the same.
    expect: Option<(Value, Arc<RawValue>)>,
    providers: Option<(Value, Vec<u32>)>,
    retries: Option<(Option<Retries>, Arc<RawValue>)>,
}

impl<'s> TestResolver<'s> {
    pub(super) fn new(scenario: &'s Scenario, filter: SelectionFilter) -> Self {
        let providers = scenario.providers.iter();
        Self {
            scenario,
            names: providers.map(|provider| provider.id.as_str()).collect(),
            graders: scenario.graders.iter().map(Grader::name).collect(),
            filter: Arc::new(filter),
            expect: None,
            providers: None,
            retries: None,
        }
    }

    /// Makes a test of a record; `schema` takes the file of a schema and says what its content hashes to.
    pub(super) fn resolve(
        &mut self,
        source: &RecordSource<'_>,
        record: Map<String, Value>,
        schema: impl FnOnce(&str) -> Result<Digest, RecordRefusal>,
    ) -> Result<Resolved, RecordRefusal> {
        let mut test = match source.list {
            Some(from) => fill_in(from, source.number, record)?,
            None => record,
        };
        let expect = self.resolve_expect(test.remove("expect"), schema)?;
        let test = Value::Object(test);
        refuse_first(&test, &keys::TEST)?;
        let Value::Object(mut test) = test else {
            unreachable!("it was made from a map")
        };

        let settings = match source.list {
            Some(from) => self.settings(Settings::read(&test), from),
            None => Settings::read(&test).over(&self.scenario.defaults),
        };
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
            settings,
            files: match test.remove("files") {
                Some(Value::Object(files)) => files,
                _ => Map::new(),
            },
        };
        self.filter.narrow(&mut resolved, &self.names);
        Ok(resolved)
    }

    /// What holds for a test of a list that says this itself.
    pub(super) fn settings(&self, own: Settings, from: &FromList<'_>) -> Settings {
        own.over(&from.list.settings).over(&self.scenario.defaults)
    }

    /// Tells whether every test is selected, and can be one of these providers whatever its input is.
    pub(super) fn takes_any(&self, providers: &[u32]) -> bool {
        let mut needs = providers
            .iter()
            .map(|place| &self.scenario.needs[*place as usize]);
        self.filter.is_everything() && needs.all(Vec::is_empty)
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
    fn resolve_expect(
        &mut self,
        expect: Option<Value>,
        schema: impl FnOnce(&str) -> Result<Digest, RecordRefusal>,
    ) -> Result<Arc<RawValue>, RecordRefusal> {
        let expect = match expect {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(expect) => expect,
        };
        if let Some((last, text)) = &self.expect
            && *last == expect
        {
            return Ok(Arc::clone(text));
        }
        let at = At::ROOT.key("expect");
        let mut findings = Vec::new();
        check::check(&expect, &keys::EXPECT, &at, &mut findings);
        refuse(findings)?;
        let map = expect.as_object().into_iter();
        let mut refusals = map.flat_map(|map| graders::refusals(map, &self.graders));
        if let Some((_, message, help)) = refusals.next() {
            return Err(RecordRefusal { message, help });
        }

        let text: Arc<RawValue> = match stored_expect(&expect, schema)? {
            Some(stored) => raw(&stored),
            None => raw(&expect),
        }
        .into();
        self.expect = Some((expect, Arc::clone(&text)));
        Ok(text)
    }

    /// What the templates of a test's providers take from it and it does not have.
    pub(super) fn lacks(&self, test: &Resolved) -> impl Iterator<Item = RecordRefusal> {
        let places = test.providers.iter().map(|place| *place as usize);
        places
            .flat_map(|place| &self.scenario.needs[place])
            .filter_map(|need| need.lack(&test.id, &test.input, &test.files))
    }

    /// Appends the line of a test, and says how many trials it makes.
    pub(super) fn write(
        &mut self,
        test: &Resolved,
        files: &[FileEntry],
        lines: &mut Vec<u8>,
    ) -> u64 {
        let repeat = self.repeat(&test.settings);
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
        serde_json::to_writer(&mut *lines, &line).expect("the value has only texts as keys");
        lines.push(b'\n');
        test.providers.len() as u64 * u64::from(repeat)
    }

    /// How often each trial of a test is made.
    pub(super) fn repeat(&self, settings: &Settings) -> u32 {
        self.filter.repeat.or(settings.repeat).unwrap_or(1)
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
}

/// An expectation as it is stored, if that is not as it is written.
fn stored_expect(
    written: &Value,
    schema: impl FnOnce(&str) -> Result<Digest, RecordRefusal>,
) -> Result<Option<Value>, RecordRefusal> {
    let Value::Object(map) = written else {
        return Ok(None);
    };
    // In a record an absent key; but `null` can be what is expected.
    let is_absent =
        |key: &str, value: &Value| value.is_null() && !["equals", "json"].contains(&key);
    let file = map.get("schema").and_then(Value::as_str);
    if file.is_none() && !map.iter().any(|(key, value)| is_absent(key, value)) {
        return Ok(None);
    }
    let mut stored = map.clone();
    stored.retain(|key, value| !is_absent(key, value));
    if let Some(file) = file {
        stored.insert("schema".to_owned(), schema(file)?.to_string().into());
    }
    Ok(Some(Value::Object(stored)))
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

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a checked duration is shorter than a year")
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("the value has only texts as keys")
}
