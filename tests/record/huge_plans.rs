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
        "it has 1 000 000 000 000 trials, and a run has at most 10 000 000 at line 1 column";
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
fn a_scenario_with_more_trials_than_a_run_can_have_is_refused_before_anything_is_created() {
    let eleven: String = (0..11)
        .map(|test| format!("t{test} | {{ do = \"echo\", value = 1 }} | equals = 1\n"))
        .collect();
    let scenario = format!("[defaults]\nrepeat = 1_000_000\n{}", tests(&eleven));
    let runner = Runner::hostile(&scenario);
    let says = ["the tests make 11 000 000 trials, and a run has at most 10 000 000"];
    runner.refused(&[], &says);
    runner.refused(&["--dry-run"], &says);
    runner.refused(&["--detach"], &says);
    runner
        .run(&["validate", "scenario.toml"])
        .expect(2)
        .says(&says);
    runner.exec(&["--repeat", "1"]).expect(0);
}
