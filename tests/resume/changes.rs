//! Changed files in a resumed run, and `--accept-changes`.

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};

use super::continuing::model;
use super::{FOUR, assert_rows, assert_status, assert_unchanged, waiting};
use crate::messages::outputs::snapshot;
use crate::support::{
    guests::component,
    http::Site,
    run::Run,
    runner::{Runner, tests},
    running::Running,
};

const PROVIDER: &str = "\n[providers.hostile]\nplugin = \"hostile.wasm\"\n";

/// Replaces the scenario's tests.
fn change(runner: &Runner, table: &str) {
    runner.scenario(&format!("{}{PROVIDER}", tests(table)));
}

fn run_of(table: &str, exit: i32) -> (Runner, Run) {
    let runner = Runner::hostile(&tests(table));
    runner.exec(&[]).expect(exit);
    let run = runner.only_run();
    (runner, run)
}

const ECHO: &str = r#"{ do = "echo", value = 1 }"#;

#[test]
fn inserted_and_moved_tests_keep_what_has_run() {
    let (runner, run) = run_of(&format!("a | {ECHO} |\nb | {ECHO} |"), 0);
    change(&runner, &format!("new | {ECHO} |\nb | {ECHO} |\na | {ECHO} |"));
    runner.run(&["resume", "--accept-changes"]).expect(0);
    assert_rows(&run, &[("a", 1), ("b", 1), ("new", 1)]);
    assert_eq!((run.planned(), run.count("passed")), (3, 3));
    assert_status(&runner, "completed");
    assert_eq!(
        run.text("scenario.toml"),
        fs::read_to_string(runner.path("scenario.toml")).unwrap()
    );
    // The new plan is stored, so the file may be deleted.
    fs::remove_file(runner.path("scenario.toml")).unwrap();
    let ran = runner.run(&["resume", "--rerun", "a"]).expect(0);
    snapshot(&ran);
    assert!(!ran.stderr.contains("--accept-changes"), "{}", ran.stderr);
    assert_rows(&run, &[("a", 2), ("b", 1), ("new", 1)]);
}

#[test]
fn edited_file_of_a_list_of_files_runs_only_its_test() {
    let runner = Runner::new(&[]);
    runner.scenario(
        "[providers.echo]\nplugin = \"bundled:echo\"\n[[test_lists]]\nfiles = [\"cases/*.in\"]\n\
         format = \"file\"\nid = \"{{file.stem}}\"\ninput = \"{{row.text}}\"\nexpect = { contains = \"1\" }\n",
    );
    fs::create_dir(runner.path("cases")).unwrap();
    for name in ["a", "b", "c"] {
        runner.write(&format!("cases/{name}.in"), format!("{name} 1\n"));
    }
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    runner.write("cases/b.in", "b 2\n");
    runner.run(&["resume", "--accept-changes"]).expect(1);
    assert_rows(&run, &[("a", 1), ("b", 2), ("c", 1)]);
}

#[test]
fn accepted_files_replace_lost_stored_ones() {
    let (runner, run) = run_of(&format!("a | {ECHO} |"), 0);
    let lose = [run.dir.join("scenario.toml"), runner.path("results/store")];
    for lost in &lose {
        let removed = if lost.is_dir() { fs::remove_dir_all(lost) } else { fs::remove_file(lost) };
        removed.unwrap();
        runner.run(&["resume", "--rerun", "all"]).expect(2).says(&["resume", "--accept-changes"]);
        runner.run(&["resume", run.id(), "--accept-changes"]).expect(0);
        runner.run(&["verify"]).expect(0);
        runner.run(&["resume", "--rerun", "all"]).expect(0);
    }
}

