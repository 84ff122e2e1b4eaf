//! Output that cannot be written.

use crate::support::{
    runner::{Runner, tests},
    running::Running,
};

#[test]
fn unwritable_output_exits_7() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.exec(&[]).expect(0);
    let into_full = |command: &str| {
        let script = format!("\"$runner\" {command} > /dev/full");
        let ran = Running::start(&mut runner.shell(&script)).finish().expect(7);
        ran.says(&["cannot write to standard output", "No space left"]);
    };
    for command in [
        "list",
        "list --json",
        "show",
        "show --json",
        "show latest a",
        "logs --runner",
        "verify --json",
        "wait --json",
        "exec scenario.toml --json",
        "exec scenario.toml --dry-run",
        "resume latest --rerun all --json",
        "resume latest --explain",
        "prune --keep-last 0 --json",
        "plugin run bundled:echo --input 1",
        "plugin inspect bundled:echo",
    ] {
        into_full(command);
    }
    // The rows are safe.
    assert!(runner.runs().iter().all(|run| run.ending()[0] == "completed"));
    // A reader that needs no more is no failure.
    let script = "{ \"$runner\" show --json; echo $? > code; } | true; cat code";
    let ran = Running::start(&mut runner.shell(script)).finish().expect(0);
    assert_eq!(ran.stdout.trim(), "0");
}
