//! Selection of trials: lists, templates, globs, tags and repeats.

use std::{fs, ops::Range};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    run::Run,
    runner::Runner,
    truth::{assert_whole, results},
};

const LIST: &str = r#"
{"name": "one", "text": "hello", "count": 1}
{"name": "two", "text": "zwölf", "count": 2}
{"name": "skipped", "text": "no", "count": 3}
"#;

fn listed() -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(
        r#"
        [defaults]
        tags = ["all"]
        [providers.a]
        plugin = "bundled:echo"
        [providers.b]
        plugin = "bundled:echo"
        [[test_lists]]
        files = ["*.jsonl"]
        id = "{{file.stem}}/{{row.name}}"
        input = { text = "{{row.text}}", count = "{{row.count}}" }
        expect = { json = { text = "{{row.text}}", count = "{{row.count}}" } }
        exclude = ["*/skipped"]
        tags = ["listed"]
        [[tests]]
        id = "alone"
        repeat = 2
        input = [1, 2]
        providers = ["b"]
        expect = { equals = [1, 2] }
        "#,
    );
    runner.write("words.jsonl", LIST.trim_start());
    runner
}

#[test]
fn flags_without_a_match_name_the_nearest() {
    let runner = listed();
    for (args, says) in [
        (["--test", "wrds/on"], "no test matches `--test wrds/on`; nearest: `words/one`"),
        (["--provider", "c"], "no provider matches `--provider c`; nearest: `a`, `b`"),
        (["--tag", "lister"], "no test has the tag `lister`; nearest: `listed`"),
        (["--tag", "zzz"], "no test has the tag `zzz`; choose from: `all`, `listed`"),
        (["-E", "test(wrds/on)"], "no test matches `test(wrds/on)` of `-E`; nearest: `words/one`"),
        (["-E", "tag(lister)"], "no test matches `tag(lister)` of `-E`; nearest: `listed`"),
        (["--exclude", "*"], "every test is left out by `--exclude`"),
    ] {
        let ran = runner.exec(&args).expect(5);
        snapshot(&ran);
        ran.says(&[says]);
    }
    assert!(runner.runs().is_empty());
    runner.exec(&["--test", "alone"]).expect(0);
    let ran = runner.run(&["resume", "--rerun", "faild"]).expect(2);
    snapshot(&ran);
    let ran = runner.run(&["resume", "--rerun", "alone@b#3"]).expect(5);
    snapshot(&ran);
}

#[test]
fn word_without_a_match_is_an_error() {
    let runner = listed();
    for (filter, says) in [
        ("alone | aln", "no test matches `aln` of `-E`; choose from: `alone`"),
        ("alone | wrds/*", "no test matches `wrds/*` of `-E`"),
        ("alone | alone@c", "no test matches `alone@c` of `-E`"),
        ("alone OR words", "did you mean `or`?"),
        ("tag:all", "did you mean `tag(all)`?"),
    ] {
        runner.exec(&["-E", filter]).expect(2).says(&[says]);
        runner.exec(&["-E", filter, "--dry-run"]).expect(2).says(&[says]);
    }
    assert!(runner.runs().is_empty());
    runner.exec(&["-E", "ALONE@b | alone*@?", "--dry-run"]).expect(0);
    runner.exec(&["-E", "alone | in(latest, x)", "--dry-run"]).expect(2);
    // Another scenario of a group may have the word.
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.write("second.toml", text.replace("alone", "other"));
    let group = ["exec", "scenario.toml", "second.toml", "-E", "alone | other"];
    snapshot(&runner.run(&group).expect(0));
}

#[test]
fn arguments_in_vain_are_warned_of() {
    let runner = listed();
    for (args, says) in [
        (&["-E", "alone & !aln"][..], "no test matches `aln` of `-E`; choose from: `alone`"),
        (&["--test", "alone", "--test", "aln"], "no test matches `--test aln`"),
        (&["--exclude", "*/on"], "no test matches `--exclude */on`; nearest: `words/one`"),
        (&["--tag", "all", "--tag", "fast"], "no test has the tag `fast`; choose from: `all`"),
        (&["--provider", "a", "--provider", "c"], "no provider matches `--provider c`"),
        (&["-E", "!tag(fast)"], "no test matches `tag(fast)` of `-E`; choose from: `all`"),
        (&["-E", "test(alone) | test(aln)"], "no test matches `test(aln)` of `-E`"),
        (&["--limit", "memory=8GiB"], "`--limit memory=8GiB` has no effect"),
    ] {
        runner.exec(args).expect(0).says(&[says]);
    }
    let many = (0..30).flat_map(|n| ["--exclude".to_owned(), format!("none-{n}")]);
    let many: Vec<_> = many.collect();
    let many: Vec<_> = many.iter().map(String::as_str).chain(["--dry-run"]).collect();
    let ran = runner.exec(&many).expect(0);
    snapshot(&ran);
    assert!(!ran.stderr.contains("none-10"), "{}", ran.stderr);
    let args = ["--provider", "a", "--provider", "b", "--test", "alone", "--limit", "memory=1MiB"];
    let ran = runner.exec(&[&args[..], &["--dry-run"]].concat()).expect(0);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

/// Creates a list of 40 tests on two providers, with two repeats.
fn many() -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(
        r#"
        [providers.a]
        plugin = "bundled:echo"
        [providers.b]
        plugin = "bundled:echo"
        [defaults]
        repeat = 2
        [[test_lists]]
        files = ["many.jsonl"]
        "#,
    );
    write_many(&runner, 0..40);
    runner
}