#[test]
fn new_access_is_refused_without_its_flag() {
    let (runner, run) = run_of(&format!("a | {ECHO} |"), 0);
    fs::create_dir(runner.path("data")).unwrap();
    let grant = |mode: &str, net: &str| {
        let folder = format!("{{ path = \"data\", mount = \"/data\", mode = \"{mode}\" }}");
        runner.scenario(&format!(
            "{}{PROVIDER}limits = {{ scratch = \"1MiB\" }}\ngrants = {{ fs = [{folder}], net = [{net}] }}\n",
            tests(&format!("a | {ECHO} |"))
        ));
    };
    let accept = ["resume", run.id(), "--accept-changes"];
    grant("rw", "");
    for more in [&[][..], &["--dry-run"], &["--queue"], &["--rerun", "all"]] {
        let ran = runner.run(&[&accept, more].concat()).expect(2);
        snapshot(&ran);
    }
    assert_rows(&run, &[("a", 1)]);
    runner.run(&[&accept[..], &["--accept-access"]].concat()).expect(0);
    // Less access is not new.
    grant("ro", "\"http://127.0.0.1:9\"");
    let ran = runner.run(&accept).expect(2);
    ran.says(&["provider `hostile` is granted net = [\"http://127.0.0.1:9\"]"]);
    assert!(!ran.stderr.contains("the folder"), "{}", ran.stderr);
    grant("ro", "");
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    for (keys, line) in [
        (
            "[[notify.webhooks]]\nurl = \"http://127.0.0.1:1/hook\"\nprivate = true\n",
            "a webhook posts to `http://127.0.0.1:1` (path d5f1a38b), also at a private address",
        ),
        (
            "[run]\ndeterministic = true\njudge_seed = { secret = \"SEED\" }\n",
            "judges' random numbers use the secret `SEED`",
        ),
    ] {
        runner.scenario(&format!("{keys}{scenario}"));
        runner.run(&accept).expect(2).says(&[line, "--accept-access"]);
    }
    runner.scenario(&scenario);
    runner.run(&accept).expect(0);
    // What a queue or a server starts accepts nothing that came after the request.
    runner.run(&[&accept[..], &["--rerun", "all", "--queue"]].concat()).expect(0);
    grant("rw", "");
    let rows = run.rows().len();
    runner.run(&["queue", "work", "--once"]).says(&["--accept-access"]);
    let site = Site::start(&runner, &["--scenarios", "."]);
    let body = json!({ "accept_changes": true, "rerun": "all" });
    site.post(&format!("/runs/{}/resume", run.id()), &body).refuses(422, &["--accept-access"]);
    assert_eq!(run.rows().len(), rows);
}

#[test]
fn access_of_two_variants_is_new_for_one() {
    let (a, b) = ("\"http://127.0.0.1:1\"", "\"http://127.0.0.1:2\"");
    let runner = Runner::new(&["hostile"]);
    let write = |net: &str, values: &str| {
        runner.scenario(&format!(
            "{}{PROVIDER}grants.net = [{net}]\nmatrix.port = [{values}]\n",
            tests(&format!("a | {ECHO} |"))
        ));
    };
    let each = "\"http://127.0.0.1:{{matrix.port}}\"";
    write(each, "1, 2");
    runner.exec(&[]).expect(0);
    let accept = ["resume", "latest", "--accept-changes"];
    write(&format!("{a}, {b}"), "1, 3");
    let says = format!("provider `hostile` is granted net = [{b}]");
    runner.run(&accept).expect(2).says(&[&says, "--accept-access"]);
    // Another variant with the access of one that has run.
    write(b, "3, 4");
    runner.run(&accept).expect(0);
}

