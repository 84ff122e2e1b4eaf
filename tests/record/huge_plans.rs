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
    let says = [
        "cannot understand manifest",
        "it has 1 000 000 000 000 trials, and a run has at most 10 000 000 at line 1 column",
    ];
    for args in [
        &["show"][..],
        &["show", "--json"],
        &["show", "TRIAL", "a@hostile#1"],
        &["report", "--html"],
        &["compare"],
        &["rescore", "--dry-run"],
        &["resume", "--from"],
        &["verify"],
    ] {
        let mut args = args.to_vec();
        if args.get(1) == Some(&"TRIAL") {
            args.remove(1);
            args.insert(1, huge.id());
        } else {
            args.push(huge.id());
        }
        if args[0] == "compare" {
            args.push(intact.id());
        }
        let ran = runner.run(&args);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(matches!(ran.code, Some(1 | 2)), "{args:?}: {ran:?}");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for text in &says[1..] {
            assert!(said.contains(text), "{args:?}: {said}");
        }
    }
    let listed = runner.list(&[]);
    assert!(listed.iter().any(|run| run["id"] == intact.id()));
    runner.run(&["history", "scenario"]).expect(0);
}

#[test]
fn the_counts_of_a_manifest_are_no_more_than_a_run_can_have() {
    let runner = Runner::hostile(&tests(TESTS));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    run.change_manifest(|manifest| manifest["counts"]["passed"] = u64::MAX.into());
    let ran = runner.run(&["show"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    ran.says(&["cannot understand manifest", "a run has at most"]);
    runner.run(&["list"]);
}

#[test]
fn a_scenario_with_more_trials_than_a_run_can_have_is_refused_before_anything_is_created() {
    let runner = Runner::hostile(&format!("[defaults]\nrepeat = 20000000\n{}", tests(TESTS)));
    let says = ["the tests make 20 000 000 trials, and a run has at most 10 000 000"];
    runner.refused(&[], &says);
    runner.refused(&["--dry-run"], &says);
    runner.refused(&["--detach"], &says);
    runner
        .run(&["validate", "scenario.toml"])
        .expect(2)
        .says(&says);
    runner.exec(&["--repeat", "1"]).expect(0);
}
