//! What runs and requests are called: names that mean none, or something else.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
};

use crate::support::runner::{CommandExt as _, Runner, tests};

fn scenario() -> Runner {
    Runner::hostile(&tests(
        r#"
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "echo", value = 2 } | equals = 2
        "#,
    ))
}

#[test]
fn an_empty_name_means_no_run_and_no_request() {
    let runner = scenario();
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let queued = ["exec", "scenario.toml", "--queue"];
    runner.run(&queued).expect(0);
    for args in [
        &["prune", "", "--no-dry-run"][..],
        &["pin", ""],
        &["show", ""],
        &["cancel", ""],
        &["resume", "--from", ""],
        &["verify", ""],
        &["queue", "remove", ""],
    ] {
        runner.run(args).expect(2);
    }
    assert!(run.dir.exists());
    let queue = runner.run(&["queue", "--json"]).expect(0).document();
    assert_eq!(
        queue["requests"].as_array().map(Vec::len),
        Some(1),
        "{queue}"
    );
}

#[test]
fn a_variable_that_is_no_text_is_not_passed_over() {
    let runner = scenario();
    runner.exec(&[]).expect(0);
    let mut pin = runner.command(&["pin"]);
    let ran = pin.env("RUNNER_RUN", OsStr::from_bytes(b"a\xffb")).run();
    ran.expect(2).says(&["no run `a\u{fffd}b`"]);
}

#[test]
fn a_run_has_no_name_that_means_something_else_in_its_root() {
    let runner = scenario();
    for name in [
        "store",
        "queue",
        "runner.toml",
        "runner.db",
        "runner.db-wal",
        "latest",
        "lost+found",
    ] {
        let into = format!("fresh/{name}");
        let ran = runner.exec(&["--into", &into]).expect(2);
        ran.says(&[&into, "does not end in a name that a run can have"]);
    }
    // What begins with a dot is a name as any other.
    runner.exec(&["--into", "fresh/.hidden"]).expect(0);
    let named = ["show", ".hidden", "--results", "fresh"];
    runner.run(&named).expect(0).prints("completed");
}

#[test]
fn whoever_deletes_a_run_names_it_itself_and_in_its_own_root() {
    let runner = scenario();
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    runner.exec(&["--into", "other/run"]).expect(0);
    symlink(&run.dir, runner.path("results/link")).unwrap();
    symlink(runner.path("other/run"), runner.path("results/far")).unwrap();
    for (name, says) in [
        ("link", "`link` is a symbolic link to"),
        ("results/link", "`results/link` is a symbolic link to"),
        ("results/link/", "`results/link/` is a symbolic link to"),
        ("results/link/.", "`results/link/.` is a symbolic link to"),
        ("far", "`far` is a symbolic link to"),
        ("other/run", "run `run` is not in `results`"),
    ] {
        let ran = runner.run(&["prune", name, "--no-dry-run"]).expect(2);
        ran.says(&[says]);
    }
    assert!(run.dir.exists() && runner.path("other/run").exists());
}
