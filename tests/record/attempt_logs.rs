//! What is said in attempts, in files that many share.

use runner::model::Digest;
use serde_json::Value;

use crate::support::runner::{Run, Runner, tests};

/// Trials that say something, those of one test after those of another are on disk, and some that say nothing.
fn talkative() -> Runner {
    let runner = Runner::hostile_in_memory(&tests(
        r#"
        first | { do = "flood-log", count = 2, bytes = 30 } | equals = "flooded"
        naps  | { do = "sleep", ms = 100 } |
        said  | { do = "flood-log", count = 2, bytes = 30 } | equals = "flooded"
        mute  | { do = "echo", value = 1 } | equals = 1
        "#,
    ));
    let scenario = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&scenario.replace("id = \"said\"", "id = \"said\"\nrepeat = 12"));
    runner
}

fn log_files(run: &Run) -> Vec<String> {
    let names = fs_err::read_dir(&run.dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("logs-")).collect();
    names.sort();
    names
}

/// Fails unless every row that speaks of a log has its own.
#[track_caller]
fn assert_said(runner: &Runner, run: &Run) {
    runner.run(&["verify", run.id()]).expect(0);
    for row in run.rows() {
        let log = run.said(&row, "log");
        let records = log.map_or(0, |log| log.lines().count());
        let is_mute =
            ["naps@hostile#1", "mute@hostile#1"].contains(&row["trial"].as_str().unwrap());
        assert_eq!(records, if is_mute { 0 } else { 2 }, "{row}");
    }
    let logs = ["logs", run.id(), "said", "--json"];
    let document = runner.run(&logs).expect(0).document();
    let attempts = document["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 12);
    for attempt in attempts {
        assert_eq!(attempt["log"].as_array().unwrap().len(), 2, "{attempt}");
    }
}

#[test]
fn many_attempts_share_a_file_and_each_session_has_its_own() {
    let runner = talkative();
    runner.exec(&["-j", "2"]).expect(0);
    let run = runner.only_run();
    assert_eq!(log_files(&run), ["logs-1-1.jsonl"]);
    assert!(!run.dir.join("artifacts").exists());
    assert_said(&runner, &run);
    let lines: Vec<Value> = run
        .read("logs-1-1.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 13);
    runner.assert_valid("log-line", &lines);

    let before = run.read("logs-1-1.jsonl");
    let again = ["resume", "--from", "latest", "--rerun", "said@hostile#3"];
    runner.run(&again).expect(0);
    assert_eq!(log_files(&run), ["logs-1-1.jsonl", "logs-2-1.jsonl"]);
    assert_eq!(run.read("logs-1-1.jsonl"), before);
    let last = run.rows().pop().unwrap();
    assert_eq!(
        (&last["session"], &last["logs"]["at"]),
        (&2.into(), &0.into())
    );
    assert_eq!(run.said(&last, "log").unwrap().lines().count(), 2);
    runner.run(&["verify"]).expect(0);
}

#[cfg(debug_assertions)]
#[test]
fn what_was_said_without_a_row_is_in_nobodys_way() {
    for place in [
        "logs.written@2",
        "logs.synced@2",
        "row.begin@2",
        "row.written@1",
    ] {
        let runner = talkative();
        let args = ["exec", "scenario.toml", "-j", "1"];
        let failpoint = format!("{place}=kill");
        runner.start_failing(&args, &failpoint).finish_killed();
        let run = runner.only_run();
        let lines = run.read("logs-1-1.jsonl").lines().count();
        let named = run
            .rows()
            .iter()
            .filter(|row| row["logs"].is_object())
            .count();
        assert_eq!(lines > named, place != "row.written@1", "{place}");
        runner.run(&["verify"]).expect(0);

        // And half of another line, as a process leaves that dies while it writes.
        let said = run.read("logs-1-1.jsonl");
        run.write("logs-1-1.jsonl", format!("{said}{{\"v\":1,\"ordi"));
        runner.run(&["resume", "--from", "latest"]).expect(0);
        assert!(run.read("logs-1-1.jsonl").starts_with(&said));
        assert_eq!(log_files(&run), ["logs-1-1.jsonl", "logs-2-1.jsonl"]);
        assert_said(&runner, &run);
    }
}

#[test]
fn damage_to_what_was_said_is_found_and_told() {
    let runner = talkative();
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    let path = run.dir.join("logs-1-1.jsonl");
    let whole = fs_err::read(&path).unwrap();
    let length = whole.len() as u64;
    let mut flipped = whole.clone();
    flipped[100] ^= 1;
    let mut swapped = whole.clone();
    // Two lines of the same length, each in the other's place.
    let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let ends: Vec<_> = ends.map(|(at, _)| at + 1).collect();
    swapped[ends[1]..ends[2]].copy_from_slice(&whole[ends[2]..ends[3]]);
    swapped[ends[2]..ends[3]].copy_from_slice(&whole[ends[1]..ends[2]]);
    for (bytes, damages, problem) in [
        (flipped, 1, "the checksum does not match"),
        (whole[..whole.len() - 1].to_vec(), 1, "the file ends before"),
        (swapped, 2, "attempt 1 of said@hostile#3 is there"),
        (Vec::new(), 13, "the file ends before"),
    ] {
        fs_err::write(&path, bytes).unwrap();
        let ran = runner.run(&["verify"]).expect(1);
        assert!(ran.stdout.contains(problem), "{problem}: {}", ran.stdout);
        let document = runner.run(&["verify", "--json"]).expect(1).document();
        assert_eq!(document["damages"].as_array().unwrap().len(), damages);
        let told = runner.run(&["logs", "latest", "[fs]*@*"]).expect(0);
        told.says(&["cannot be read", problem]);
        assert_eq!(told.stdout.matches("nothing was said").count(), damages);
    }
    fs_err::remove_file(&path).unwrap();
    let ran = runner.run(&["verify"]).expect(1);
    assert!(ran.stdout.contains("logs-1-1.jsonl"), "{}", ran.stdout);
    fs_err::write(&path, &whole).unwrap();
    runner.run(&["verify"]).expect(0);

    // Reading changes nothing.
    assert_eq!(fs_err::metadata(&path).unwrap().len(), length);
    assert_eq!(
        Digest::of(&fs_err::read(&path).unwrap()),
        Digest::of(&whole)
    );
}

#[test]
fn a_session_whose_logs_somebody_has_removed_ends_instead_of_naming_what_is_not_there() {
    let runner = Runner::hostile(&format!(
        "{}\n[[tests]]\nid = \"slow\"\nrepeat = 200\ninput = {{ do = \"sleep\", ms = 30 }}\n",
        tests(r#"said | { do = "flood-log", count = 1, bytes = 10 } | equals = "flooded""#)
    ));
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["event"] == "row");
    let run = runner.only_run();
    fs_err::remove_file(run.dir.join("logs-1-1.jsonl")).unwrap();
    live.finish().expect(7);
    assert!(run.read("runner.log").contains("logs-1-1.jsonl"));
}
