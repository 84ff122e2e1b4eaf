//! Standard output that cannot be written.

use serde_json::Value;

use crate::support::runner::{CommandExt as _, Ran, Runner, tests};

const LOST: &str = "cannot write to standard output: No space left on device";

fn one() -> Runner {
    Runner::hostile(&tests(r#"a | { do = "echo", value = 1 } | equals = 1"#))
}

fn into_full(runner: &Runner, command: &str) -> Ran {
    let script = format!(r#""$runner" {command} >/dev/full"#);
    runner.shell(&script).run()
}

#[test]
fn a_command_whose_output_is_lost_says_so_and_does_not_succeed() {
    let runner = one();
    runner.exec(&[]).expect(0);
    for command in [
        "list",
        "list --json",
        "show",
        "show --json",
        "report --csv",
        "logs",
        "logs latest a",
        "validate scenario.toml",
        "schema scenario",
        "completions bash",
        "man",
        "exec scenario.toml --dry-run",
        "plugin inspect bundled:echo",
        "plugin run bundled:echo --input 1",
        "wait latest --json",
        "--version",
        "exec --help",
    ] {
        let ran = into_full(&runner, command);
        assert_eq!(ran.code, Some(7), "{command}: {ran:?}");
        assert_eq!(ran.stderr.matches(LOST).count(), 1, "{command}: {ran:?}");
    }
}

#[test]
fn a_run_whose_events_are_lost_goes_on_to_its_end() {
    let runner = one();
    into_full(&runner, "exec scenario.toml --json")
        .expect(7)
        .says(&[LOST]);
    let run = runner.only_run();
    let manifest: Value = serde_json::from_str(&run.read("benchmark.json")).unwrap();
    assert_eq!(
        (&manifest["status"], &manifest["verdict"]),
        (&"completed".into(), &"passed".into())
    );
    assert_eq!(run.rows().len(), 1);

    // Nothing is lost where there is nothing to be printed, and a refused scenario stays one.
    into_full(&runner, "exec scenario.toml").expect(0);
    into_full(&runner, "exec missing.toml --json").expect(2);
}
