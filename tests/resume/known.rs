//! `[known]`: which results a list of known failures expects.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{continuing::model, waiting};
use crate::messages::outputs::snapshot;
use crate::support::{
    run::Run,
    runner::{Runner, tests},
    truth::assert_consistent,
};

const TABLE: &str = r#"
    good    | { do = "echo", value = 1 } | equals = 1
    bad     | { do = "echo", value = 1 } | equals = 2
    a/worse | { do = "echo", value = 1 } | equals = 3
    traps   | { do = "trap" } |
"#;

/// Tests on the hostile guest, and their known failures.
fn runner(known: &str) -> Runner {
    let runner = Runner::hostile(&format!("[known]\nfiles = [\"known.toml\"]\n{}", tests(TABLE)));
    runner.write("known.toml", known);
    runner
}

/// Returns an entry with further keys.
fn entry(test: &str, more: &str) -> String {
    format!("[[failures]]\ntests = [\"{test}\"]\nreason = \"r\"\n{more}\n")
}

/// All that do not pass.
fn all() -> String {
    entry("bad", "") + &entry("a/*", "") + &entry("traps", "outcomes = [\"error\"]")
}

/// Returns the numbers of known failures and of unexpected passes.
fn known(run: &Run) -> (u64, u64) {
    let counts = &run.manifest()["counts"];
    let count = |key: &str| counts[key].as_u64().unwrap_or(0);
    (count("known"), count("unexpected_passes"))
}

/// Returns the list that a run is judged by.
fn list(runner: &Runner, run: &Run) -> Value {
    let manifest = run.manifest();
    let sessions = manifest["sessions"].as_array().unwrap();
    let digest = sessions.iter().rev().find_map(|session| session["known"].as_str()).unwrap();
    let path = runner.path(&format!("results/store/{}/{digest}", &digest[..2]));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn known_failures_of_removed_tests_do_not_count() {
    let runner = runner(&all());
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let rest = TABLE.replace("bad     |", "new     |");
    runner.scenario(&format!(
        "[known]\nfiles = [\"known.toml\"]\n[providers.hostile]\nplugin = \"hostile.wasm\"\n{}",
        tests(&rest)
    ));
    runner.run(&["resume", "latest", "--accept-changes"]).expect(1);
    assert_eq!(known(&run), (2, 0));
    runner.run(&["verify", run.id()]).expect(0);
    runner.run(&["show"]).expect(0).says(&["1 unexpected", "2 known"]);
}

#[test]
fn each_result_beside_an_entry_has_its_verdict() {
    let runner = runner("");
    for (entries, exit, counts) in [
        // All failures are known.
        (all(), 0, (3, 0)),
        // A failure without an entry.
        (entry("bad", "") + &entry("traps", "outcomes = [\"error\"]"), 1, (2, 0)),
        // A wrong answer became a crash.
        (all().replace("[\"error\"]", "[\"failed\"]"), 1, (2, 0)),
        (all().replace("[\"error\"]", "[\"failed\", \"timeout\", \"error\"]"), 0, (3, 0)),
        // A pass although a failure is expected.
        (all() + &entry("good", ""), 1, (3, 1)),
        (all() + &entry("good", "flaky = true"), 0, (3, 0)),
        // Of several entries, the last one decides.
        (entry("*", "") + &all(), 1, (3, 1)),
        (entry("*", "") + &all() + &entry("good", "flaky = true"), 0, (3, 0)),
        (all() + &entry("traps", ""), 1, (2, 0)),
        // Entries of other providers.
        (all().replace("reason", "providers = [\"other\"]\nreason"), 1, (0, 0)),
        (all().replace("reason", "providers = [\"h*\"]\nreason"), 0, (3, 0)),
        // Expired ones.
        (all() + &entry("bad", "until = 2020-02-29"), 0, (3, 0)),
        (all().replacen("reason", "until = 2020-02-29\nreason", 1), 1, (2, 0)),
        (all().replacen("reason", "until = 2999-12-31\nreason", 1), 0, (3, 0)),
        (String::new(), 1, (0, 0)),
    ] {
        runner.write("known.toml", &entries);
        let ran = runner.exec(&["--json"]).expect(exit);
        let run = runner.runs().pop().unwrap();
        assert_eq!(known(&run), counts, "{entries}");
        // Results stay as they are.
        assert_eq!([run.count("passed"), run.count("failed"), run.count("error")], [1, 2, 1]);
        let ended = ran.events().pop().unwrap();
        assert_eq!(ended["counts"]["known"].as_u64().unwrap_or(0), counts.0, "{ended}");
        let verdict = if exit == 0 { "passed" } else { "failed" };
        assert_eq!(run.manifest()["verdict"], verdict);
        runner.run(&["wait", "latest"]).expect(exit);
        runner.run(&["verify"]).expect(0);
    }
    assert_consistent(&runner);
}

#[test]
fn entries_of_the_scenario_follow_those_of_lists() {
    let scenario = "[known]\nfiles = [\"lists/*.toml\"]\nstrict = false\n\
        failures = [{ tests = [\"traps\"], reason = \"r\", outcomes = [\"error\"] }]\n";
    let runner = Runner::hostile(&format!("{scenario}{}", tests(TABLE)));
    fs::create_dir(runner.path("lists")).unwrap();
    runner.write("lists/b.toml", "# Notes.\n\n".to_owned() + &entry("*", ""));
    runner.write("lists/a.toml", entry("bad", "outcomes = [\"error\"]"));
    // Without `strict`, a pass is not unexpected.
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(known(&run), (3, 0));
    let list = list(&runner, &run);
    let places: Vec<_> = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["file"], &entry["line"]))
        .collect();
    let [a, b, own, line] = [json!("lists/a.toml"), json!("lists/b.toml"), Value::Null, json!(4)];
    assert_eq!(places, [(&a, &json!(1)), (&b, &json!(3)), (&own, &line)]);
}

