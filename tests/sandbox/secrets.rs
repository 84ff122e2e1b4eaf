//! A guest's secrets are in no file and on no screen.

use std::{fs, path::Path, sync::LazyLock};

use regex::bytes::Regex;
use serde_json::json;

use crate::support::{
    processes::Process,
    runner::{Runner, tests},
    running::{Finished, Running},
};

/// Contains characters that every encoding changes.
const SECRET: &str = "hunter2/with+signs&\"quotes\" and blanks";
/// Forms that must not appear anywhere: the secret itself, percent-encoded, as hex, and the core of its base64 at each
/// offset.
const TRACES: [&str; 7] = [
    "hunter2",
    "with+signs",
    "with%2Bsigns",
    "68756e746572",
    "dGVyMi93aXRoK3NpZ25z",
    "bnRlcjIvd2l0aCtzaWdu",
    "dW50ZXIyL3dpdGgrc2ln",
];
/// Ways in which the guest `leaky` can leak its secret.
const WAYS: [&str; 31] = [
    "output",
    "output-key",
    "json-in-string",
    "json-twice",
    "base64",
    "base64-inside",
    "url",
    "hex",
    "debug",
    "log",
    "log-field",
    "progress",
    "artifact",
    "artifact-in-two",
    "artifact-large",
    "artifact-binary",
    "artifact-name",
    "large-output",
    "error",
    "error-details",
    "error-details-broken",
    "summary",
    "check",
    "metric",
    "stdout",
    "stderr",
    "stderr-cut",
    "panic",
    "denied",
    "request",
    "bad-json",
];

/// Creates a folder with the guest `leaky` and a scenario that leaks in these ways.
fn leaky(grants: &str, ways: &[&str]) -> Runner {
    let runner = Runner::new(&["leaky"]);
    let ways = ways.iter().map(|way| format!("{way} | \"{way}\" |\n"));
    runner.scenario(&format!(
        "{}\n[providers.leaky]\nplugin = \"leaky.wasm\"\n[providers.leaky.grants]\n{grants}\n",
        tests(&ways.collect::<String>())
    ));
    runner
}

fn with_secret(runner: &Runner, args: &[&str]) -> Finished {
    let mut command = runner.command(args);
    Running::start(command.env("API_KEY", SECRET)).finish()
}

#[track_caller]
fn assert_clean(what: &str, bytes: &[u8]) {
    static PATTERN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(&TRACES.map(regex::escape).join("|")).unwrap());
    if let Some(trace) = PATTERN.find(bytes) {
        let trace = String::from_utf8_lossy(trace.as_bytes());
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(100_000)]);
        panic!("`{trace}` is in {what}:\n{start}");
    }
}

/// Returns the texts of all files below a folder.
#[track_caller]
fn assert_no_file_has_it(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_string_lossy();
        assert_clean("a path", name.as_bytes());
        if path.is_dir() {
            all += &assert_no_file_has_it(&path);
        } else {
            let content = fs::read(&path).unwrap();
            assert_clean(&name, &content);
            all += &String::from_utf8_lossy(&content);
        }
    }
    all
}

