//! [`CompiledCache`]: regular expressions and schemas of `expect`, compiled once.

use std::{cell::RefCell, collections::HashMap, fs, io, path::Path, rc::Rc};

use regex::Regex;
use runner_model::{Digest, json::parse, without_mark};

use crate::schema::Schema;

// Test lists can bring a new expression or schema with each test, so both are bounded.
pub(super) const MAX_REGEXES: usize = 256;
pub(super) const MAX_SCHEMAS: usize = 64;

#[derive(Default)]
pub struct CompiledCache {
    pub(super) regexes: RefCell<HashMap<String, Regex>>,
    pub(super) schemas: RefCell<HashMap<String, SharedSchema>>,
}

/// A compiled schema, or why it is invalid.
pub type SharedSchema = Rc<Result<Schema, String>>;

impl CompiledCache {
    /// Returns the compiled schema of a file, whose content has this digest.
    pub fn schema(&self, digest: &Digest, file: &Path) -> io::Result<SharedSchema> {
        get_or_compile(&self.schemas, MAX_SCHEMAS, &digest.to_string(), || {
            let schema = parse(without_mark(&fs::read_to_string(file)?));
            let schema = schema.map_err(|error| format!("is not JSON: {error}"));
            Ok(Rc::new(schema.and_then(Schema::new)))
        })
    }

    /// Returns a compiled expression.
    ///
    /// # Errors
    ///
    /// Reason why the expression is invalid.
    pub(super) fn regex(&self, pattern: &str, ignores_case: bool) -> Result<Regex, String> {
        let flags = if ignores_case { "(?i)" } else { "" };
        let pattern = format!("{flags}{pattern}");
        get_or_compile(&self.regexes, MAX_REGEXES, &pattern, || {
            Regex::new(&pattern).map_err(|error| error.to_string())
        })
    }
}

/// Returns the value of `key`, compiling it first if it is missing. Forgets all other values if there are `limit`.
fn get_or_compile<V: Clone, E>(
    all: &RefCell<HashMap<String, V>>,
    limit: usize,
    key: &str,
    compile: impl FnOnce() -> Result<V, E>,
) -> Result<V, E> {
    let mut all = all.borrow_mut();
    if let Some(value) = all.get(key) {
        return Ok(value.clone());
    }
    let value = compile()?;
    if all.len() >= limit {
        all.clear();
    }
    all.insert(key.to_owned(), value.clone());
    Ok(value)
}