#[test]
fn lists_are_read_within_their_bounds() {
    let runner = runner(&entry("bad", "").replace("\"r\"", "\"\""));
    snapshot(&runner.refused(&[], &[]));
    for (text, message) in [
        ("[[failures]]\nreason = \"r\"\n", "`tests` is missing"),
        ("[[failures]]\ntests = [\"{\"]\nreason = \"r\"\n", "must be a glob"),
        ("failures = 1\n", "must be an array"),
        ("[[failures]]\ntests = [\"a\"]\ntests = [\"a\"]\nreason = \"r\"\n", "duplicate key"),
        ("[[failures]]\ntests = [\"a\"]\nreason = \"r\"\nowner = \"me\"\n", "unknown key `owner`"),
        (
            "[[failures]]\ntests = [\"a\"]\nreason = \"r\"\noutcomes = [\"passed\"]\n",
            "`passed` is not a value",
        ),
        (
            "[[failures]]\ntests = [\"a\"]\nreason = \"r\"\nuntil = 2027-03-01T07:00:00\n",
            "must be a date",
        ),
    ] {
        runner.write("known.toml", text);
        runner.refused(&[], &[message, "known.toml:"]);
        runner.run(&["validate", "scenario.toml"]).expect(2).says(&[message]);
        runner.run(&["exec", "--dry-run", "scenario.toml"]).expect(2).says(&[message]);
    }
    let file = fs::File::create(runner.path("known.toml")).unwrap();
    file.set_len((16 << 20) + 1).unwrap();
    snapshot(&runner.refused(&[], &[]));
    fs::remove_file(runner.path("known.toml")).unwrap();
    let help = "create an empty file, then `runner known --update`";
    snapshot(&runner.refused(&[], &[help]));
    // A selection needs the list, too.
    snapshot(&runner.refused(&["--test", "good"], &[]));
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("known.toml"), all()).unwrap();
    runner.link(&elsewhere.path().join("known.toml"), "known.toml");
    snapshot(&runner.refused(&[], &[]));
}

#[test]
fn stale_entries_are_named_and_do_not_apply() {
    let other = "judged = \"00000000000000000000000000000000\"";
    let entries = all()
        + &entry("bad", other)
        + &entry("gone", "")
        + &entry("*", "until = 2020-01-01")
        + &entry("bad", "providers = [\"nobody\"]");
    let runner = runner(&entries);
    let notices = [
        "they have expired",
        "`known.toml:21`",
        "their tests have changed",
        "`known.toml:13`",
        "they match no trial",
        "`known.toml:17` (gone), `known.toml:25` (bad on nobody)",
    ];
    for args in [
        &["exec", "scenario.toml"][..],
        &["exec", "--dry-run", "scenario.toml"],
        &["validate", "scenario.toml"],
    ] {
        runner.run(args).expect(0).says(&notices);
    }
    let run = runner.only_run();
    assert_eq!(known(&run), (3, 0));
    let list = list(&runner, &run);
    let stale: Vec<_> =
        list["entries"].as_array().unwrap().iter().map(|entry| entry["stale"].as_str()).collect();
    let expected =
        [None, None, None, Some("changed"), Some("unmatched"), Some("expired"), Some("unmatched")];
    assert_eq!(stale, expected);
    // A selection or a shard leaves out trials, and not the entry.
    let ran = runner.exec(&["--test", "good"]).expect(0);
    assert!(!ran.stderr.contains("they match no trial"), "{}", ran.stderr);
    let shard =
        runner.exec(&["--shard", "1/2", "--into", "shards/{shard}", "--scheduler-exit"]).expect(0);
    snapshot(&shard);
    assert!(!shard.stderr.contains("known.toml:1`"), "{}", shard.stderr);
}

