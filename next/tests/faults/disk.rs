//! Disks that are full and folders that cannot be written.

use serde_json::json;

use crate::support::{
    run::Run,
    runner::{Runner, tests},
    running::Running,
    truth::{assert_kept, results},
};

const TRIALS: usize = 12_000;

fn many() -> Runner {
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"a\"\nrepeat = {TRIALS}\ninput = {{ do = \"echo\", value = \"some output of some length\" }}\n"
    ));
    // The guest is in the cache, so that only results need room.
    runner
        .run(&["exec", "scenario.toml", "--test", "none"])
        .expect(5);
    runner
}

/// Whether users may make file systems of their own.
fn may_mount(runner: &Runner) -> bool {
    Running::start(&mut runner.shell("unshare -Urm mount -t tmpfs tmpfs /mnt"))
        .finish()
        .code
        == Some(0)
}

#[test]
fn full_disk_keeps_earlier_rows() {
    let runner = many();
    // A small file system in memory where that is allowed, else what a file may grow to.
    let script = if may_mount(&runner) {
        r#"mkdir full && exec unshare -Urm sh -c '
             mount -t tmpfs -o size=1536k tmpfs full && "$runner" exec scenario.toml --json --results full
             code=$?; cp -r full results; exit $code'"#
    } else {
        r#"ulimit -f 3072; exec "$runner" exec scenario.toml --json"#
    };
    let ran = Running::start(&mut runner.shell(script)).finish().expect(7);
    ran.says(&["space"]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "storage", "", "none"]);
    let acknowledged = ran.acknowledged();
    assert!(
        (100..TRIALS).contains(&acknowledged.len()),
        "{}",
        acknowledged.len()
    );
    assert_kept(&run, &acknowledged);
    let finished = ran.events().pop().unwrap();
    assert_eq!(
        (&finished["reason"], &finished["exit_code"]),
        (&json!("storage"), &json!(7))
    );
    assert_eq!(finished["counts"]["passed"], acknowledged.len());

    runner.run(&["resume", "latest"]).expect(0);
    let run = runner.only_run();
    assert_eq!((results(&run).len(), run.rows().len()), (TRIALS, TRIALS));
    assert_kept(&run, &acknowledged);
}

#[test]
fn unwritable_results_root_exits_7() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.write("file", "");
    for root in ["file", "file/under", "/dev/null/results", "/proc/results"] {
        let ran = runner.exec(&["--results", root]).expect(7);
        ran.says(&[root]);
        assert_eq!(ran.stdout, "");
    }
    // One that is missing is made, and the environment may name it.
    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("RUNNER_RESULTS", runner.path("new/results"));
    Running::start(&mut command).finish().expect(0);
    assert_eq!(Run::all(&runner.path("new/results")).len(), 1);
}
