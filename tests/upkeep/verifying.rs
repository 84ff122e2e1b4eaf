//! Damage that `verify` finds.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{ended, going_on, naps};
use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    random::times,
    run::{Run, sealed},
    runner::{Runner, tests},
    running::Running,
    wait::wait_until,
};

#[test]
fn verify_names_file_line_and_remedy() {
    let runner = naps(3, 1);
    let runs = ended(&runner, 2);
    runner.run(&["verify", "latest~1"]).expect(0).says(&["3 rows", "2 stored files"]);
    let run = &runs[1];
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.replacen("passed", "failed", 1));
    let ran = runner.run(&["verify"]).expect(1);
    let remedy = format!("to repair it: runner resume {}", run.id());
    ran.says(&[&format!("index.jsonl:1: the checksum does not match; {remedy}"), "3 faults"]);
    // The other faults have the same remedy.
    assert_eq!(ran.stdout.matches("runner resume").count(), 1, "{}", ran.stdout);
    let found = runner.run(&["verify", run.id(), "--json"]).expect(1).document();
    assert_eq!(found["faults"][0]["line"], 1);
    assert_eq!(found["rows"], 2);
    run.write("index.jsonl", &rows);

    // Rows of another run name a trial that this run does not plan.
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("\"nap\"", "\"doze\""));
    runner.exec(&["-q"]).expect(0);
    let other = runner.runs().pop().unwrap().text("index.jsonl");
    run.write("index.jsonl", &other);
    runner
        .run(&["verify", run.id()])
        .expect(1)
        .says(&["index.jsonl:1: the run has no trial doze@hostile#"]);
    for args in [&["--rerun", "all"][..], &["--dry-run"]] {
        let args = [&["resume", run.id()], args].concat();
        // The rows are in the order in which they ended.
        runner.run(&args).expect(2).says(&["line 1:", "doze@hostile#", "another run"]);
    }
    assert_eq!(run.text("index.jsonl"), other);
    run.write("index.jsonl", &rows);
    runner.run(&["verify", run.id()]).expect(0);

    let digest = run.manifest()["metadata"]["suite"].as_str().unwrap().to_owned();
    let stored = runner.path("results/store").join(&digest[..2]).join(&digest);
    fs::write(&stored, "{}\n").unwrap();
    runner.run(&["verify", run.id()]).expect(1).says(&[&digest, "remove it"]);
    fs::remove_file(&stored).unwrap();
    runner.run(&["verify", run.id()]).expect(1).says(&[&digest]);
}

#[test]
fn show_and_resume_count_damaged_lines_alike() {
    let runner = naps(2, 1);
    let run = &ended(&runner, 1)[0];
    let rows = run.text("index.jsonl");
    let first = rows.lines().next().unwrap();
    // A changed byte, a wrong value of a key that counts use, and of a key that they do not use.
    let changed = first.replacen("passed", "failed", 1);
    let wrong_outcome = sealed(&first.replacen("\"passed\"", "7", 1));
    let wrong_usage = sealed(&first.replacen("\"usage\":{", "\"usage\":7,\"other\":{", 1));
    for (line, is_counted) in [(changed, true), (wrong_outcome, true), (wrong_usage, false)] {
        assert_ne!(line, first);
        run.write("index.jsonl", rows.replacen(first, &line, 1));
        let shown = runner.run(&["show", run.id()]).expect(0);
        let dry = runner.run(&["resume", run.id(), "--dry-run"]).expect(0);
        for ran in [shown, dry] {
            let says = "1 line of index.jsonl is damaged";
            assert_eq!(ran.stderr.contains(says), is_counted, "{line}: {ran:?}");
        }
        let ran = runner.run(&["show", run.id(), "--json"]);
        if is_counted {
            assert_eq!(ran.expect(0).document()["damaged_lines"], 1);
        } else {
            // The counts need no more than the row's head. Its text cannot be shown, and must not be left out.
            ran.expect(7).says(&["a line of `nap@hostile`: not a row"]);
        }
        let ran = runner.run(&["verify", run.id()]).expect(1);
        ran.says(&["index.jsonl:1: "]);
        if !is_counted {
            ran.says(&["its result still counts", "1 fault"]);
        }
    }
}

/// Changes the first row of a run so that only its head is accepted.
fn refuse_first_row(run: &Run) {
    let rows = run.text("index.jsonl");
    let first = rows.lines().next().unwrap();
    let refused = sealed(&first.replacen("\"usage\":{", "\"usage\":7,\"other\":{", 1));
    run.write("index.jsonl", rows.replacen(first, &refused, 1));
}

#[test]
fn trial_with_a_refused_row_is_not_forgotten() {
    let scenario =
        |expected| tests(&format!("a | {{ do = \"echo\", value = 1 }} | equals = {expected}"));
    let runner = Runner::hostile(&scenario(1));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    refuse_first_row(&run);
    for form in ["--junit", "--csv"] {
        runner.run(&["report", form]).expect(2).says(&["a line of `a@hostile`: not a row"]);
    }
    runner.scenario(&format!("{}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n", scenario(2)));
    runner.run(&["rescore"]).expect(0).says(&["1 trial cannot be judged again"]);
    runner.run(&["rescore", "--explain"]).expect(0).says(&["its row cannot be read"]);
    // Its stored output cannot be judged by the new expectation, so it runs.
    runner.run(&["resume", "--accept-changes"]).expect(1);
    assert_eq!((run.rows().len(), run.count("failed")), (2, 1));
}

