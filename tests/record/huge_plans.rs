//! Plans that are larger than any that can be held: in a manifest that somebody has changed, and in a scenario.

use crate::support::runner::{Runner, tests};

const TESTS: &str = r#"a | { do = "echo", value = 1 } | equals = 1"#;

#[test]
fn a_manifest_with_a_plan_that_nobody_can_hold_is_refused_with_its_place() {
    let runner = Runner::hostile(&tests(TESTS));
    runner.exec(&[]).expect(0);
    runner.exec(&[]).expect(0);
    let [huge, intact] = &runner.runs()[..] else {
        panic!("two runs");
    };
    huge.change_manifest(|manifest| {
        manifest["metadata"]["planned_test_count"] = 1_000_000_000_000_u64.into();
    });
    let problem =
        "it has 1 000 000 000 000 trials, and a run has at most 100 000 000 at line 1 column";
    let (huge, intact) = (huge.id(), intact.id());
    for args in [
        &["show", huge][..],
        &["show", huge, "--json"],
        &["show", huge, "a@hostile#1"],
        &["report", huge, "--html"],
        &["compare", huge, intact],
        &["rescore", huge, "--dry-run"],
        &["resume", "--from", huge],
        &["verify", huge],
    ] {
        let ran = runner.run(args);
        // Neither a signal nor a panic has ended it.
        assert!(matches!(ran.code, Some(1..70)), "{args:?}: {ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        let words: Vec<_> = said.split_whitespace().collect();
        assert!(words.join(" ").contains(problem), "{args:?}: {said}");
    }
    let listed = runner.list(&[]);
    assert!(listed.iter().any(|run| run["run"] == intact), "{listed:?}");
    runner.run(&["history", "scenario"]).expect(0);
}

#[test]
fn a_run_that_is_too_large_for_its_trials_to_be_told_says_so_and_is_shown_and_counted() {
    let runner = Runner::hostile(&tests(TESTS));
    runner.exec(&[]).expect(0);
    runner.exec(&[]).expect(0);
    let [large, intact] = &runner.runs()[..] else {
        panic!("two runs");
    };
    large.change_manifest(|manifest| {
        manifest["metadata"]["planned_test_count"] = 100_000_000.into();
        manifest["counts"]["planned"] = 100_000_000.into();
    });
    let row = large.read("index.jsonl");
    let far = seal(&row.replace("\"ordinal\":0", "\"ordinal\":99999999"));
    large.write("index.jsonl", far);
    let (large, intact) = (large.id(), intact.id());
    let says = [&*format!(
        "run `{large}` has 100 000 000 trials, and what tells of each of them is made of at most 10 000 000"
    )];
    for args in [
        &["report", large, "--html"][..],
        &["report", large, "--csv"],
        &["compare", large, intact],
    ] {
        runner.run(args).expect(2).says(&says);
    }
    runner.run(&["show", large]).expect(0);
    runner.run(&["show", large, "a@hostile#1"]).expect(0);
    let verified = runner.run(&["verify", large]);
    verified
        .expect(1)
        .prints("99999999 of its 100000000 trials have no final row");
}

/// A row with the checksum that its text has.
fn seal(row: &str) -> String {
    let (text, _) = row.rsplit_once(",\"crc\"").unwrap();
    let crc = crc32fast::hash(text.as_bytes());
    format!("{text},\"crc\":\"{crc:08x}\"}}\n")
}

#[test]
fn the_counts_of_a_manifest_are_no_more_than_a_run_can_have() {
    let runner = Runner::hostile(&tests(TESTS));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    run.change_manifest(|manifest| manifest["counts"]["passed"] = u64::MAX.into());
    let ran = runner.run(&["show"]);
    assert!(matches!(ran.code, Some(1..70)), "{ran:?}");
    ran.says(&["cannot understand manifest", "a run has at most"]);
    runner.run(&["list"]);
}

#[test]
fn what_is_wrong_in_a_manifest_is_told_without_the_names_of_types() {
    let runner = Runner::hostile(&tests(TESTS));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    run.change_manifest(|manifest| manifest["status"] = "hibernating".into());
    let ran = runner.run(&["show", run.id()]);
    ran.says(&["`hibernating` is no status of a run: there is `running`, `completed`"]);
    run.write("benchmark.json", "\"a text\"");
    let ran = runner.run(&["show", run.id()]);
    ran.says(&["invalid type: string \"a text\", expected an object"]);
}

#[test]
fn a_scenario_with_more_trials_than_a_run_can_have_is_refused_before_anything_is_created() {
    let many: String = (0..101)
        .map(|test| format!("t{test} | {{ do = \"echo\", value = 1 }} | equals = 1\n"))
        .collect();
    let scenario = format!("[defaults]\nrepeat = 1_000_000\n{}", tests(&many));
    let runner = Runner::hostile(&scenario);
    let says = ["the tests make 101 000 000 trials, and a run has at most 100 000 000"];
    runner.refused(&[], &says);
    runner.refused(&["--dry-run"], &says);
    runner.refused(&["--detach"], &says);
    runner
        .run(&["validate", "scenario.toml"])
        .expect(2)
        .says(&says);
    runner.exec(&["--repeat", "1"]).expect(0);
}