#[test]
fn strict_entries_fail_the_run_if_they_do_not_apply() {
    let scenario = |head: &str| {
        format!("[known]\nfiles = [\"known.toml\"]\nstrict = \"all\"\n{head}{}", tests(TABLE))
    };
    let runner = Runner::hostile(&scenario(""));
    let gone = entry("gone", "");
    let old = entry("*", "until = 2020-01-01");
    let line = "failed: ✗ 1 entry of known failures is stale: ";
    for (more, code, entry) in [
        ("", 0, ""),
        (&*gone, 1, "`known.toml:13` (gone), unmatched"),
        (&gone.replace("reason", "providers = ['x*']\nreason"), 1, "(gone on x*), unmatched"),
        (&*old, 1, "`known.toml:13` (*), expired"),
    ] {
        runner.write("known.toml", all() + more);
        let ran = runner.exec(&[]).expect(code);
        let shown = runner.run(&["show"]).expect(0);
        for text in [ran.stdout, shown.stdout] {
            assert_eq!(text.contains(line) && text.contains(entry), code == 1, "{text}");
            assert!(!text.contains("gate"), "{text}");
        }
        for (form, title) in
            [("--junit", "name=\"known.strict\""), ("--markdown", "`known.strict` ")]
        {
            let report = runner.run(&["report", form]).expect(0).stdout;
            assert_eq!(report.contains(title) && report.contains(entry), code == 1, "{report}");
        }
    }
    runner.write("known.toml", all() + &gone);
    snapshot(&runner.run(&["rescore"]).expect(1));
    // A selection or a shard may lack the trials of an entry, but the merged run does not.
    runner.exec(&["--test", "bad"]).expect(0);
    for shard in ["1/2", "2/2"] {
        let args = ["--shard", shard, "--into", "shards/{shard}"];
        runner.exec(&args).expect(0);
    }
    runner.run(&["merge", "--into", "all", "shards/1-of-2", "shards/2-of-2"]).expect(1);
    let gate = "[providers.hostile]\nplugin = \"hostile.wasm\"\n[gate]\npass_rate = 0.1\n";
    runner.scenario(&scenario(gate));
    snapshot(&runner.exec(&[]).expect(1));
}

#[test]
fn bounds_count_unexpected_results() {
    let runner = runner(&all());
    // Nothing stops at known failures.
    runner.exec(&["--fail-fast", "1", "-j", "1"]).expect(0);
    assert_eq!(runner.runs().pop().unwrap().count("passed"), 1);
    // The pass of the first test is unexpected.
    runner.write("known.toml", all() + &entry("good", ""));
    snapshot(&runner.exec(&["--fail-fast", "1", "-j", "1"]).expect(4));
    let run = runner.runs().pop().unwrap();
    assert_eq!((run.rows().len(), run.ending()[1].as_str()), (1, "fail-fast"));
}

#[test]
fn gate_holds_and_no_trial_is_unexpected() {
    for (gate, entries, exit) in [
        // A rate is about results as they are.
        ("pass_rate = 0.5", all(), 1),
        ("pass_rate = 0.25", all(), 0),
        ("pass_rate = 0.25", entry("bad", ""), 1),
        ("max_errors = 0", all(), 0),
        ("max_errors = 0", entry("*", ""), 1),
        ("max_errors = 1", entry("bad", ""), 1),
    ] {
        let runner = runner(&entries);
        let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        runner.scenario(&format!("[gate]\n{gate}\n{text}"));
        runner.exec(&[]).expect(exit);
        assert_consistent(&runner);
    }
}