#[test]
fn planted_secret_is_in_no_file_or_output() {
    let runner = leaky("secrets = [\"API_KEY\"]", &WAYS);
    for args in [&[][..], &["--json"]] {
        let ran = with_secret(&runner, &[&["exec", "scenario.toml"], args].concat()).expect(1);
        assert_clean("standard output", ran.stdout.as_bytes());
        assert_clean("standard error", ran.stderr.as_bytes());
    }
    for args in [
        &["show", "latest"][..],
        &["show", "latest", "--json"],
        &["logs", "latest"],
        &["list", "--json"],
    ] {
        let ran = runner.run(args).expect(0);
        assert_clean(&format!("{args:?}"), ran.stdout.as_bytes());
        assert_clean(&format!("{args:?}"), ran.stderr.as_bytes());
    }
    let texts = assert_no_file_has_it(&runner.path("results"));

    // Malformed details are not dropped without a word.
    let left_out = "the `details` of the error is not JSON: expected ident at line 1 column 2, so it was left out";
    assert!(runner.run(&["logs", "latest"]).expect(0).stdout.contains(left_out));

    // Each leak was attempted and redacted.
    assert!(texts.matches("[secret API_KEY]").count() > 2 * WAYS.len());
    let run = runner.runs().remove(0);
    assert_eq!(run.row("error-details-broken")["error"]["code"], "details");
    assert_eq!(run.row("output")["output"], json!({"deep": ["the secret is [secret API_KEY]!"]}));
    assert_eq!(run.row("artifact-in-two")["artifacts"][0]["bytes"], 31);
    let named = &run.row("artifact-name")["artifacts"][0]["name"];
    assert_eq!(named, "_secret_API_KEY_.txt");
    // Larger than the redactor's buffer and than what stays in memory.
    let large = run.row("artifact-large");
    let digest = large["artifacts"][0]["sha256"].as_str().unwrap();
    let large = run.text(&format!("artifacts/{}/{digest}", &digest[..2]));
    let piece = format!("{}[secret API_KEY]", "-".repeat(83));
    assert!(large == piece.repeat(30_000), "{} bytes", large.len());
    runner.run(&["verify", "latest"]).expect(0);
}

#[test]
fn secret_of_a_command_is_in_no_file() {
    let runner = Runner::new(&[]);
    runner.link(&crate::support::guests::command(), "command.wasm");
    runner.scenario(
        "[providers.command]\nplugin = \"command.wasm\"\nargs = [\"{{input.do}}\", \"TOKEN\"]\n\
         [providers.command.grants]\nenv = { TOKEN = \"Bearer {{secret.API_KEY}}\", TEST = \"{{input.do}}\" }\n\
         [[tests]]\nid = \"env\"\ninput.do = \"env\"\nexpect = { equals = \"Bearer [secret API_KEY]\" }\n\
         [[tests]]\nid = \"fail\"\ninput.do = \"fail-env\"\nexpect = { exit_code = 0 }\n",
    );
    let ran = with_secret(&runner, &["exec", "scenario.toml"]).expect(1);
    assert_clean("standard output", ran.stdout.as_bytes());
    assert_clean("standard error", ran.stderr.as_bytes());
    let texts = assert_no_file_has_it(&runner.path("results"));
    assert!(texts.contains("Bearer [secret API_KEY]"));
    let run = runner.only_run();
    assert_eq!(run.row("env")["outcome"], "passed", "{}", run.row("env"));
    assert_eq!(run.row("fail")["outcome"], "failed");
    // Names are stored, values are not.
    assert_eq!(
        run.manifest()["providers"][0]["grants"]["env"],
        json!([["TEST", "{{input.do}}"], ["TOKEN", "Bearer {{secret.API_KEY}}"]])
    );
}

/// Returns the peak memory of a worker whose guest has been granted these secrets.
fn peak_with(values: &[String]) -> u64 {
    let names: Vec<_> = (0..values.len()).map(|number| format!("KEY_{number}")).collect();
    let grants = format!("grants.secrets = {names:?}");
    let runner = Runner::hostile_with(&grants, "[[tests]]\nid = \"a\"\ninput = { do = \"sleep\" }");
    let mut command = runner.command(&["exec", "scenario.toml", "--json", "-j", "1"]);
    command.envs(names.iter().zip(values));
    let mut running = Running::start(&mut command);
    running.wait_until_running(&runner, 1);
    let peak = running.workers().into_iter().map(Process::peak_memory).max().unwrap();
    running.kill();
    peak
}

#[test]
fn large_secrets_cost_workers_little_memory() {
    // Letters that repeat late: repeated texts would have fewer forms.
    let mut state = 1_u64;
    let mut letters = |count: usize| -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(alphabet[(state >> 58) as usize])
        };
        (0..count).map(|_| next()).collect()
    };
    let usual = peak_with(&["0123456789".to_owned()]);
    let large = letters(65_000);
    let mut key = || -> String { (0..50).map(|_| letters(64) + "\n").collect() };
    let keys: Vec<String> = (0..20).map(|_| key()).collect();
    for values in [vec![large], keys] {
        let more = peak_with(&values).saturating_sub(usual);
        assert!(more < 80_000_000, "{more} bytes for {} secrets", values.len());
    }
}
