//! Secrets: where they come from, and that they are in no file and on no screen.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose;
use serde_json::json;
use walkdir::WalkDir;

use crate::support::runner::{CommandExt as _, Ran, Runner, tests};

/// Has something for every encoding to change.
const SECRET: &str = "hunter2/with+signs&\"quotes\" and blanks";
/// What must not be anywhere: the secret as it is, percent-encoded, as hex, and the core of it in base64 wherever it
/// begins.
const TRACES: [&str; 4] = ["hunter2", "with+signs", "with%2Bsigns", "68756e746572"];

/// Ways of the guest `leaky` to tell its secret.
const WAYS: [&str; 29] = [
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
    "summary",
    "check",
    "metric",
    "stdout",
    "stderr",
    "stderr-cut",
    "panic",
    "denied",
    "request",
];

/// A folder with the guest `leaky` and a scenario that tells it in which ways to leak.
pub(super) fn leaky(grants: &str, ways: &[&str]) -> Runner {
    let runner = Runner::new(&["leaky"]);
    runner.scenario(&scenario(grants, ways));
    runner
}

pub(super) fn scenario(grants: &str, ways: &[&str]) -> String {
    let ways = ways.iter().map(|way| format!("{way} | \"{way}\" |\n"));
    format!(
        "{}\n[providers.leaky]\nplugin = \"leaky.wasm\"\n[providers.leaky.grants]\n{grants}\n",
        tests(&ways.collect::<String>())
    )
}

pub(super) fn with_secret(runner: &Runner, args: &[&str]) -> Ran {
    runner
        .command(args)
        .env("API_KEY", SECRET)
        .env("RUNNER_LOG", "trace")
        .run()
}

fn traces() -> Vec<String> {
    let inside = (0..3).map(|before| {
        let text = general_purpose::STANDARD.encode(format!("{}{SECRET}", &"   "[..before]));
        text[4..24].to_owned()
    });
    TRACES
        .map(str::to_owned)
        .into_iter()
        .chain(inside)
        .collect()
}

