//! [`RowFilter`]: a filter with the facts from a run's rows and its stored tests.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};
use std::{borrow::Cow, cell::RefCell, sync::Arc};

use runner_model::known::{Known, KnownState};
use runner_model::{RowRef, Text, log::LogLine, row::FailureKinds, test::MetaValue};
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

/// Reads files of a run that belong to an attempt. `None` if they cannot be read, which is reported. `E` is the error if no attempt
/// can be read.
pub trait AttemptFiles<E> {
    /// Reads the attempt's line of `logs.jsonl`. Empty without one.
    ///
    /// # Errors
    ///
    /// The process has no files or memory left.
    fn log(&self, row: &RowRef<'_>) -> Result<Option<String>, E>;

    /// Reads the paths that the attempt has changed in its workspace.
    ///
    /// # Errors
    ///
    /// The process has no files or memory left.
    fn changed(&self, row: &RowRef<'_>) -> Result<Option<Vec<String>>, E>;
}

/// A resolved filter for the rows of a run. `E` is the error of reading a file.
pub struct RowFilter<'a, E> {
    filter: &'a Filter,
    labels: TestLabels,
    known: Arc<Known>,
    files: Box<dyn AttemptFiles<E> + 'a>,
    /// The first error of reading a file.
    failed: RefCell<Option<E>>,
}

impl<'a, E> RowFilter<'a, E> {
    /// Joins a filter with the labels of the run's tests, its known failures and its files.
    pub fn new(
        filter: &'a Filter,
        labels: TestLabels,
        known: Arc<Known>,
        files: impl AttemptFiles<E> + 'a,
    ) -> Self {
        Self { filter, labels, known, files: Box::new(files), failed: RefCell::default() }
    }

    pub fn matches(&self, row: &RowRef<'_>) -> bool {
        self.filter.matches(&RowFacts { row, state: None, filter: self }) == Some(true)
    }

    /// Returns whether a row without texts matches. The `state` is given, since texts decide about it.
    pub fn matches_head(&self, row: &RowRef<'_>, state: KnownState) -> bool {
        self.filter.matches(&RowFacts { row, state: Some(state), filter: self }) == Some(true)
    }

    /// Keeps the first error.
    fn value<T: Default>(&self, read: Result<T, E>) -> T {
        read.unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            T::default()
        })
    }

    /// Returns the first error of reading a file.
    ///
    /// # Errors
    ///
    /// A file could not be read, so rows may be missing.
    pub fn finish(self) -> Result<(), E> {
        self.failed.into_inner().map_or(Ok(()), Err)
    }
}

/// The facts of a row.
struct RowFacts<'a, E> {
    row: &'a RowRef<'a>,
    /// `None` if the row itself decides.
    state: Option<KnownState>,
    filter: &'a RowFilter<'a, E>,
}

impl<E> Facts for RowFacts<'_, E> {
    fn test(&self) -> Option<&str> {
        Some(&self.row.test)
    }

    fn provider(&self) -> Option<&str> {
        Some(&self.row.provider)
    }

    fn has_tag(&self, tag: &str) -> Option<bool> {
        let labels = self.filter.labels.0.get(&*self.row.test);
        Some(labels.is_some_and(|labels| labels.tags.iter().any(|own| own == tag)))
    }

    fn meta(&self, key: &str, matches: &dyn Fn(&str) -> bool) -> Option<bool> {
        let labels = self.filter.labels.0.get(&*self.row.test);
        Some(labels.and_then(|labels| labels.meta.get(key)).is_some_and(|value| matches(value)))
    }

    fn row(&self) -> Option<&RowRef<'_>> {
        Some(self.row)
    }

    fn known(&self) -> Option<KnownState> {
        let RowRef { test, provider, outcome, .. } = self.row;
        let kinds = || FailureKinds::of(self.row);
        let of_row = || self.filter.known.state(test, provider, *outcome, kinds);
        Some(self.state.unwrap_or_else(of_row))
    }

    fn log(&self) -> Option<Cow<'_, str>> {
        let line = self.filter.value(self.filter.files.log(self.row))?;
        let Ok(LogLine { said, .. }) = serde_json::from_str(&line) else {
            return Some("".into());
        };
        let records = said.log.iter().map(|record| &*record.message);
        let texts: Vec<_> = records.chain([&*said.stdout, &*said.stderr]).collect();
        Some(texts.join("\n").into())
    }

    fn changed(&self) -> Option<Vec<String>> {
        self.filter.value(self.filter.files.changed(self.row))
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