#[test]
fn removed_tests_count_no_more() {
    let (runner, run) = run_of(&format!("a | {ECHO} |\nb | {ECHO} | equals = 2\nc | {ECHO} |"), 1);
    change(&runner, &format!("a | {ECHO} |\nc | {ECHO} |"));
    let changed = runner.run(&["resume", "--accept-changes"]).expect(0);
    assert!(
        !changed.stderr.contains("damaged") && !changed.stderr.contains("missing"),
        "{changed:?}"
    );
    assert_rows(&run, &[("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!((run.planned(), run.count("passed"), run.count("failed")), (2, 2, 0));
    assert_status(&runner, "completed");
    runner.run(&["verify"]).expect(0);
    let again = runner.run(&["resume", "--rerun", "{a,c}"]).expect(0);
    assert!(!again.stderr.contains("damaged"), "{again:?}");
    // A test that returns has its earlier result.
    change(&runner, &format!("b | {ECHO} | equals = 2\nc | {ECHO} |"));
    runner.run(&["resume", "--accept-changes"]).expect(1);
    assert_rows(&run, &[("a", 2), ("b", 1), ("c", 2)]);
    assert_eq!((run.count("passed"), run.count("failed")), (1, 1));
    assert_status(&runner, "completed");
}

#[test]
fn lost_row_of_a_removed_test_is_no_fault() {
    let (runner, run) = run_of(&format!("a | {ECHO} |\nb | {ECHO} |\nc | {ECHO} |"), 0);
    change(&runner, &format!("a | {ECHO} |"));
    runner.run(&["resume", "--accept-changes"]).expect(0);
    let rows = run.text("index.jsonl");
    let kept: String =
        rows.split_inclusive('\n').filter(|row| !row.contains("\"test\":\"c\"")).collect();
    assert_ne!(kept, rows);
    run.write("index.jsonl", kept);
    // A gap in the numbers of the rows is named if the row was not the last one.
    runner.run(&["verify"]).expect(0);
}

#[test]
fn dead_rerun_of_a_changed_plan_is_incomplete() {
    let server = model(Duration::ZERO);
    let runner = Runner::new(&[]);
    let write = |path: &str, last: &str| {
        let tests = ["a", "b", "c", last]
            .map(|id| format!("[[tests]]\nid = \"{id}\"\ninput = {{ path = \"{path}\" }}\n"));
        runner.scenario(&(waiting("hostile", &server) + &tests.concat()));
    };
    write("/old", "d");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    write("/new", "e");
    // One trial ends, and the next one waits for its answer.
    server.hold_from(server.requests().len() + 2);
    let mut again = runner.started(&["resume", "--accept-changes", "-j", "1", "--json"]);
    again.wait_for_rows(1);
    again.kill();
    assert_status(&runner, "incomplete");
    let before = run.rows().len();
    server.open();
    // The next resume finishes it without the flag.
    runner.run(&["resume"]).expect(0);
    assert_status(&runner, "completed");
    let rows = run.rows();
    assert_eq!(rows[before..].iter().filter(|row| row["final"] == true).count(), 8 - before);
    assert_eq!((run.planned(), run.count("passed")), (4, 4));
}

#[test]
fn changed_inputs_run_again() {
    let (runner, run) = run_of(&format!("a | {ECHO} |\nb | {ECHO} |"), 0);
    change(&runner, &format!("a | {ECHO} |\nb | {{ do = \"echo\", value = 2 }} |"));
    // Without the flag the change is reported, and not applied.
    assert_unchanged(&runner, || {
        snapshot(&runner.run(&["resume", "latest"]).expect(0));
    });
    let ran = runner.run(&["resume", "--rerun", "a"]).expect(0);
    snapshot(&ran);
    assert_rows(&run, &[("a", 2), ("b", 1)]);
    runner.run(&["resume", "--accept-changes"]).expect(0);
    assert_rows(&run, &[("a", 2), ("b", 2)]);
    assert_eq!(run.rows_of("b")[1]["output"], 2);
    assert_eq!(run.rows_of("b")[1]["attempt"], 2);
    assert_unchanged(&runner, || {
        runner.run(&["resume", "--accept-changes"]).expect(0);
    });
}

#[test]
fn changed_expectations_judge_what_is_stored() {
    let huge = r#"{ do = "huge-reply", bytes = 100000 }"#;
    let table = |a: u32, word: &str, error: &str| {
        format!(
            "a | {ECHO} | equals = {a}\nlarge | {huge} | {word}\nerror | {{ do = \"trap\" }} | {error}\nsame | {ECHO} |"
        )
    };
    let (runner, run) = run_of(&table(1, "", ""), 1);
    let judged = |table: String, exit, expected: [&str; 3]| {
        change(&runner, &table);
        runner.run(&["resume", "--accept-changes"]).expect(exit);
        for (test, outcome) in ["a", "large", "error"].iter().zip(expected) {
            let rows = run.rows_of(test);
            let (first, last) = (&rows[0], &rows[rows.len() - 1]);
            assert_eq!(last["outcome"], outcome, "{last}");
            assert_eq!(last["final"], true);
            assert_eq!(last["judged"], rows[rows.len() - 2]["seq"], "{last}");
            // No guest was called: the attempt is the earlier one.
            for key in
                ["attempt", "started_at", "duration_ms", "usage", "output", "artifacts", "error"]
            {
                assert_eq!(last[key], first[key], "{key}");
            }
            assert_eq!(last["flaky"], Value::Null);
        }
        assert_eq!(run.rows_of("same").len(), 1);
        assert_status(&runner, "completed");
    };
    judged(table(2, "matches = \"^z\"", "error = \"trap\""), 1, ["failed", "failed", "passed"]);
    judged(table(1, "matches = \"^x\"", "error = \"timeout\""), 1, ["passed", "passed", "error"]);
    judged(table(3, "equals = 1", "error = \"trap\""), 1, ["failed", "failed", "passed"]);
    assert_eq!(run.rows_of("a")[1]["checks"][0]["kind"], "equals");
    // An outcome under other expectations makes no later attempt flaky.
    change(&runner, &table(1, "", "error = \"trap\""));
    runner.run(&["resume", "--accept-changes"]).expect(0);
    runner.run(&["resume", "--rerun", "all"]).expect(0);
    assert_eq!((run.count("passed"), run.count("flaky")), (4, 0));
}

#[test]
fn own_checks_of_providers_stay() {
    let with = |expect: &str| {
        tests(&format!(
            "a | {{ do = \"judge\" }} | {expect}\nb | {{ do = \"verdict\", verdict = \"fail\" }} | {expect}"
        ))
    };
    let runner = Runner::hostile(&with(""));
    let code = runner.exec(&[]).code.unwrap();
    let run = runner.only_run();
    for expect in ["matches = \"no such text\"", "max_duration = \"1h\"", ""] {
        runner.scenario(&format!("{}{PROVIDER}", with(expect)));
        runner.run(&["resume", "--accept-changes"]);
    }
    for test in ["a", "b"] {
        let rows = run.rows_of(test);
        assert_eq!(rows.len(), 4, "{rows:?}");
        assert_eq!(rows[0]["outcome"], rows[3]["outcome"]);
        assert_eq!(rows[0]["checks"], rows[3]["checks"]);
        assert_eq!(rows[0]["verdict"], rows[3]["verdict"]);
    }
    runner.run(&["resume", "latest"]).expect(code);
}

#[test]
fn changed_plugins_run_all_their_trials() {
    let runner = Runner::new(&[]);
    let bytes = fs::read(component("hostile")).unwrap();
    runner.write("hostile.wasm", &bytes);
    change(&runner, &format!("a | {ECHO} |"));
    let echo = "\n[providers.echo]\nplugin = \"bundled:echo\"\n";
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{text}{echo}"));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    // A custom section changes only the digest.
    runner.write("hostile.wasm", [&bytes[..], &[0, 2, 1, b'x']].concat());
    let ran = runner.run(&["resume", "--rerun", "a@echo#1"]).expect(0);
    snapshot(&ran);
    assert_rows(&run, &[("a", 3)]);
    runner.run(&["resume", "--accept-changes"]).expect(0);
    let rows = run.rows_of("a");
    assert_eq!(rows.len(), 4);
    assert_eq!((&rows[3]["provider"], &rows[3]["attempt"]), (&json!("hostile"), &json!(2)));
}

#[test]
fn added_and_removed_providers_are_taken_over() {
    let (runner, run) = run_of(&format!("a | {ECHO} |"), 0);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    // The new test precedes the other one, whose index in the plan changes.
    runner.scenario(&format!("{text}\n[providers.echo]\nplugin = \"bundled:echo\"\n"));
    snapshot(&runner.run(&["resume", "--rerun", "all"]).expect(0));
    runner.run(&["resume", "--accept-changes"]).expect(0);
    assert_rows(&run, &[("a", 3)]);
    assert_eq!((run.planned(), run.count("passed")), (2, 2));
    assert_status(&runner, "completed");
    runner.scenario(&text.replace("hostile]", "echo]").replace("hostile.wasm", "bundled:echo"));
    runner.run(&["resume", "--accept-changes"]).expect(0);
    assert_rows(&run, &[("a", 3)]);
    assert_eq!((run.planned(), run.count("passed")), (1, 1));
    assert_status(&runner, "completed");
}

#[test]
fn reruns_and_changes_add_up() {
    let runner = Runner::hostile(FOUR);
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let text = format!("{}{PROVIDER}", FOUR.replace("equals = 2", "equals = 1"));
    runner.scenario(&text);
    runner.run(&["resume", "--accept-changes", "--rerun", "failed"]).expect(1);
    // A failed trial runs again, although judging it again would be enough.
    assert_rows(&run, &[("breaks", 2), ("fails", 2), ("hangs", 2), ("passes", 1)]);
    assert_eq!(run.rows_of("fails")[1]["attempt"], 2);
}

/// Makes all files of the store two days older. Returns their number.
#[cfg(debug_assertions)]
fn age_store(runner: &Runner) -> usize {
    let shelves = fs::read_dir(runner.path("results/store")).unwrap();
    let shelves = shelves.filter_map(|shelf| fs::read_dir(shelf.unwrap().path()).ok());
    let age = |entry: fs::DirEntry| {
        let file = fs::File::open(entry.path()).unwrap();
        let days = Duration::from_secs(2 * 24 * 3600);
        file.set_modified(std::time::SystemTime::now() - days).unwrap();
    };
    shelves.flatten().map(|entry| age(entry.unwrap())).count()
}

#[test]
#[cfg(debug_assertions)]
fn death_while_accepting_changes_leaves_one_plan() {
    let (runner, run) = run_of(&format!("a | {ECHO} |\nb | {ECHO} |"), 0);
    let (old_text, old) = (run.text("scenario.toml"), run.manifest());
    change(&runner, &format!("a | {ECHO} | equals = 2\nnew | {ECHO} |"));
    for place in ["store-keep", "manifest-write", "manifest-rename"] {
        let mut command: Command = runner.command(&["resume", "--accept-changes"]);
        command.env("RUNNER_FAULT", format!("{place}:kill:1"));
        assert_eq!(Running::start(&mut command).finish().code, None, "{place}");
        assert_eq!(run.manifest(), old, "{place}");
        assert_eq!(run.text("scenario.toml"), old_text);
        assert_status(&runner, "completed");
        // Days later a prune removes what only the new plan needs.
        let contents = age_store(&runner);
        runner.run(&["prune", "--keep-last", "1", "--yes"]).expect(0);
        assert_eq!(age_store(&runner), 2, "of {contents} after {place}");
        runner.run(&["verify", run.id()]).expect(0);
    }
    runner.run(&["resume", "--accept-changes"]).expect(1);
    assert_rows(&run, &[("a", 2), ("b", 1), ("new", 1)]);
    // As if the process had died before the text was renamed into place.
    let new_text = run.text("scenario.toml");
    run.write("scenario.toml", &old_text);
    let ran = runner.run(&["resume", "--rerun", "new", "--dry-run"]).expect(0);
    assert_eq!(ran.stdout, "new@hostile#1\n");
    assert_eq!(run.text("scenario.toml"), old_text);
    snapshot(&runner.run(&["resume", "--rerun", "new"]).expect(1));
    assert_eq!(run.text("scenario.toml"), new_text);
    assert_rows(&run, &[("a", 2), ("b", 1), ("new", 2)]);
}

#[test]
fn selection_of_a_run_stays() {
    let list = format!("a | {ECHO} |\nb | {ECHO} |");
    let runner = Runner::hostile(&tests(&list));
    runner.exec(&["--test", "a*"]).expect(0);
    let run = runner.only_run();
    change(&runner, &format!("{list}\na2 | {ECHO} |\nc | {ECHO} |"));
    runner.run(&["resume", "--accept-changes"]).expect(0);
    assert_rows(&run, &[("a", 1), ("a2", 1)]);
}

#[test]
fn groups_run_again_what_failed_in_them() {
    let runner = Runner::new(&[]);
    let scenario = |id: &str, expected: u32| {
        let echo = "[providers.echo]\nplugin = \"bundled:echo\"\n";
        format!("{}{echo}", tests(&format!("{id} | 1 | equals = {expected}")))
    };
    fs::create_dir(runner.path("all")).unwrap();
    runner.write("all/one.toml", scenario("good", 1));
    runner.write("all/two.toml", scenario("bad", 2));
    runner.run(&["exec", "all"]).expect(1);
    let group = runner.runs()[0].manifest()["group"]["id"].as_str().unwrap().to_owned();
    let ran = runner.run(&["resume", &group, "--rerun", "failed", "--dry-run"]).expect(0);
    assert_eq!(ran.stdout, "bad@echo#1\n");
    runner.run(&["resume", &group, "--rerun", "failed"]).expect(1);
    let rows: Vec<_> = runner.runs().iter().map(|run| run.rows().len()).collect();
    assert_eq!(rows, [1, 2]);
    runner.write("all/two.toml", scenario("bad", 1));
    runner.run(&["resume", &group, "--accept-changes"]).expect(0);
}
