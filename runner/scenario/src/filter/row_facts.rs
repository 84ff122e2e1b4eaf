//! [`RowFilter`]: a filter with the facts from a run's rows and its stored tests.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};
use std::{borrow::Cow, cell::RefCell, sync::Arc};

use runner_model::known::{Known, KnownState};
use runner_model::{RowRef, Text, log::LogLine, test::MetaValue};
use serde::Deserialize;

use super::{evaluate::Facts, expression::Filter};

/// The tags and `meta` of tests, which rows lack.
#[derive(Debug, Default)]
pub struct TestLabels(HashMap<String, Labels>);

#[derive(Debug, Default)]
struct Labels {
    tags: Vec<String>,
    meta: BTreeMap<String, String>,
}

impl TestLabels {
    /// Reads the labels from the lines of a suite.
    ///
    /// # Errors
    ///
    /// The suite cannot be read.
    pub fn read(suite: impl BufRead) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Test<'a> {
            #[serde(borrow)]
            id: Text<'a>,
            #[serde(default)]
            tags: Vec<String>,
            #[serde(default, borrow)]
            meta: BTreeMap<Text<'a>, MetaValue<'a>>,
        }
        let mut labels = HashMap::new();
        for line in suite.lines() {
            let line = line?;
            // Most tests have no labels, and parsing takes longer than this search.
            if !line.contains("\"tags\":") && !line.contains("\"meta\":") {
                continue;
            }
            let Test { id, tags, meta } = serde_json::from_str(&line)?;
            let meta = meta.iter().map(|(key, value)| (key.to_string(), text(value).into_owned()));
            labels.insert(id.to_string(), Labels { tags, meta: meta.collect() });
        }
        Ok(Self(labels))
    }
}

/// Reads an attempt's line of `logs.jsonl`.
type ReadLog<'a, E> = dyn Fn(&RowRef<'_>) -> Result<Option<String>, E> + 'a;

/// A resolved filter for the rows of a run. `E` is the error of reading a log.
pub struct RowFilter<'a, E> {
    filter: &'a Filter,
    labels: TestLabels,
    known: Arc<Known>,
    log: Box<ReadLog<'a, E>>,
    /// The first error of reading a log.
    failed: RefCell<Option<E>>,
}

impl<'a, E> RowFilter<'a, E> {
    /// Joins a filter with the labels of the run's tests and its known failures. `log` reads an attempt's line of `logs.jsonl`.
    pub fn new(
        filter: &'a Filter,
        labels: TestLabels,
        known: Arc<Known>,
        log: impl Fn(&RowRef<'_>) -> Result<Option<String>, E> + 'a,
    ) -> Self {
        Self { filter, labels, known, log: Box::new(log), failed: RefCell::default() }
    }

    pub fn matches(&self, row: &RowRef<'_>) -> bool {
        let log = |row: &RowRef<'_>| {
            (self.log)(row).unwrap_or_else(|error| {
                self.failed.borrow_mut().get_or_insert(error);
                None
            })
        };
        let facts = RowFacts { row, labels: &self.labels, known: &self.known, log: &log };
        self.filter.matches(&facts) == Some(true)
    }

    /// Returns the first error of reading a log.
    ///
    /// # Errors
    ///
    /// A log could not be read, so rows may be missing.
    pub fn finish(self) -> Result<(), E> {
        self.failed.into_inner().map_or(Ok(()), Err)
    }
}

/// The facts of a row.
struct RowFacts<'a> {
    row: &'a RowRef<'a>,
    labels: &'a TestLabels,
    known: &'a Known,
    log: &'a dyn Fn(&RowRef<'_>) -> Option<String>,
}

impl Facts for RowFacts<'_> {
    fn test(&self) -> Option<&str> {
        Some(&self.row.test)
    }

    fn provider(&self) -> Option<&str> {
        Some(&self.row.provider)
    }

    fn has_tag(&self, tag: &str) -> Option<bool> {
        let labels = self.labels.0.get(&*self.row.test);
        Some(labels.is_some_and(|labels| labels.tags.iter().any(|own| own == tag)))
    }

    fn meta(&self, key: &str, matches: &dyn Fn(&str) -> bool) -> Option<bool> {
        let labels = self.labels.0.get(&*self.row.test);
        Some(labels.and_then(|labels| labels.meta.get(key)).is_some_and(|value| matches(value)))
    }

    fn row(&self) -> Option<&RowRef<'_>> {
        Some(self.row)
    }

    fn known(&self) -> Option<KnownState> {
        let RowRef { test, provider, outcome, .. } = self.row;
        Some(self.known.state(test, provider, *outcome))
    }

    fn log(&self) -> Option<Cow<'_, str>> {
        let line = (self.log)(self.row).unwrap_or_default();
        let Ok(LogLine { said, .. }) = serde_json::from_str(&line) else {
            return Some("".into());
        };
        let records = said.log.iter().map(|record| &*record.message);
        let texts: Vec<_> = records.chain([&*said.stdout, &*said.stderr]).collect();
        Some(texts.join("\n").into())
    }
}

/// Formats a value of `meta` for a glob.
pub(crate) fn text<'v>(value: &'v MetaValue<'_>) -> Cow<'v, str> {
    match value {
        MetaValue::Bool(value) => value.to_string().into(),
        MetaValue::Number(number) => number.to_string().into(),
        MetaValue::Text(text) => Cow::Borrowed(text),
    }
}
