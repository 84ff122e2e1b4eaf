//! The contract of the API, as other programs read it: one says whether it is a good OpenAPI document, one makes requests of
//! it that are good and bad, and looks whether a real server answers what the document says.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::support::runner::Runner;

const TOKEN: &str = "0123456789abcdef-of-a-test";

/// What requests are made of, so that each run of the test makes the same.
const SEED: &str = "20";
/// Requests that are made up for each call, beside those that its contract comes to by itself.
const EXAMPLES: &str = "2";

/// Calls that answer until the connection ends have no place here.
const ENDLESS: &str = "/events$";

/// Names for which there is something, or most requests would be answered by 404.
const CONFIG: &str = r#"
[parameters]
"path.run" = "latest"
"path.trial" = "0"
"path.attempt" = 1
"path.file" = "output"
"#;

/// A server that ends with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tool(name: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/tools/api/bin")
        .join(name);
    assert!(
        tool.exists(),
        "{} is missing: `.ci/run` installs it",
        tool.display()
    );
    tool
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let ran = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        ran.status.success(),
        "{}{}",
        said(&ran.stdout),
        said(&ran.stderr)
    );
}

#[test]
fn the_contract_is_a_good_one() {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
    succeeds(Command::new(tool("openapi-spec-validator")).arg(contract));
}

#[test]
fn a_server_keeps_the_contract_whatever_it_is_asked() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n[[tests]]\nid = \"b\"\ninput = { do = \"trap\" }\n",
    );
    for _ in 0..3 {
        runner.exec(&[]).expect(1);
    }
    runner.write("token", TOKEN);
    runner.write("schemathesis.toml", CONFIG);
    let args = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token"];
    let mut command = runner.command(&[&args[..], &["--scenarios", "."]].concat());
    let mut served = Served(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(served.0.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let at = line
        .strip_prefix("open ")
        .and_then(|line| line.split_once("/?"));
    let (at, _) = at.unwrap_or_else(|| panic!("{line}"));

    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    succeeds(
        Command::new(tool("schemathesis"))
            .arg("run")
            .arg(contract)
            .args(["--url", at, "--checks", checks])
            .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
            .args(["--exclude-path-regex", ENDLESS])
            .args(["--phases", "examples,coverage,fuzzing"])
            .args(["--seed", SEED, "--max-examples", EXAMPLES])
            .args(["--request-timeout", "30", "--no-shrink", "--no-color"])
            .current_dir(runner.path(""))
            .env("HOME", runner.path("")),
    );
}