#[test]
fn changed_list_judges_again_and_runs_nothing() {
    let runner = runner(&all());
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let rows = run.bytes("index.jsonl");
    // An old run keeps its verdict.
    runner.write("known.toml", entry("bad", ""));
    runner.run(&["wait", "latest"]).expect(0);
    snapshot(&runner.run(&["resume", "latest"]).expect(0));
    assert_eq!((known(&run), run.manifest()["sessions"].as_array().unwrap().len()), ((3, 0), 1));
    // A comment is not a change.
    runner.write("known.toml", "# Notes.\n".to_owned() + &all());
    runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 1);
    for (entries, exit, counts) in
        [(entry("bad", ""), 1, (1, 0)), (all(), 0, (3, 0)), (all() + &entry("good", ""), 1, (3, 1))]
    {
        for command in [&["resume", "latest", "--accept-changes"][..], &["rescore", "latest"]] {
            runner.write("known.toml", &entries);
            let sessions = run.manifest()["sessions"].as_array().unwrap().len();
            runner.run(command).expect(exit);
            assert_eq!(known(&run), counts, "{entries}");
            assert_eq!(run.bytes("index.jsonl"), rows);
            assert_consistent(&runner);
            runner.run(&["verify"]).expect(0);
            // The second time, nothing is to do.
            runner.run(command).expect(exit);
            assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), sessions + 1);
            // The other command has a change to read, too.
            runner.write("known.toml", entry("bad", "") + &entry("traps", ""));
            runner.run(&["rescore", "latest"]).expect(1);
        }
    }
    // Without `[known]`, the run is judged as one without a list.
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(
        &text.replace("[known]\nfiles = [\"known.toml\"]\n", "[gate]\npass_rate = 0.25\n"),
    );
    runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    assert_eq!((known(&run), run.bytes("index.jsonl")), ((0, 0), rows));
    assert_consistent(&runner);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn later_list_does_not_change_what_a_rerun_selected() {
    let runner = runner("");
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("[known]\nfiles = [\"known.toml\"]\n", ""));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    runner.run(&["resume", "latest", "--rerun", "failed"]).expect(1);
    assert_eq!(run.rows().len(), 7);
    // The pass of the first session is unexpected now, and was not selected then.
    runner.scenario(&text);
    runner.write("known.toml", all() + &entry("good", ""));
    runner.run(&["resume", "latest", "--accept-changes"]).expect(1);
    assert_eq!((run.rows().len(), known(&run)), (7, (3, 1)));
    // Only that one is unexpected.
    runner.run(&["resume", "latest", "--rerun", "failed"]).expect(1);
    assert_eq!((run.rows().len(), run.rows_of("good").len()), (8, 2));
    runner.write("known.toml", entry("bad", ""));
    runner.run(&["resume", "latest", "--accept-changes"]).expect(1);
    assert_eq!((run.rows().len(), known(&run)), (8, (1, 0)));
    assert_consistent(&runner);
}

#[test]
fn merged_shards_have_the_same_list() {
    let runner = runner(&all());
    let shard = |index: u32| {
        let shard = format!("{index}/2");
        runner.exec(&["--shard", &shard, "--into", "shards/{shard}", "--scheduler-exit"]).expect(0);
        format!("shards/{index}-of-2")
    };
    let merge =
        |name: &str| runner.run(&["merge", "--into", name, "shards/1-of-2", "shards/2-of-2"]);
    shard(1);
    runner.write("known.toml", all() + &entry("good", ""));
    shard(2);
    snapshot(&merge("results/whole").expect(2));
    // Another comment and a line more make no other list.
    runner.write("known.toml", "# Notes.\n".to_owned() + &all());
    fs::remove_dir_all(runner.path("shards/2-of-2")).unwrap();
    shard(2);
    merge("results/whole").expect(0);
    let run = Run { dir: runner.path("results/whole") };
    assert_eq!(known(&run), (3, 0));
    runner.run(&["verify", "whole"]).expect(0);
    runner.run(&["wait", "whole"]).expect(0);
    // The folder holds the run of this plan, with another list.
    runner.write("known.toml", entry("bad", ""));
    let again = runner.exec(&["--shard", "1/2", "--into", "shards/{shard}"]).expect(2);
    snapshot(&again);
}

#[test]
fn killed_sessions_keep_their_list() {
    let server = model(Duration::ZERO);
    let nap =
        "[[tests]]\nid = \"nap\"\nrepeat = 12\ninput = { path = \"/\" }\nexpect = { equals = 1 }\n";
    let runner = Runner::new(&[]);
    let provider = waiting("hostile", &server);
    runner.scenario(&format!("[known]\nfiles = [\"known.toml\"]\n{provider}{nap}"));
    runner.write("known.toml", entry("nap", ""));
    // Three trials end, and the next ones wait for their answers.
    server.hold_from(4);
    let mut first = runner.start(&["-j", "2"]);
    first.wait_for_rows(3);
    server.wait_for_requests(5);
    first.kill();
    let run = runner.only_run();
    let listed = runner.list()[0].clone();
    assert_eq!(
        (&listed["status"], &listed["counts"]["known"]),
        (&json!("incomplete"), &listed["counts"]["failed"])
    );
    // The session continues with the stored list.
    runner.write("known.toml", "");
    server.hold_from(server.requests().len() + 3);
    let mut second = runner.started(&["resume", "latest", "--json", "-j", "2"]);
    second.wait_for_rows(2);
    second.kill();
    server.open();
    runner.run(&["resume", "latest"]).expect(0);
    assert_eq!((run.count("failed"), known(&run)), (12, (12, 0)));
    assert_consistent(&runner);
    runner.run(&["resume", "latest", "--accept-changes"]).expect(1);
    assert_eq!(
        (run.rows().iter().filter(|row| row["final"] == true).count(), known(&run)),
        (12, (0, 0))
    );
    runner.run(&["verify"]).expect(0);
}