fn write_many(runner: &Runner, numbers: Range<u32>) {
    let tests = numbers
        .map(|n| format!("{{\"id\": \"t{n}\", \"input\": {n}, \"expect\": {{\"json\": {n}}}}}\n"));
    runner.write("many.jsonl", tests.collect::<String>());
}

fn planned(runner: &Runner, args: &[&str]) -> Vec<String> {
    let ran = runner.exec(&[&["--dry-run"], args].concat()).expect(0);
    ran.stdout.lines().map(str::to_owned).collect()
}

fn ran_trials(run: &Run) -> Vec<String> {
    results(run).into_keys().collect()
}

fn sorted(mut trials: Vec<String>) -> Vec<String> {
    trials.sort();
    trials
}

#[test]
fn first_tests_run_with_all_their_trials() {
    let mut transcript = Transcript::default();
    let runner = many();
    let trials = planned(&runner, &["--first", "2"]);
    let expected = ["t0@a#1", "t0@a#2", "t0@b#1", "t0@b#2", "t1@a#1", "t1@a#2", "t1@b#1", "t1@b#2"];
    assert_eq!(trials, expected);
    let last = planned(&runner, &["--first", "1", "-E", "t3*", "--provider", "b"]);
    assert_eq!(last, ["t3@b#1", "t3@b#2"]);
    assert_eq!(planned(&runner, &["--first", "100"]).len(), 160);
    for args in [
        &["--first", "0"][..],
        &["--sample", "0"],
        &["--first", "1", "--sample", "1"],
        &["--limit", "10"],
    ] {
        transcript.refused(&runner, args);
    }
    runner.exec(&["--first", "2"]).expect(0);
    assert_eq!(ran_trials(&runner.only_run()), expected);
    runner.run(&["verify"]).expect(0);
    transcript.check("first_tests_run_with_all_their_trials");
}

#[test]
fn chosen_tests_stay_in_later_sessions() {
    for (flags, again) in [(["--first", "3"], "--first"), (["--sample", "3"], "--sample")] {
        let runner = many();
        let trials = sorted(planned(&runner, &flags));
        assert_eq!(trials.len(), 12);
        runner.exec(&flags).expect(0);
        let run = runner.only_run();
        assert_eq!(ran_trials(&run), trials);
        assert_eq!(run.manifest()["metadata"]["selection"][&again[2..]], 3);
        runner.run(&["resume", "--rerun", "all"]).expect(0);
        assert_eq!(ran_trials(&run), trials);
        // New tests in front of the chosen ones, and another seed, change nothing.
        let list = fs::read_to_string(runner.path("many.jsonl")).unwrap();
        let new = (100..140).map(|n| format!("{{\"id\": \"t{n}\", \"input\": {n}}}\n"));
        runner.write("many.jsonl", new.collect::<String>() + &list);
        let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        runner.write("scenario.toml", format!("run.seed = 7\n{scenario}"));
        runner.run(&["resume", "--accept-changes", "--rerun", "all"]).expect(0);
        assert_eq!(ran_trials(&run), trials);
        assert_eq!(run.planned(), 12);
        runner.run(&["verify"]).expect(0);
    }
}

#[test]
fn sample_is_chosen_by_the_seed() {
    let runner = many();
    let sample = |args: &[&str]| planned(&runner, &[&["--sample", "5"], args].concat());
    let chosen = sample(&[]);
    assert_eq!(chosen.len(), 20);
    assert_eq!(sample(&[]), chosen);
    assert_eq!(sample(&["--seed", "0"]), chosen);
    assert_ne!(sample(&["--seed", "1"]), chosen);
    assert_eq!(sample(&["--seed", "1"]), sample(&["--seed", "1"]));
    let of_b: Vec<_> = chosen.iter().filter(|trial| trial.contains("@b#")).cloned().collect();
    assert_eq!(sample(&["--provider", "b"]), of_b);
    assert_eq!(planned(&runner, &["--sample", "41"]), planned(&runner, &[]));
}