#[track_caller]
pub(super) fn assert_clean(what: &str, bytes: &[u8]) {
    for trace in traces() {
        let mut windows = bytes.windows(trace.len());
        assert!(
            !windows.any(|window| window == trace.as_bytes()),
            "`{trace}` is in {what}:\n{}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[track_caller]
fn assert_no_file_has_it(root: &Path) {
    let mut count = 0;
    for entry in WalkDir::new(root) {
        let entry = entry.unwrap();
        let name = entry.path().to_string_lossy();
        assert_clean("a path", name.as_bytes());
        if entry.file_type().is_file() {
            count += 1;
            assert_clean(&name, &fs_err::read(entry.path()).unwrap());
        }
    }
    assert!(count > 10, "{count} files were looked at");
}

#[test]
fn a_planted_secret_is_in_no_file_and_on_no_screen() {
    let mut ways = WAYS.to_vec();
    ways.push("bad-json");
    let runner = leaky("secrets = [\"API_KEY\"]", &ways);
    for args in [&["-v"][..], &["--json"], &["-q"]] {
        let ran = with_secret(&runner, &[&["exec", "scenario.toml"], args].concat()).expect(1);
        assert_clean("standard output", ran.stdout.as_bytes());
        assert_clean("standard error", ran.stderr.as_bytes());
    }
    for args in [
        &["show", "latest", "--failed"][..],
        &["show", "latest", "--trial", "*"],
        &["show", "latest", "--json"],
        &["logs", "latest"],
        &["logs", "latest", "--json"],
    ] {
        let ran = runner.run(args);
        assert_clean(&format!("{args:?}"), ran.stdout.as_bytes());
        assert_clean(&format!("{args:?}"), ran.stderr.as_bytes());
    }
    assert_no_file_has_it(&runner.path("results"));

    // It was told, every time.
    let run = runner.runs().remove(0);
    let log = run.read("runner.log");
    assert!(log.contains("the secret is [secret API_KEY]!"), "{log}");
    let row = run.row("output");
    assert_eq!(
        row["output"],
        json!({"deep": ["the secret is [secret API_KEY]!"]})
    );
    let files: String = WalkDir::new(&run.dir)
        .into_iter()
        .filter_map(|entry| fs_err::read(entry.unwrap().path()).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect();
    assert!(files.matches("[secret API_KEY]").count() > WAYS.len());
    assert_eq!(run.row("artifact-in-two")["artifacts"][0]["bytes"], 31);
    // More than is looked at at once, or kept in memory.
    let large = run.row("artifact-large");
    let large = run.read(&format!("artifacts/0/{}-1/large.txt", large["ordinal"]));
    let piece = format!("{}[secret API_KEY]", "-".repeat(83));
    assert!(large == piece.repeat(30_000), "{} bytes", large.len());
    runner.run(&["verify", "latest"]).expect(0);
}

#[test]
fn whatever_is_traced_only_the_runner_says_it_and_no_secret_is_in_it() {
    let mut ways = WAYS.to_vec();
    ways.push("bad-json");
    let grants = "secrets = [\"API_KEY\"]\nenv = { TOKEN = \"{{secret.API_KEY}}\" }";
    // Bytes that a library traces are a list of numbers.
    let numbers: Vec<_> = SECRET
        .bytes()
        .take(7)
        .map(|byte| byte.to_string())
        .collect();
    let numbers = numbers.join(", ");
    let line = regex::Regex::new(r"^\S+ +(TRACE|DEBUG|INFO|WARN|ERROR) runner(::\w+)*: ").unwrap();
    let check = |log: &str| {
        assert_clean("the log", log.as_bytes());
        assert!(!log.contains(&numbers), "{log}");
    };

    let runner = leaky(grants, &ways);
    with_secret(&runner, &["exec", "scenario.toml", "-q"]).expect(1);
    let log = runner.only_run().read("runner.log");
    check(&log);
    let foreign = log.lines().find(|text| !line.is_match(text));
    assert_eq!(foreign, None);
    assert!(log.contains("TRACE runner"), "{log}");

    let runner = leaky(grants, &ways);
    let id = with_secret(&runner, &["exec", "scenario.toml", "--detach"])
        .expect(0)
        .stdout;
    runner.run(&["wait", id.trim()]).expect(1);
    check(&runner.only_run().read("runner.log"));

    for way in ways {
        let input = json!(way).to_string();
        let args = [
            "plugin",
            "run",
            "leaky.wasm",
            "--input",
            &input,
            "--grant",
            "secret=API_KEY",
        ];
        let ran = with_secret(&runner, &args);
        check(&(ran.stdout + &ran.stderr));
    }
    let ran = with_secret(&runner, &["plugin", "inspect", "leaky.wasm"]).expect(0);
    check(&(ran.stdout + &ran.stderr));
}

#[test]
fn a_command_has_a_secret_in_its_environment_and_tells_nobody() {
    let runner = Runner::new(&["command"]);
    runner.scenario(
        "[providers.command]\nplugin = \"command.wasm\"\nargs = [\"{{input.do}}\", \"TOKEN\"]\n\
         [providers.command.grants]\nenv = { TOKEN = \"Bearer {{secret.API_KEY}}\", TEST = \"{{input.do}}\" }\n\
         [[tests]]\nid = \"env\"\ninput.do = \"env\"\nexpect = { equals = \"Bearer [secret API_KEY]\" }\n\
         [[tests]]\nid = \"fail\"\ninput.do = \"fail-env\"\nexpect = { exit_code = 0 }\n",
    );
    let ran = with_secret(&runner, &["exec", "scenario.toml", "-v"]).expect(1);
    assert_clean("standard error", ran.stderr.as_bytes());
    ran.says(&["Bearer [secret API_KEY]"]);
    assert_no_file_has_it(&runner.path("results"));
    let manifest = runner.only_run().manifest();
    assert_eq!(
        manifest["providers"][0]["grants"],
        json!({"env": {"TEST": "{{input.do}}", "TOKEN": "Bearer {{secret.API_KEY}}"}})
    );
}

#[test]
fn a_secret_comes_from_the_last_file_that_has_it_or_else_from_the_environment() {
    let runner = leaky("secrets = [\"API_KEY\"]", &["length"]);
    let length = |args: &[&str], variable: Option<&str>| {
        let mut command = runner.command(&[&["exec", "scenario.toml"], args].concat());
        if let Some(value) = variable {
            command.env("API_KEY", value);
        }
        let ran = command.run().expect(0);
        let length = runner.runs().pop().unwrap().row("length")["output"].clone();
        (length, ran)
    };
    runner.write(
        "a.env",
        "# comment\n\nOTHER = 1\nexport API_KEY='12345678'\n",
    );
    runner.write("b.env", "API_KEY=\"123 45\"\n");
    assert_eq!(length(&[], Some("1234")).0, 4);
    let (a, ran) = length(&["--secret-file", "a.env"], Some("1234"));
    assert_eq!(a, 8);
    ran.says(&["`a.env` can be read by others; `chmod 600 a.env` keeps its secrets"]);
    let both = ["--secret-file", "a.env", "--secret-file", "b.env"];
    assert_eq!(length(&both, None).0, 6);

    let (_, ran) = length(&[], Some("123"));
    ran.says(&["secret `API_KEY` is shorter than 4 bytes: it is not redacted"]);
}

#[test]
fn a_secret_without_a_value_is_told_before_there_is_a_run() {
    let runner = leaky(
        "secrets = [\"API_KEY\"]\nenv = { B = \"{{secret.B}}\" }",
        &["length"],
    );
    let says = [
        "secret `API_KEY` of provider `leaky`, secret `B` of provider `leaky` have no value",
        "`export API_KEY=…`",
        "--secret-file FILE",
    ];
    runner.refused(&[], &says);
    runner.write("empty.env", "API_KEY=\nB=' '\n");
    runner.refused(&["--secret-file", "empty.env"], &says);
    runner.write("bad.env", format!("API_KEY={SECRET}\n{SECRET}\n"));
    let refused = runner.refused(
        &["--secret-file", "bad.env"],
        &["cannot read the secrets in `bad.env`: line 2 is not `NAME=VALUE`"],
    );
    assert_clean("the message", refused.stderr.as_bytes());
    for (text, why) in [
        (
            format!("\nAPI_KEY=\"{SECRET}\n"),
            "line 2 has a value that begins with a quote and does not end with it",
        ),
        (
            format!("API_KEY=a\nB=b\nexport API_KEY='{SECRET}'\n"),
            "line 3 has `API_KEY` again, after line 1",
        ),
    ] {
        runner.write("bad.env", text);
        let why = format!("cannot read the secrets in `bad.env`: {why}");
        let refused = runner.refused(&["--secret-file", "bad.env"], &[&why]);
        assert_clean("the message", refused.stderr.as_bytes());
    }
    runner.refused(&["--secret-file", "missing.env"], &["missing.env"]);
    runner.write("long.env", format!("B=x\nAPI_KEY={}\n", "x".repeat(70_000)));
    runner.refused(&["--secret-file", "long.env"], &["longer than 64 KiB"]);
    let says = ["cannot read the secrets in `/dev/zero`: it is longer than 16 MiB"];
    runner.refused(&["--secret-file", "/dev/zero"], &says);
    // The bound is inside of a character.
    runner.write("large.env", "ä".repeat(8 * 1024 * 1024 + 1));
    runner.refused(&["--secret-file", "large.env"], &["longer than 16 MiB"]);
    runner.write("latin-1.env", b"API_KEY=\xe4\n");
    runner.refused(&["--secret-file", "latin-1.env"], &["it is not UTF-8"]);

    // Neither needs a value.
    runner.run(&["validate", "scenario.toml"]).expect(0);
    runner.exec(&["--dry-run"]).expect(0);
}

#[test]
fn a_run_goes_on_from_elsewhere_with_its_folders_and_fresh_secrets() {
    let runner = Runner::new(&["hostile"]);
    fs_err::create_dir_all(runner.path("sub/fixtures")).unwrap();
    fs_err::create_dir(runner.path("elsewhere")).unwrap();
    let grants = "secrets = [\"API_KEY\"]\nfs = [{ path = \"fixtures\", mount = \"/fixtures\" }]";
    let text = format!(
        "{}\n[providers.hostile]\nplugin = \"../hostile.wasm\"\n[providers.hostile.grants]\n{grants}\n",
        tests("a | { do = \"echo\", value = 1 } | equals = 1\nb | { do = \"trap\" } | equals = 1")
    );
    runner.write("sub/scenario.toml", &text);
    with_secret(
        &runner,
        &["exec", "sub/scenario.toml", "--fail-fast", "-j1"],
    );
    let resume = |key: Option<&str>, args: &[&str]| {
        let results = runner.path("results");
        let mut command = runner.command(&["resume", "--from", "latest", "--rerun", "errors"]);
        command.arg("--results").arg(results).args(args);
        command.current_dir(runner.path("elsewhere"));
        if let Some(key) = key {
            command.env("API_KEY", key);
        }
        command.run()
    };

    resume(None, &[])
        .expect(2)
        .says(&["secret `API_KEY` of provider `hostile` has no value"]);
    resume(Some("12345"), &[]).expect(1);
    fs_err::rename(runner.path("sub/fixtures"), runner.path("sub/gone")).unwrap();
    let rows = runner.only_run().rows().len();
    resume(Some("12345"), &[]).expect(2).says(&[
        "provider `hostile`",
        "sub/fixtures`, which it is granted as `/fixtures`, is not there any more",
        "--accept-changes",
    ]);
    assert_eq!(runner.only_run().rows().len(), rows);

    runner.write(
        "sub/scenario.toml",
        text.replace("path = \"fixtures\"", "path = \"gone\""),
    );
    let args = ["resume", "--from", "latest", "--accept-changes"];
    with_secret(&runner, &args)
        .expect(1)
        .says(&["the grants of provider `hostile` have changed"]);
    let folder = &runner.only_run().manifest()["providers"][0]["grants"]["fs"][0]["folder"];
    assert!(folder.as_str().unwrap().ends_with("sub/gone"), "{folder}");
}
