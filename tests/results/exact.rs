//! `compare --exact`, and deterministic runs that are equal.

use crate::support::{guests::programs, runner::Runner};

/// A program that prints times, random numbers and attributes of files, as a module and as a component.
fn sources(run: &str) -> Runner {
    let runner = Runner::new(&[]);
    let [module, component] = programs("command");
    runner.scenario(&format!(
        r#"
        [run]
        {run}

        [defaults]
        repeat = 2

        [providers.module]
        plugin = "{}"
        args = ["sources"]
        output = "json"
        limits.scratch = "1MiB"

        [providers.component]
        plugin = "{}"
        args = ["sources"]
        output = "json"
        limits.scratch = "1MiB"

        [[tests]]
        id = "sources"
        "#,
        module.display(),
        component.display()
    ));
    runner
}

#[test]
fn runs_with_one_clock_are_equal() {
    let runner = sources("deterministic = true\nclock = 2020-01-01T00:00:00Z");
    for jobs in ["1", "4"] {
        runner.exec(&["-j", jobs]).expect(0);
    }
    runner.run(&["compare", "--exact"]).expect(0).says(&["✓ 4 attempts are equal"]);
    let document = runner.run(&["compare", "--exact", "--json"]).expect(0).document();
    assert_eq!((&document["equal"], &document["different"]), (&4.into(), &0.into()));

    // Another seed, and repeats have other random numbers.
    runner.exec(&["--seed", "1"]).expect(0);
    let differing = runner.run(&["compare", "--exact"]).expect(1);
    differing.says(&["✗ 4 attempts differ", "`fingerprint`"]);
}

#[test]
fn runs_without_a_clock_start_at_different_times() {
    let runner = sources("deterministic = true");
    runner.exec(&[]).expect(0);
    runner.exec(&[]).expect(0);
    runner
        .run(&["compare", "--exact"])
        .expect(1)
        .says(&["✗ 4 attempts differ, 0 equal", "sources@component#1, attempt 1: `output`"]);
}

#[test]
fn what_cannot_be_repeated_is_refused() {
    let refused = |run: &str, provider: &str, says: &[&str]| {
        let runner = Runner::new(&["counter"]);
        runner.scenario(&format!(
            "[run]\n{run}\n[providers.one]\nplugin = \"counter.wasm\"\n{provider}\n[[tests]]\nid = \"a\"\n"
        ));
        std::fs::create_dir(runner.path("data")).unwrap();
        runner.run(&["validate", "scenario.toml"]).expect(2).says(says);
    };
    let on = "deterministic = true";
    refused(on, "reuse = \"instance\"", &["an instance that earlier tests have used", "reuse"]);
    let folder = "grants.fs = [{ path = \"data\", mount = \"/data\", mode = \"rw\" }]\nlimits.scratch = \"1MiB\"";
    refused(on, folder, &["a folder that attempts change is not deterministic"]);
    refused("clock = 2020-01-01T00:00:00Z", "", &["`clock` has no effect without"]);
    refused("deterministic = true\nclock = \"noon\"", "", &["a time with an offset", "noon"]);
}