#[test]
fn shards_divide_the_chosen_tests() {
    let runner = many();
    for flags in [["--first", "5"], ["--sample", "5"]] {
        let whole = sorted(planned(&runner, &flags));
        let shards = ["1/3", "2/3", "3/3"];
        let parts =
            shards.map(|shard| planned(&runner, &[&flags[..], &["--shard", shard]].concat()));
        assert_eq!(sorted(parts.concat()), whole);
    }
    runner.exec(&["--sample", "5", "--shard", "2/3"]).expect(0);
    let run = runner.only_run();
    let part = sorted(planned(&runner, &["--sample", "5", "--shard", "2/3"]));
    let suite = run.manifest()["metadata"]["suite"].clone();
    runner.run(&["resume", "--accept-changes", "--rerun", "all"]).expect(0);
    assert_eq!(ran_trials(&run), part);
    // The suite keeps the tests of the other shards, so that they can be merged.
    assert_eq!(run.manifest()["metadata"]["suite"], suite);
}

#[test]
fn first_of_last_failed_are_failed_tests() {
    let runner = many();
    let list = fs::read_to_string(runner.path("many.jsonl")).unwrap();
    let wrong = |list: String, n: u32| list.replace(&format!("\"json\": {n}}}"), "\"json\": -1}");
    runner.write("many.jsonl", [7, 20, 30].into_iter().fold(list, wrong));
    runner.exec(&[]).expect(1);
    let trials = planned(&runner, &["--last-failed", "--first", "2", "--provider", "a"]);
    assert_eq!(trials, ["t7@a#1", "t7@a#2", "t20@a#1", "t20@a#2"]);
    assert_eq!(planned(&runner, &["--last-failed", "--sample", "9"]).len(), 12);
}

/// Creates two tests on providers of their own. The plugin, secret, folder and schema of `b` are missing.
fn half_missing() -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(
        r#"
        [providers.a]
        plugin = "bundled:echo"
        [providers.b]
        plugin = "missing.wasm"
        grants = { secrets = ["MISSING"], fs = [{ path = "missing", mount = "/m", mode = "ro" }] }
        [[tests]]
        id = "one"
        tags = ["first"]
        providers = ["a"]
        [[tests]]
        id = "two"
        providers = ["b"]
        expect = { schema = "missing.json" }
        "#,
    );
    runner
}

#[test]
fn selections_need_only_what_they_run() {
    let mut transcript = Transcript::default();
    for selection in [["--test", "one"], ["--provider", "a"], ["--tag", "first"]] {
        let runner = half_missing();
        runner.exec(&selection).expect(0);
        let run = assert_whole(&runner, 1);
        let providers = run.manifest()["providers"].clone();
        assert_eq!(providers.as_array().unwrap().len(), 1, "{providers}");
        runner.run(&["verify"]).expect(0);
        runner.run(&["resume", "latest", "--rerun", "all"]).expect(0);
        runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
        runner.run(&["show", "latest"]).expect(0);
        runner.exec(&[&selection[..], &["--dry-run"]].concat()).expect(0);
    }
    let runner = half_missing();
    runner.exec(&["--test", "one"]).expect(0);
    runner.exec(&["--last-failed"]).expect(5);
    transcript.exec(&runner, &[]).expect(2);
    for selection in [["--test", "two"], ["--test", "*"]] {
        transcript.exec(&runner, &selection).expect(2);
    }
    runner.write("missing.json", "{}");
    transcript.exec(&runner, &["--test", "two"]).expect(2);
    transcript.run(&runner, &["validate", "scenario.toml"]).expect(2);
    transcript.check("selections_need_only_what_they_run");
}

#[test]
fn missing_lists_matter_only_to_their_providers() {
    let runner = half_missing();
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!(
        "{text}\n[[test_lists]]\nfiles = [\"b.jsonl\"]\nproviders = [\"b\"]\nexpect = {{ schema = \"missing.json\" }}\n"
    ));
    runner.exec(&["--provider", "a"]).expect(0);
    for args in [&[][..], &["--test", "one"], &["--provider", "b"]] {
        let ran = runner.exec(args).expect(2);
        snapshot(&ran);
        let is_complete =
            ran.stderr.contains("missing.wasm") && ran.stderr.contains("missing.json");
        assert_eq!(is_complete, args.is_empty(), "{}", ran.stderr);
    }
    snapshot(&runner.run(&["validate", "scenario.toml"]).expect(2));
    // A record may name another provider than its list.
    runner.write(
        "b.jsonl",
        "{\"id\": \"three\"}\n{\"id\": \"four\", \"providers\": [\"a\"], \"expect\": {}}\n",
    );
    runner.exec(&["--provider", "a", "--dry-run"]).expect(2).says(&["b.jsonl:2:"]);
}

#[test]
fn advice_without_selected_tests_names_the_scenario() {
    let runner = listed();
    let ran = runner.exec(&["--test", "none"]).expect(5);
    snapshot(&ran);
}
