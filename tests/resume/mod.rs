//! Resumed runs: which trials run again, and how changes are handled.

mod adaptive;
mod changes;
mod continuing;
mod folders;
mod grading;
mod journals;
mod known;
mod previews;
mod random;
mod replaying;
mod reruns;
mod tools;

use std::{collections::BTreeMap, fs, path::Path};

use crate::support::{run::Run, runner::Runner, server::Server};

/// Four trials, one for each outcome.
const FOUR: &str = r#"
    [[tests]]
    id = "passes"
    input = { do = "echo", value = 1 }
    expect = { equals = 1 }
    [[tests]]
    id = "fails"
    input = { do = "echo", value = 1 }
    expect = { equals = 2 }
    [[tests]]
    id = "breaks"
    input = { do = "trap" }
    [[tests]]
    id = "hangs"
    input = { do = "sleep" }
    timeout = "50ms"
"#;

/// Returns the TOML of a provider whose trials end when the server answers.
fn waiting(provider: &str, server: &Server) -> String {
    let origin = server.origin();
    format!(
        "[providers.{provider}]\nplugin = \"bundled:http\"\nconfig = {{ base_url = \"{origin}\" }}\ngrants = {{ net = [\"{origin}\"] }}\n"
    )
}

/// Returns the bytes of every file below a folder, except `runner.db`, which readers may refresh.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let inner = self::files(&path).into_iter();
            files.extend(inner.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else if !name.starts_with("runner.db") {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

/// Fails if `ask` changes a byte of the results.
#[track_caller]
fn assert_unchanged(runner: &Runner, ask: impl FnOnce()) {
    let before = files(&runner.path("results"));
    ask();
    assert!(before == files(&runner.path("results")), "files changed");
}

/// Returns the number of rows of each test.
fn rows(run: &Run) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for row in run.rows() {
        *counted.entry(row["test"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counted
}

/// Fails unless each test has this number of rows.
#[track_caller]
fn assert_rows(run: &Run, expected: &[(&str, usize)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(test, count)| ((*test).to_owned(), *count)).collect();
    assert_eq!(rows(run), expected);
}

/// Fails unless list, show and manifest agree on the status of the only run.
#[track_caller]
fn assert_status(runner: &Runner, status: &str) {
    let listed = runner.list();
    assert_eq!(listed[0]["status"], status, "{listed:?}");
    let shown = runner.show(&runner.only_run());
    assert_eq!(shown["run"]["status"], status);
    assert_eq!(shown["run"]["counts"], listed[0]["counts"]);
    let counts = &shown["run"]["counts"];
    let tables = shown["providers"].as_array().unwrap();
    for what in ["passed", "failed", "error", "timeout"] {
        let sum: u64 = tables.iter().map(|table| table[what].as_u64().unwrap()).sum();
        assert_eq!(counts[what].as_u64(), Some(sum), "{what}: {shown}");
    }
}
