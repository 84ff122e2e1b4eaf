//! `runner resume --accept-changes`: the live scenario and plugins in the place of the stored ones.

use serde_json::json;

use crate::support::runner::{Run, Runner, tests};

const BEFORE: &str = r#"a | { do = "echo", value = 1 } | equals = 1
b | { do = "echo", value = 2 } | equals = 0
c | { do = "echo", value = 3 } | equals = 3"#;

/// A completed run of three tests, of which `b` failed because it expects the wrong thing.
fn completed() -> Runner {
    let runner = Runner::hostile(&tests(BEFORE));
    runner.exec(&["-j1"]).expect(1);
    runner
}

/// Rewrites the scenario with other tests.
fn rewrite(runner: &Runner, after: &str) {
    let providers = "[providers.hostile]\nplugin = \"hostile.wasm\"\n";
    runner.scenario(&format!("{}\n{providers}", tests(after)));
}

/// The tests whose rows a session has written, in order.
fn ran(run: &Run, session: u64) -> Vec<String> {
    let rows = run.rows().into_iter();
    rows.filter(|row| row["session"] == session && row.get("kind").is_none())
        .map(|row| row["test"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_has_changed_runs_again_and_what_was_added_runs_and_nothing_else() {
    let runner = completed();
    // Of `b` only what is expected, of `c` what is executed.
    let after = BEFORE.replace("equals = 0", "equals = 2");
    let after = after.replace("value = 3 } | equals = 3", "value = 5 } | equals = 5");
    rewrite(
        &runner,
        &format!("{after}\nd | {{ do = \"echo\", value = 4 }} | equals = 4"),
    );
    let resume = ["resume", "--from", "latest", "--accept-changes", "-j1"];
    let explained = runner
        .run(&[&resume[..], &["--explain"]].concat())
        .expect(0);
    assert!(
        explained.stdout.contains("again: was passed"),
        "{explained:?}"
    );
    assert_eq!(explained.stdout.lines().count(), 2, "{explained:?}");

    let resumed = runner.run(&resume).expect(0);
    resumed.says(&[
        "of 1 trial only what is expected has changed: judged again without running",
        "1 trial changed, 1 added",
        "passed: 4 of 4",
    ]);
    let run = runner.only_run();
    assert_eq!(
        (ran(&run, 2), ran(&run, 3)),
        (vec![], vec!["c".to_owned(), "d".to_owned()])
    );
    let manifest = run.manifest();
    assert_eq!(manifest["sessions"][1]["rerun"], "judgements:");
    assert_eq!(manifest["sessions"][2]["rerun"], "changed:2-3");
    assert_eq!(manifest["metadata"]["planned_test_count"], 4);
    assert_eq!(manifest["counts"]["passed"], 4);
    runner.run(&["verify", "latest"]).expect(0);

    // From now on it is the stored one.
    let before = fs_err::read(run.dir.join("benchmark.json")).unwrap();
    runner.run(&resume).expect(0).says(&["nothing has changed"]);
    assert!(fs_err::read(run.dir.join("benchmark.json")).unwrap() == before);
}

#[test]
fn what_failed_and_what_has_changed_run_again_together() {
    let runner = completed();
    let resume = ["resume", "--from", "latest", "--accept-changes", "-j1"];
    let rerun = |which: &str| runner.run(&[&resume[..], &["--rerun", which]].concat());
    rerun("failed")
        .expect(1)
        .says(&["nothing has changed", "this session ran 1 trial: 1 failed"]);
    // `b` fails as before, and `c` is another test now.
    rewrite(&runner, &BEFORE.replace("equals = 3", "equals = 4"));
    let ran_again = rerun("failed").expect(1);
    ran_again.says(&[
        "of 1 trial only what is expected has changed",
        "this session ran 2 trials: 2 failed",
    ]);
    let run = runner.only_run();
    // Session 3 has judged `c` again, which has failed by that.
    assert_eq!(ran(&run, 4), ["b", "c"]);
    assert_eq!(run.manifest()["sessions"][3]["rerun"], "changed:1-3");
    rewrite(&runner, &BEFORE.replace("equals = 0", "equals = 2"));
    rerun("failed").expect(0).says(&["passed: 3 of 3"]);
    // By what is expected now, both have passed.
    assert_eq!((ran(&run, 5), ran(&run, 6)), (vec![], vec![]));
    rerun("d")
        .expect(5)
        .says(&["no trial of the run matches `d`"]);
    runner.run(&["verify", "latest"]).expect(0);

    runner
        .run(&["show", "--trial", "d"])
        .expect(5)
        .says(&["no trial with a row matches `d`"]);
}

#[test]
fn trials_that_moved_or_are_gone_are_refused_and_nothing_changes() {
    let runner = completed();
    let run = runner.only_run();
    let before = fs_err::read(run.dir.join("benchmark.json")).unwrap();
    let lines: Vec<_> = BEFORE.lines().collect();
    let moved = [lines[1], lines[0], lines[2]].join("\n");
    for (after, says) in [
        (
            moved.as_str(),
            "trial `a@hostile#1` of the run is `b@hostile#1` now",
        ),
        (
            &lines[..2].join("\n"),
            "trial `c@hostile#1` of the run is gone",
        ),
    ] {
        rewrite(&runner, after);
        let refused = runner.run(&["resume", "--from", "latest", "--accept-changes"]);
        refused.expect(2).says(&[says, "begin a new run"]);
        assert!(fs_err::read(run.dir.join("benchmark.json")).unwrap() == before);
        assert_eq!(run.rows().len(), 3);
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_process_that_dies_while_it_adopts_changes_leaves_a_run_that_goes_on() {
    for place in [
        "opening.scenario.synced",
        "opening.begin",
        "opening.synced",
        "row.begin",
    ] {
        let runner = completed();
        rewrite(&runner, &BEFORE.replace("equals = 0", "equals = 2"));
        let resume = ["resume", "--from", "latest", "--accept-changes", "-j1"];
        let killed = format!("{place}=kill");
        runner.start_failing(&resume, &killed).finish_killed();

        runner.run(&resume).expect(0).says(&["passed: 3 of 3"]);
        let run = runner.only_run();
        assert_eq!(run.manifest()["counts"]["passed"], json!(3), "{place}");
        runner.run(&["verify", "latest"]).expect(0);
    }
}

#[cfg(debug_assertions)]
#[test]
fn whoever_dies_while_it_adopts_changes_leaves_a_run_that_is_whole_after_a_prune() {
    let places = runner::record::failpoint::PLACES;
    let on_the_way = |place: &&&str| place.starts_with("opening.") || place.starts_with("content.");
    for place in places.iter().filter(on_the_way) {
        let runner = completed();
        rewrite(&runner, &BEFORE.replace("equals = 0", "equals = 2"));
        let resume = ["resume", "--from", "latest", "--accept-changes", "-j1"];
        let killed = format!("{place}=kill");
        runner.start_failing(&resume, &killed).finish_killed();
        runner.run(&["verify", "latest"]).expect(0);

        // Nobody comes back to it for days.
        for entry in walkdir::WalkDir::new(runner.path("results/store")) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                let days = std::time::Duration::from_secs(72 * 3600);
                let file = fs_err::File::open(entry.path()).unwrap();
                let then = std::time::SystemTime::now() - days;
                file.set_modified(then).unwrap();
            }
        }
        runner.run(&["prune", "--no-dry-run"]).expect(0);
        runner.run(&["verify", "latest"]).expect(0);

        // Without the new scenario it goes on with whatever the manifest names, and that is enough to plan from.
        let explained = runner.run(&["resume", "--from", "latest", "--dry-run"]);
        explained.expect(0);
        runner.run(&resume).expect(0);
        assert_eq!(runner.only_run().manifest()["counts"]["passed"], json!(3));
        runner.run(&["verify", "latest"]).expect(0);
    }
}
