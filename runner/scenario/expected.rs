//! [`Expected`]: what a test expects, read once somebody asks.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, OnceLock},
};

use serde_json::{Map, Value};

use super::{Expect, definition::damaged, expect::Schema};
use crate::model::Digest;

/// The schemas of a suite, by their digests.
pub(super) type Schemas = BTreeMap<Digest, Arc<Schema>>;

/// What a test expects, as its line has it: who only assigns trials need not read it.
#[derive(Clone, Debug)]
pub struct Expected {
    text: Box<str>,
    schemas: Arc<Schemas>,
    read: OnceLock<Expect>,
}

impl Expected {
    pub(super) fn new(text: &str, schemas: &Arc<Schemas>) -> Self {
        Self {
            text: text.into(),
            schemas: Arc::clone(schemas),
            read: OnceLock::new(),
        }
    }

    /// All that is expected.
    ///
    /// # Errors
    ///
    /// Fails if the suite is damaged.
    pub fn read(&self) -> io::Result<&Expect> {
        if let Some(read) = self.read.get() {
            return Ok(read);
        }
        let read = read_expect(&self.text, &self.schemas)?;
        Ok(self.read.get_or_init(|| read))
    }

    /// The same of what was read before, or is of a suite whose digest was looked at.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn whole(&self) -> &Expect {
        self.read().expect("a suite holds valid expectations")
    }

    /// The graders that judge the output once everything else has held, each once.
    ///
    /// # Panics
    ///
    /// If there are some, and the expectation cannot be read.
    pub fn graders(&self) -> &[String] {
        match self.text.contains("\"graders\":") {
            true => &self.whole().graders,
            false => &[],
        }
    }
}

/// Nothing.
impl Default for Expected {
    fn default() -> Self {
        Self {
            text: "{}".into(),
            schemas: Arc::default(),
            read: OnceLock::new(),
        }
    }
}

/// Reads an expectation, of which a schema is one of these.
pub(super) fn read_expect(text: &str, schemas: &Schemas) -> io::Result<Expect> {
    let map: Map<String, Value> = serde_json::from_str(text)?;
    Expect::read(map, schemas).ok_or_else(|| damaged("an expectation"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Expected;

    fn expected(text: &str) -> Expected {
        Expected::new(text, &Arc::default())
    }

    #[test]
    fn graders_are_known_of_what_names_some_and_nothing_else_is_read() {
        let graded = expected(r#"{"equals":1,"graders":["a","b"]}"#);
        assert_eq!(graded.graders(), ["a", "b"]);
        for text in [
            r#"{"equals":{"graders":["a"]}}"#,
            r#"{"equals":"\"graders\":[]"}"#,
            "{}",
            // Nobody has looked at it.
            "garbage",
        ] {
            assert_eq!(expected(text).graders(), [""; 0], "{text}");
        }
        assert_eq!(Expected::default().graders(), [""; 0]);
        assert!(Expected::default().whole().told().is_empty());
    }

    #[test]
    fn what_is_no_expectation_is_an_error_each_time_that_somebody_asks() {
        for text in ["garbage", "[]", r#"{"equal":1}"#, r#"{"schema":"none"}"#] {
            let expected = expected(text);
            for _ in 0..2 {
                expected.read().unwrap_err();
            }
        }
        let expected = expected(r#"{"contains":["x"]}"#);
        assert!(std::ptr::eq(expected.whole(), expected.read().unwrap()));
    }
}
