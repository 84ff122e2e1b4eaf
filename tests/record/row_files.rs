//! Runs whose rows are in several files, of which each is full at some size.

use crate::support::{
    runner::{Run, Runner, tests},
    truth::{assert_same_end, canonical, every_kind, undisturbed},
};

/// Makes a file of rows full with each commit.
const SMALL: &str = "full=1";

fn exec_small(runner: &Runner, args: &[&str]) -> Run {
    let args = [&["exec", "scenario.toml", "--json", "-j", "2"], args].concat();
    runner.start_failing(&args, SMALL).finish();
    runner.only_run()
}

fn files(run: &Run) -> usize {
    let names = fs_err::read_dir(&run.dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_of_rows = |name: &String| name.starts_with("index") && name.ends_with(".jsonl");
    names.filter(is_of_rows).count()
}

#[test]
fn rows_in_several_files_are_those_of_one_for_every_command() {
    let runner = every_kind();
    let run = exec_small(&runner, &[]);
    assert!(files(&run) > 2, "{}", files(&run));
    assert_same_end(&run, &undisturbed());
    let seqs: Vec<_> = run.lines().iter().map(|row| row["seq"].as_u64()).collect();
    assert!(seqs.iter().copied().eq((1..=seqs.len() as u64).map(Some)));
    let id = run.id().to_owned();
    runner.run(&["verify", &id]).expect(0);

    // The same rows in one file.
    let answers = |runner: &Runner| {
        let commands = [
            &["show", &id, "--json"][..],
            &["show", &id, "--rows"],
            &["report", &id, "--csv"],
            &["logs", &id],
            &["list", "--json"],
        ];
        commands.map(|args| runner.run(args).stdout)
    };
    let before = answers(&runner);
    let whole = run.index();
    for number in 2.. {
        let path = run.dir.join(format!("index-{number}.jsonl"));
        if !path.exists() {
            break;
        }
        fs_err::remove_file(path).unwrap();
        fs_err::remove_file(run.dir.join(format!("index.seal-{}", number - 1))).unwrap();
    }
    run.write("index.jsonl", whole);
    assert_eq!(answers(&runner), before);
}

#[test]
fn a_run_goes_on_in_its_last_file_and_runs_trials_again_behind_it() {
    let runner = every_kind();
    let exec = ["exec", "scenario.toml", "--json", "-j", "2"];
    runner
        .start_failing(&exec, "row.begin@2=kill")
        .finish_killed();
    let run = runner.only_run();
    let torn = [&run.index()[..], b"{\"v\":2,\"se"].concat();
    run.write("index.jsonl", torn);
    let resume = |args: &[&str]| {
        let args = [&["resume", "--from", "latest", "--json"], args].concat();
        runner.start_failing(&args, SMALL).finish()
    };
    resume(&[]).expect(1);
    assert!(files(&run) > 1);
    let before = canonical(&run);
    assert_same_end(&run, &undisturbed());
    resume(&["--rerun", "all"]).expect(1);
    assert_eq!(canonical(&run).len(), before.len());
    runner.run(&["verify"]).expect(0);
    let show = runner.run(&["show", "--json"]).document();
    assert_eq!(show["run"]["counts"]["planned"], before.len());

    // What a crash has torn in the last file is moved aside, and its number is given again.
    let last = format!("index-{}.jsonl", files(&run));
    let rows = run.lines().len();
    let text = run.read(&last);
    run.write(&last, &text[..text.len() - 20]);
    run.change_manifest(|manifest| {
        manifest["status"] = "incomplete".into();
        manifest["verdict"] = "none".into();
    });
    runner.run(&["resume", "--from", "latest"]).expect(1);
    assert_eq!(run.lines().len(), rows);
    assert!(run.dir.join("index.torn-3").exists());
}

#[test]
fn a_file_of_rows_that_is_missing_or_changed_is_found_and_nothing_is_written_behind_it() {
    let runner = every_kind();
    let run = exec_small(&runner, &[]);
    let second = run.dir.join("index-2.jsonl");
    let aside = run.dir.join("aside");
    fs_err::rename(&second, &aside).unwrap();
    runner
        .run(&["verify"])
        .expect(1)
        .prints("index-2.jsonl` is missing");
    let before = run.index();
    let refused = runner.run(&["resume", "--from", "latest", "--rerun", "all"]);
    refused.expect(7).says(&["index-2.jsonl` is missing"]);
    assert_eq!(run.index(), before);
    fs_err::rename(&aside, &second).unwrap();
    runner.run(&["verify"]).expect(0);

    // Whole rows can be taken from the end of a file without any damage to a line.
    let text = run.read("index-2.jsonl");
    let first = text.split_inclusive('\n').next().unwrap();
    run.write("index-2.jsonl", [first, first].concat());
    let verified = runner.run(&["verify"]).expect(1);
    verified.prints("when it was full, and has 2 lines");
    run.write("index-2.jsonl", &text);

    let count = files(&run);
    fs_err::remove_file(run.dir.join(format!("index-{count}.jsonl"))).unwrap();
    let verified = runner.run(&["verify"]).expect(1);
    verified.prints(&format!("index-{count}.jsonl: is missing"));
}

#[test]
fn a_seal_that_a_process_did_not_write_any_more_is_made_by_the_next_session() {
    let runner = every_kind();
    let run = exec_small(&runner, &[]);
    let seal = run.dir.join("index.seal-1");
    let text = fs_err::read(&seal).unwrap();
    fs_err::remove_file(&seal).unwrap();
    runner.run(&["verify"]).expect(0);
    runner.run(&["resume", "--from", "latest"]).expect(1);
    assert_eq!(fs_err::read(&seal).unwrap(), text);
}

#[test]
fn a_merged_run_has_its_rows_in_files_that_are_full_as_well() {
    let runner = Runner::hostile(&tests(
        r#"
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "echo", value = 1 } | equals = 2
        c | { do = "echo", value = 1 } | equals = 1
        d | { do = "echo", value = 1 } | equals = 1
        "#,
    ));
    let exec = |args: &[&str]| {
        let args = [&["exec", "scenario.toml", "--repeat", "5"], args].concat();
        runner.start_failing(&args, SMALL).finish()
    };
    exec(&["--into", "whole/run"]).expect(1);
    let shards = ["shards/1", "shards/2"];
    for (shard, into) in ["1/2", "2/2"].iter().zip(shards) {
        exec(&["--shard", shard, "--into", into]);
    }
    let merge = [&["merge", "--into", "merged/run"][..], &shards].concat();
    runner.start_failing(&merge, SMALL).finish().expect(1);
    let merged = runner.run_at("merged/run");
    assert!(files(&merged) > 2);
    assert!(merged.dir.join("index.seal-2").exists());
    assert_same_end(&merged, &canonical(&runner.run_at("whole/run")));
    runner.run(&["verify", "merged/run"]).expect(0);
    runner
        .run(&["merge", "--into", "merged/run", "shards/1", "shards/2"])
        .expect(1);
}