#[test]
fn budget_without_the_metrics_of_a_row_is_refused() {
    let runner = Runner::hostile(
        "[run.budget]\nmetrics = { tokens = 3 }\n[[tests]]\nid = \"a\"\nrepeat = 9\ninput = { do = \"measure\", tokens = 1 }\n",
    );
    runner.exec(&["-j", "1"]).expect(4);
    let run = runner.only_run();
    refuse_first_row(&run);
    let resume = ["resume", "-j", "1", "--budget", "tokens=4"];
    let says = "a line of `a@hostile#1`: not a row";
    runner.run(&resume).expect(2).says(&[says, "to run the trial again, remove the line"]);
    assert_eq!(run.rows().len(), 3);
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.split_once('\n').unwrap().1);
    runner.run(&resume).expect(4);
    assert_eq!(run.rows().len(), 4);
}

#[test]
fn place_beyond_a_log_line_is_refused() {
    let runner = naps(1, 1);
    let run = &ended(&runner, 1)[0];
    let logs = fs::File::create(run.dir.join("logs.jsonl")).unwrap();
    logs.set_len(5 << 30).unwrap();
    let row = run.text("index.jsonl");
    let places = "\"logs\":{\"at\":0,\"bytes\":4294967295},\"seq\":1";
    run.write(
        "index.jsonl",
        sealed(&row.replacen("\"seq\":1", places, 1).replace('\n', "")) + "\n",
    );
    for args in [&["verify"][..], &["logs"]] {
        snapshot(&runner.run(args));
    }
    snapshot(&runner.run(&["show", "latest", "nap@hostile#1"]).expect(0));
}

#[test]
fn large_manifests_are_refused() {
    let runner = naps(1, 1);
    let run = &ended(&runner, 1)[0];
    let manifest = run.manifest();
    let with = |key: &str, bytes: usize| {
        let mut manifest = manifest.clone();
        manifest[key] = "x".repeat(bytes).into();
        run.write("benchmark.json", manifest.to_string());
        let ran = runner.run(&["list"]).expect(0);
        assert!(ran.stdout.len() + ran.stderr.len() < 2000, "{} bytes", ran.stderr.len());
        ran
    };
    with("message", 9 << 20).says(&["a manifest has at most 8388608"]);
    with("message", 1 << 20).says(&["other texts of the run have 10486"]);
    with("scenario", 300).says(&["the scenario's name has 300 bytes"]);
    with("status", 1 << 20).says(&["it is damaged"]);
    run.write("benchmark.json", manifest.to_string());
    let label = format!("team={}", "x".repeat(70_000));
    snapshot(&runner.exec(&["--label", &label]).expect(2));
    assert_eq!(runner.runs().len(), 1);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("name = \"{}\"\n{text}", "x".repeat(256)));
    snapshot(&runner.run(&["validate", "scenario.toml"]).expect(2));
}

#[test]
fn completed_runs_are_repaired_by_resume() {
    let runner = naps(3, 1);
    let [run] = ended(&runner, 1).try_into().unwrap();
    let rows = run.text("index.jsonl");
    for tail in ["no end", "garbage\n", "garbage\nno end"] {
        run.write("index.jsonl", format!("{rows}{tail}"));
        runner.run(&["wait"]).expect(0);
        let resume = format!("runner resume {}", run.id());
        let ran = runner.run(&["verify"]);
        if tail.ends_with("no end") {
            ran.expect(1).says(&[&resume]);
        }
        let ran = runner.run(&["resume", run.id()]).expect(0);
        ran.says(&["was moved to", "index.torn-1", "nothing is left to do"]);
        assert_eq!(run.text("index.jsonl"), rows);
        runner.run(&["verify"]).expect(0);
        assert_eq!(runner.show(&run)["damaged_lines"], 0);
    }
}

#[test]
fn damage_without_loss_is_no_fault() {
    let mut transcript = Transcript::default();
    let runner = naps(3, 1);
    let [run] = ended(&runner, 1).try_into().unwrap();
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.replacen("passed", "pissed", 1));
    runner.run(&["verify"]).expect(1);
    snapshot(&runner.run(&["resume", run.id()]).expect(0));
    transcript.run(&runner, &["verify"]).expect(0);
    let found = runner.run(&["verify", "--json"]).expect(0).document();
    assert_eq!((&found["faults"], &found["harmless"][0]["line"]), (&json!([]), &json!(1)));
    let shown = transcript.run(&runner, &["show"]).expect(0);
    assert!(!shown.stderr.contains("runner resume"), "{}", shown.stderr);
    runner.run(&["wait"]).expect(0);
    // A row of an attempt that was not the last.
    let retried = tests("b | { do = \"fail-until\", attempt = 2 } |");
    let runner = Runner::hostile(&format!("[defaults]\nretries = {{ max = 1 }}\n{retried}"));
    runner.exec(&["-q"]).expect(0);
    let run = runner.only_run();
    run.write("index.jsonl", run.text("index.jsonl").replacen("not-yet", "not-now", 1));
    transcript.run(&runner, &["verify"]).expect(0);
    runner.run(&["wait"]).expect(0);
    snapshot(&runner.run(&["resume", run.id()]).expect(0));
    transcript.check("damage_without_loss_is_no_fault");
}

