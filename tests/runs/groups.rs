//! Several scenarios as the runs of one group.

use serde_json::Value;

use crate::support::{
    runner::{CommandExt as _, Runner, Signal, tests},
    wait::wait_until,
};

/// A folder with these scenarios, each with its tests.
fn scenarios(each: &[(&str, &str)]) -> Runner {
    let runner = Runner::new(&["hostile"]);
    for (name, table) in each {
        let text = format!(
            "name = \"{name}\"\n[providers.p]\nplugin = \"../hostile.wasm\"\n{}",
            tests(table)
        );
        runner.write(&format!("all/{name}.toml"), text);
    }
    runner
}

const PASSES: &str = "one | { do = \"echo\", value = 1 } | equals = 1";
const FAILS: &str = "one | { do = \"echo\", value = 1 } | equals = 2";
const SLEEPS: &str =
    "one | { do = \"echo\", value = 1 } |\nlong | { do = \"sleep\", ms = 60000 } |";

/// The group's runs, in its order.
fn runs(runner: &Runner) -> Vec<Value> {
    let list = runner.run(&["list", "--json"]).expect(0).document();
    let mut runs = list["runs"].as_array().unwrap().clone();
    runs.sort_by_key(|run| run["run"].as_str().unwrap().to_owned());
    runs
}

/// The id of the only group.
fn group(runner: &Runner) -> String {
    let runs = runs(runner);
    let ids: Vec<_> = runs
        .iter()
        .map(|run| run["run"].as_str().unwrap().split_once('.').unwrap().0)
        .collect();
    assert!(ids.windows(2).all(|two| two[0] == two[1]), "{ids:?}");
    ids[0].to_owned()
}

