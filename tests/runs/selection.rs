//! Which trials a run has: repeats, and what the command line selects.

use serde_json::json;

use crate::support::runner::{Runner, tests};

#[test]
fn a_test_runs_as_often_as_it_or_the_command_line_says() {
    let runner = Runner::hostile(
        r#"
        [defaults]
        repeat = 2
        [[tests]]
        id = "twice"
        input = { do = "test" }
        [[tests]]
        id = "thrice"
        repeat = 3
        input = { do = "test" }
        "#,
    );
    let trials = |args: &[&str]| {
        runner.exec(args).expect(0);
        let mut rows = runner.runs().last().unwrap().rows();
        rows.sort_by_key(|row| row["ordinal"].as_u64());
        let trials = rows.iter().map(|row| {
            assert_eq!(row["output"]["repeat"], row["repeat"]);
            format!("{} {}", row["test"].as_str().unwrap(), row["repeat"])
        });
        trials.collect::<Vec<_>>()
    };
    assert_eq!(
        trials(&[]),
        ["twice 1", "twice 2", "thrice 1", "thrice 2", "thrice 3"]
    );
    assert_eq!(trials(&["--repeat", "1"]), ["twice 1", "thrice 1"]);
}

#[test]
fn the_command_line_selects_by_id_provider_and_tag() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.a]
        plugin = "hostile.wasm"
        [providers.b]
        plugin = "hostile.wasm"
        [[tests]]
        id = "x/one"
        tags = ["smoke"]
        input = { do = "echo" }
        [[tests]]
        id = "x/two"
        input = { do = "echo" }
        [[tests]]
        id = "y"
        tags = ["smoke", "slow"]
        providers = ["b"]
        input = { do = "echo" }
        "#,
    );
    let selected = |args: &[&str]| -> String {
        let dry = runner
            .run(&[&["exec", "scenario.toml", "--dry-run"], args].concat())
            .expect(0);
        let dry = dry.stdout.trim().replace('\n', " ");
        runner.exec(args).expect(0);
        let run = runner.runs().pop().unwrap();
        let mut rows = run.rows();
        assert_eq!(run.manifest()["metadata"]["planned_test_count"], rows.len());
        rows.sort_by_key(|row| row["ordinal"].as_u64());
        let trials: Vec<_> = rows
            .iter()
            .map(|row| row["trial"].as_str().unwrap())
            .collect();
        assert_eq!(trials.join(" "), dry);
        dry.replace("#1", "")
    };
    assert_eq!(selected(&[]), "x/one@a x/one@b x/two@a x/two@b y@b");
    assert_eq!(
        selected(&["--test", "x/*"]),
        "x/one@a x/one@b x/two@a x/two@b"
    );
    assert_eq!(
        selected(&["--test", "y", "--test", "*two"]),
        "x/two@a x/two@b y@b"
    );
    assert_eq!(selected(&["--provider", "a"]), "x/one@a x/two@a");
    assert_eq!(selected(&["--tag", "smoke"]), "x/one@a x/one@b y@b");
    assert_eq!(selected(&["--tag", "smoke", "--exclude", "x/*"]), "y@b");
    let run = runner.runs().pop().unwrap();
    assert_eq!(
        run.manifest()["selection"],
        json!({"tags": ["smoke"], "exclude": ["x/*"]})
    );
}

#[test]
fn nothing_selected_exits_5_and_creates_nothing() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    for args in [
        &["--test", "b"][..],
        &["--tag", "t"],
        &["--exclude", "*"],
        &["--test", "b", "--dry-run"],
    ] {
        let ran = runner.exec(args).expect(5);
        ran.says(&["no test is selected in `scenario.toml`"]);
        assert_eq!(ran.stdout, "");
        assert!(!runner.path("results").exists());
    }
}

#[test]
fn a_dry_run_creates_nothing() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    assert_eq!(
        runner.exec(&["--dry-run"]).expect(0).stdout,
        "a@hostile#1\n"
    );
    assert!(!runner.path("results").exists());
}