#[test]
fn lost_result_is_named_with_accepted_changes() {
    let runner = naps(3, 1);
    let [run] = ended(&runner, 1).try_into().unwrap();
    run.write("index.jsonl", run.text("index.jsonl").split_once('\n').unwrap().1);
    for more in [&["--dry-run"][..], &[]] {
        runner
            .run(&[&["resume", run.id(), "--accept-changes"], more].concat())
            .expect(0)
            .says(&["1 result is lost: benchmark.json counts more"]);
    }
}

#[test]
fn exhausted_files_are_no_damage() {
    let runner = naps(3, 1);
    ended(&runner, 1);
    for files in 4..12 {
        let limited = |command: &str| {
            let script = format!("ulimit -n {files}; exec \"$runner\" {command}");
            Running::start(&mut runner.shell(&script)).finish()
        };
        let verified = limited("verify");
        assert!(!verified.stderr.contains("fault") && verified.code != Some(1), "{verified:?}");
        let listed = limited("list --json");
        if listed.code == Some(0) {
            assert_eq!(listed.document()["runs"].as_array().unwrap().len(), 1, "{files} files");
        }
    }
}

#[test]
fn garbage_line_is_not_called_a_result() {
    let runner = naps(60, 200);
    going_on(&runner).kill();
    let run = runner.only_run();
    run.write("index.jsonl", format!("garbage\n{}", run.text("index.jsonl")));
    let explained = runner.run(&["resume", "--explain"]).expect(0);
    explained.says(&["1 line of index.jsonl is damaged; if it was a result, its trial runs again"]);
}

#[test]
fn rows_lost_under_a_session_are_found() {
    let runner = naps(200, 100);
    // All trials have a result of the first session when the second one loses its rows.
    for (args, kept) in [(&["exec", "scenario.toml"][..], 1), (&["resume", "--rerun", "all"], 200)]
    {
        let running = runner.started(&[args, &["-q", "-j", "1"]].concat());
        wait_until("the session has shown rows", || {
            let run = runner.runs().pop();
            let live = run.and_then(|run| fs::read(run.dir.join("live.json")).ok());
            let live: Value = serde_json::from_slice(&live.unwrap_or_default()).unwrap_or_default();
            live["last_seq"].as_u64() > Some(kept + 2)
        });
        let run = runner.only_run();
        runner.run(&["verify"]).expect(0);
        running.process().signal(Signal::STOP);
        wait_until("it is stopped", || running.process().is_stopped());
        let rows = run.text("index.jsonl");
        let kept_rows: String = rows.split_inclusive('\n').take(kept as usize).collect();
        run.write("index.jsonl", &kept_rows);
        let says = format!("it ends after row {kept}, and the session that works on the run has");
        runner.run(&["verify"]).expect(1).says(&["index.jsonl: ", &says, "1 fault"]);
        running.kill();
        runner.run(&["resume", run.id(), "-q", "-j", "20"]).expect(0);
        runner.run(&["verify"]).expect(0);
    }
}

#[test]
fn lost_result_of_a_rerun_is_counted() {
    let runner = naps(2, 1);
    let [run] = ended(&runner, 1).try_into().unwrap();
    runner.run(&["resume", run.id(), "--rerun", "all"]).expect(0);
    let rows = run.text("index.jsonl");
    let newest = rows.trim_end().rfind('\n').unwrap();
    run.write("index.jsonl", &rows[..=newest]);
    let ran = runner.run(&["verify"]).expect(1);
    ran.says(&["1 trial has no result of the last session"]);
}

#[test]
fn starting_sessions_are_not_accused() {
    let runner = naps(times(200, 3000), 0);
    runner.exec(&["-q"]).expect(0);
    let run = runner.only_run();
    for _ in 0..times(1, 20) {
        let sessions = run.manifest()["sessions"].as_array().unwrap().len();
        let rerun = runner.started(&["resume", run.id(), "--rerun", "all", "-q"]);
        let mut verified = 0;
        while run.manifest()["sessions"].as_array().unwrap().len() == sessions || verified < 3 {
            for args in [&["verify", run.id()][..], &["resume", run.id(), "--dry-run"]] {
                let ran = runner.run(args);
                assert!(!ran.stderr.contains("another run"), "{}", ran.stderr);
                ran.expect(0);
            }
            verified += 1;
        }
        rerun.finish().expect(0);
        runner.run(&["verify"]).expect(0);
    }
}