#[test]
fn a_folder_runs_as_a_group_with_one_summary_and_the_worst_exit_code() {
    let runner = scenarios(&[("a", PASSES), ("b", FAILS), ("c", PASSES)]);
    let ran = runner.run(&["exec", "all"]).expect(1);
    let group = group(&runner);
    ran.says(&[
        "1/3 all/a.toml",
        "3/3 all/c.toml",
        "2 of 3 scenarios passed",
    ]);
    ran.says(&[&format!("group: {group}"), "; exit code 1"]);
    let runs = runs(&runner);
    let told: Vec<_> = runs
        .iter()
        .map(|run| (&run["scenario"], &run["verdict"]))
        .collect();
    let expected = [("a", "passed"), ("b", "failed"), ("c", "passed")]
        .map(|(name, verdict)| (Value::from(name), Value::from(verdict)));
    assert_eq!(told.len(), 3);
    for ((name, verdict), (expected, should)) in told.into_iter().zip(&expected) {
        assert_eq!((name, verdict), (expected, should));
    }

    // Each of these takes the group's id, or a part of it.
    let part = &group[group.len() - 8..];
    let list = |args: &[&str]| {
        let document = runner
            .run(&[args, &["--json"]].concat())
            .expect(0)
            .document();
        document["runs"].as_array().unwrap().len()
    };
    assert_eq!(list(&["show", part]), 3);
    assert_eq!(list(&["list", "--group", part]), 3);
    assert_eq!(list(&["list", "--group", "ffffffffff"]), 0);
    let junit = runner.run(&["report", part, "--junit"]).expect(0).stdout;
    assert_eq!(junit.matches("<testsuite ").count(), 3);
    let markdown = runner.run(&["report", part]).expect(0).stdout;
    assert!(markdown.contains("### ❌ b"), "{markdown}");
    let csv = runner.run(&["report", part, "--csv"]).expect(0).stdout;
    let lines: Vec<_> = csv
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>())
        .collect();
    assert_eq!(lines[0][..2], ["run", "trial"]);
    let first: Vec<_> = lines[1..].iter().map(|line| line[0]).collect();
    let ids: Vec<_> = runs
        .iter()
        .map(|run| run["run"].as_str().unwrap())
        .collect();
    assert_eq!(first, ids);
    assert_eq!(lines[2][7], "failed");
    let filtered = ["report", part, "--csv", "--filter", "provider(p)"];
    assert_eq!(runner.run(&filtered).expect(0).stdout, csv);
    let page = runner.run(&["report", part, "--html"]).expect(0).stdout;
    assert!(page.contains(&format!("<h1>Group {group}</h1>")), "{page}");
    assert!(page.contains("2 of 3 scenarios passed"), "{page}");
    for place in 1..=3 {
        assert!(page.contains(&format!("<article id=\"run-{place}\">")));
        assert!(page.contains(&format!("href=\"#run-{place}\"")));
    }
    // What failed in the second run is linked to there, though the others have a trial with the same place.
    assert_eq!(page.matches("id=\"trial-2-0\"").count(), 1);
    assert_eq!(page.matches("href=\"#trial-2-0\"").count(), 1);
    let ids = regex::Regex::new(" id=\"([^\"]*)\"").unwrap();
    let mut ids: Vec<_> = ids
        .captures_iter(&page)
        .map(|id| id[1].to_owned())
        .collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "each name is given once");
    runner.run(&["show", part, "--failed"]).expect(2);
    // What is done with nothing left says how the group stands.
    let ran = runner.run(&["resume", "--from", part]).expect(1);
    ran.says(&["nothing is left to run", "2 of 3 scenarios passed"]);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn two_groups_are_compared_run_by_run() {
    let runner = scenarios(&[("a", PASSES), ("b", FAILS), ("c", PASSES)]);
    runner.run(&["exec", "all"]).expect(1);
    let base = group(&runner);
    let text = fs_err::read_to_string(runner.path("all/a.toml")).unwrap();
    runner.write("all/a.toml", text.replace("equals = 1", "equals = 2"));
    let text = fs_err::read_to_string(runner.path("all/b.toml")).unwrap();
    runner.write("all/b.toml", text.replace("equals = 2", "equals = 1"));
    fs_err::rename(runner.path("all/c.toml"), runner.path("all/d.toml")).unwrap();
    let text = fs_err::read_to_string(runner.path("all/d.toml")).unwrap();
    runner.write("all/d.toml", text.replace("name = \"c\"", "name = \"d\""));
    runner.run(&["exec", "all"]).expect(1);
    let ids = runner.ids();
    let new = ids.iter().find(|id| !id.starts_with(&base)).unwrap();
    let new = new.split_once('.').unwrap().0.to_owned();

    let document = runner.run(&["compare", &base, &new, "--json"]).expect(0);
    let document = document.document();
    runner.assert_valid("compare", std::slice::from_ref(&document));
    assert_eq!(
        (&document["base"], &document["new"]),
        (&base.as_str().into(), &new.as_str().into())
    );
    let counts = &document["counts"];
    assert_eq!(
        (&counts["regressed"], &counts["fixed"]),
        (&1.into(), &1.into())
    );
    let scenarios: Vec<_> = document["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["new"]["scenario"])
        .collect();
    assert_eq!(scenarios, ["a", "b"]);
    assert_eq!(document["only_base"], serde_json::json!(["c"]));
    assert_eq!(document["only_new"], serde_json::json!(["d"]));

    let text = runner.run(&["compare", &base, &new]).expect(0).stdout;
    for says in [
        "1/2 a",
        "2/2 b",
        "only in the base group: c",
        "only in the new group: d",
        "1 regressed, 1 fixed",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let markdown = runner
        .run(&["compare", &base, &new, "--markdown"])
        .expect(0)
        .stdout;
    assert!(
        markdown.starts_with("## ❌ 1 regressed, 1 fixed\n"),
        "{markdown}"
    );
    assert!(markdown.contains("### ✅ b: 1 fixed"), "{markdown}");
    let page = runner
        .run(&["compare", &base, &new, "--html"])
        .expect(0)
        .stdout;
    assert!(page.contains("href=\"#run-2\"") && page.contains("<article id=\"run-2\">"));

    let fails = ["compare", &base, &new, "--fail-on", "regression"];
    runner.run(&fails).expect(1);
    let one = &ids.iter().find(|id| id.starts_with(&base)).unwrap();
    runner
        .run(&["compare", one, &new])
        .expect(2)
        .says(&["a run is not compared with a group"]);
    runner.run(&["compare", &base, &base]).expect(2);
}

/// Whoever lets the runs follow each other is suspended in the moment between two of them.
#[cfg(debug_assertions)]
#[test]
fn a_stop_finds_a_group_in_the_moment_between_two_runs() {
    // Once it has looked whether it is to end, and before it has; only one run of the group is there then.
    for (place, begun) in [("birth.directory@2", 2), ("finish.synced@1", 1)] {
        let runner = scenarios(&[("a", PASSES), ("b", SLEEPS), ("c", PASSES)]);
        let mut exec = runner.start_failing(&["exec", "all"], &format!("{place}=halt"));
        exec.wait_until_halted();
        let group = group(&runner);
        let stop = runner.command(&["stop", &group]).start();
        let request = runner.path(&format!("results/.group-{group}.end"));
        wait_until("it has asked", || request.exists());
        exec.signal(Signal::CONT);
        let ran = exec.finish();
        assert!(![Some(0), Some(1)].contains(&ran.code), "{ran:?}");
        ran.says(&["not begun"]);
        let stopped = stop.finish();
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
        let runs = runs(&runner);
        assert_eq!(runs.len(), begun, "{place}");
        assert_eq!(runs[0]["status"], "completed");
        // Nothing of it stays, and nobody obeys what was asked of somebody else.
        assert!(!request.exists());
        assert!(!runner.path(&format!("results/.group-{group}")).exists());
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_request_to_a_group_whose_process_was_killed_stops_nobody() {
    let runner = scenarios(&[("a", PASSES), ("b", PASSES)]);
    let mut exec = runner.start_failing(&["exec", "all"], "birth.born@2=halt");
    exec.wait_until_halted();
    let group = group(&runner);
    let request = runner.path(&format!("results/.group-{group}.end"));
    let lock = fs_err::read_to_string(runner.path(&format!("results/.group-{group}"))).unwrap();
    let token = lock
        .lines()
        .find_map(|line| line.strip_prefix("token "))
        .unwrap();
    fs_err::write(&request, token).unwrap();
    exec.kill();
    runner.run(&["resume", "--from", &group]).expect(0);
    assert!(runs(&runner).iter().all(|run| run["status"] == "completed"));
    assert!(!request.exists());
}

#[cfg(debug_assertions)]
#[test]
fn a_cancel_finds_a_group_in_the_moment_between_two_runs() {
    let runner = scenarios(&[("a", PASSES), ("b", SLEEPS)]);
    let mut exec = runner.start_failing(&["exec", "all"], "finish.synced@1=halt");
    exec.wait_until_halted();
    let group = group(&runner);
    let cancel = runner.command(&["cancel", &group]).start();
    let request = runner.path(&format!("results/.group-{group}.end"));
    wait_until("it has asked", || request.exists());
    exec.signal(Signal::CONT);
    assert_eq!(exec.finish().code, Some(4));
    let cancelled = cancel.finish().expect(0);
    cancelled.says(&["no other run of its group begins any more"]);
    let runs = runs(&runner);
    assert_eq!((runs.len(), &runs[0]["status"]), (1, &"completed".into()));
    // Nothing of it is left to be cancelled then.
    runner.run(&["cancel", &group]).expect(2);
}

#[cfg(debug_assertions)]
#[test]
fn what_the_process_of_a_group_has_left_that_was_killed_goes_with_the_next_sweep() {
    let sweeps: [&[&str]; 3] = [
        &["cleanup", "--no-dry-run"],
        &["exec", "all/a.toml"],
        &["prune", "--keep-last", "9", "--no-dry-run"],
    ];
    for sweep in sweeps {
        let runner = scenarios(&[("a", PASSES), ("b", PASSES)]);
        let mut exec = runner.start_failing(&["exec", "all"], "birth.born@2=halt");
        exec.wait_until_halted();
        let lock = runner.path(&format!("results/.group-{}", group(&runner)));
        fs_err::write(lock.with_extension("end"), "nobody").unwrap();
        // As long as it lives, nothing of it goes.
        runner.run(sweep).expect(0);
        assert!(lock.exists(), "{sweep:?}");
        exec.kill();
        assert!(lock.exists());
        runner.run(sweep).expect(0);
        assert!(!lock.exists(), "{sweep:?}");
        assert!(!lock.with_extension("end").exists(), "{sweep:?}");
    }
}

#[test]
fn a_group_is_cancelled_as_a_whole() {
    let runner = scenarios(&[("a", SLEEPS), ("b", SLEEPS), ("c", PASSES)]);
    let exec = runner.command(&["exec", "all"]).start();
    wait_until("the first has a row", || {
        let runs = runner.runs();
        runs.len() == 1 && !runs[0].rows().is_empty()
    });
    let group = group(&runner);
    runner.run(&["stop", &group]).expect(0);
    exec.finish();
    let resume = runner.command(&["resume", "--from", &group]).start();
    wait_until("it goes on", || runs(&runner)[0]["status"] == "running");
    runner.run(&["cancel", &group]).expect(0);
    assert_ne!(resume.finish().code, Some(0));
    assert_eq!(runs(&runner)[0]["status"], "cancelled");
}

#[test]
fn nothing_begins_where_one_scenario_cannot_run() {
    let runner = scenarios(&[("a", PASSES)]);
    runner.write("all/b.toml", "name = 1\n");
    runner.write("all/c.toml", "x = \n");
    let ran = runner.run(&["exec", "all"]).expect(2);
    ran.says(&[
        "2 of 3 scenarios cannot run, and none was begun",
        "all/b.toml",
        "all/c.toml",
    ]);
    assert!(!runner.path("results").exists());
    for flag in [&["--detach"][..], &["--into", "results/x"]] {
        let args = [&["exec", "all/a.toml", "all/a.toml"], flag].concat();
        runner.run(&args).expect(2).says(&["is for one run"]);
    }
    runner.write("empty/readme.txt", "");
    let ran = runner.run(&["exec", "empty"]).expect(2);
    ran.says(&["there is no TOML file"]);
}

#[test]
fn what_is_selected_nowhere_is_said_and_what_would_run_is_shown() {
    let runner = scenarios(&[("a", PASSES), ("b", "two | { do = \"echo\" } |")]);
    let ran = runner.run(&["exec", "all", "--test", "two"]).expect(0);
    ran.says(&["1/1 all/b.toml", "nothing selected in: all/a.toml"]);
    runner.run(&["exec", "all", "--test", "three"]).expect(5);
    let ran = runner.run(&["exec", "all", "--dry-run"]).expect(0);
    assert_eq!(ran.stdout, "one@p#1\ntwo@p#1\n");
    ran.says(&["all/a.toml", "all/b.toml"]);
}

#[test]
fn a_signal_stops_the_group_and_resume_goes_on_with_it() {
    let runner = scenarios(&[("a", PASSES), ("b", SLEEPS), ("c", PASSES)]);
    let mut running = runner.command(&["exec", "all", "--json"]).start();
    running.wait_while_alive("the second run has a row", || {
        let runs = runner.runs();
        runs.len() == 2 && runs.iter().all(|run| !run.rows().is_empty())
    });
    let (ran, _) = running.end_by(Signal::INT);
    assert_eq!(ran.code, Some(130), "{ran:?}");
    let before = runs(&runner);
    assert_eq!(before.len(), 2, "the third has not begun");
    assert_eq!(before[1]["status"], "incomplete");

    // Another process stops it as well, by the group's name.
    let group = group(&runner);
    let again = runner
        .command(&["resume", "--from", &group, "--json"])
        .start();
    wait_until("it goes on", || runs(&runner)[1]["status"] == "running");
    runner.run(&["stop", &group]).expect(0);
    let ran = again.finish();
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(runs(&runner)[1]["status"], "incomplete");
}
