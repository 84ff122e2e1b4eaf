//! Prints the conformance suite of TOML as records of a test list, for `scenarios/toml-conformance.toml`.
//!
//! Standard input is the list's `config`: `version` of the language, and whether a record has the document as its `input`, for
//! components, or as an attachment, for ordinary decoders of toml-test, which exit with 1 if it is invalid. The suite is the
//! folder `/suite`.

use std::error::Error;
use std::io::{self, BufWriter, Write as _};
use std::{fs, path::Path};

use serde_json::{Value, json};

/// The attachment's name for a provider.
const ATTACHMENT: &str = "case.toml";

fn main() -> Result<(), Box<dyn Error>> {
    let config: Value = serde_json::from_reader(io::stdin())?;
    let version = config["version"].as_str().ok_or("`config` has no `version`")?;
    let is_decoder = config["decoder"] == true;
    let mut out = BufWriter::new(io::stdout().lock());
    for path in read(&format!("files-toml-{version}"))?.lines() {
        let Some(id) = path.strip_suffix(".toml") else { continue };
        let value = match id.starts_with("valid/") {
            true => {
                Some(toml_tagged::canonical(serde_json::from_str(&read(&format!("{id}.json"))?)?)?)
            }
            false => None,
        };
        let expect = match (value, is_decoder) {
            (Some(value), true) => json!({ "equals": value }),
            (Some(value), false) => json!({ "equals": { "valid": true, "value": value } }),
            (None, true) => json!({ "exit_code": 1 }),
            (None, false) => json!({ "json": { "valid": false } }),
        };
        let document = fs::read(Path::new("/suite").join(path))?;
        // JSON has no bytes that are not UTF-8, so they are an attachment, whose path is relative to the scenario.
        let record = match String::from_utf8(document) {
            Ok(text) if !is_decoder => {
                json!({ "id": id, "input": { "toml": text }, "expect": expect })
            }
            _ => json!({
                "id": id,
                "input": { "file": ATTACHMENT },
                "files": { ATTACHMENT: format!("toml-conformance/{path}") },
                "expect": expect,
            }),
        };
        writeln!(out, "{record}")?;
    }
    Ok(out.flush()?)
}

/// Reads a text of the suite.
fn read(path: &str) -> Result<String, String> {
    let path = Path::new("/suite").join(path);
    fs::read_to_string(&path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}
