//! `--dry-run` and `--explain` show the trials that would run, with reasons, and change no byte.

use super::{FOUR, assert_unchanged};
use crate::support::{runner::Runner, running::Running};

#[test]
fn dry_runs_change_no_byte() {
    let runner = Runner::hostile(FOUR);
    // The process has died at its end and left a torn row.
    let mut command = runner.command(&["exec", "scenario.toml"]);
    Running::start(command.env("RUNNER_FAULT", "manifest-write:kill:2")).finish();
    let run = runner.only_run();
    assert_eq!(run.manifest()["status"], "running");
    let index = run.bytes("index.jsonl");
    run.write("index.jsonl", &index[..index.len() - 10]);
    assert_unchanged(&runner, || {
        let ran = runner.run(&["resume", "latest", "--dry-run"]).expect(0);
        assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
        runner.run(&["resume", "latest", "--explain"]).expect(0);
        let ran = runner.run(&["resume", "--rerun", "failed", "--dry-run"]).expect(0);
        assert_eq!(ran.stdout.lines().count(), 3, "{ran:?}");
        runner.run(&["resume", "--accept-changes", "--explain", "--json"]).expect(0);
    });
}

#[test]
fn explanations_name_the_reason_of_each_trial() {
    let runner = Runner::hostile(FOUR);
    runner.exec(&[]).expect(1);
    let changed = FOUR.replace("equals = 1", "equals = 9").replace("50ms", "60ms");
    runner.scenario(&format!(
        "{changed}\n[[tests]]\nid = \"new\"\ninput = {{ do = \"echo\" }}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n"
    ));
    let args = ["resume", "--accept-changes", "--rerun", "breaks", "--explain"];
    assert_unchanged(&runner, || {
        let ran = runner.run(&args).expect(0);
        for line in [
            "passes@hostile#1  judged: only its expectations have changed: its output is judged again",
            "fails@hostile#1  stays: it failed",
            "breaks@hostile#1  runs: it ended in an error, and `--rerun breaks` selects it",
            "hangs@hostile#1  runs: its test or provider has changed",
            "new@hostile#1  runs: it has no result",
        ] {
            assert!(ran.stdout.lines().any(|printed| printed == line), "{line}\n{ran:?}");
        }
        let ran = runner.run(&[&args[..], &["--json"]].concat()).expect(0);
        let lines: Vec<serde_json::Value> =
            ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 5);
        assert_eq!((&lines[0]["runs"], &lines[0]["judged"]), (&false.into(), &true.into()));
        assert_eq!((&lines[1]["runs"], &lines[1]["judged"]), (&false.into(), &false.into()));
        ran.says(&["3 trials would run, 1 trial would be judged again"]);
    });
}
