//! `compare --exact`, and deterministic runs that are equal.

use rustix::process::Signal;

use crate::messages::outputs::snapshot;
use crate::support::{
    guests::{printing, programs},
    runner::{Runner, tests},
    wait::wait_until,
};

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
    snapshot(&runner.run(&["compare", "--exact"]).expect(0));
    let document = runner.run(&["compare", "--exact", "--json"]).expect(0).document();
    assert_eq!((&document["equal"], &document["different"]), (&4.into(), &0.into()));

    // Another seed, and repeats have other random numbers.
    runner.exec(&["--seed", "1"]).expect(0);
    let differing = runner.run(&["compare", "--exact"]).expect(1);
    snapshot(&differing);
}

#[test]
fn runs_without_a_clock_start_at_different_times() {
    let runner = sources("deterministic = true");
    runner.exec(&[]).expect(0);
    runner.exec(&[]).expect(0);
    snapshot(&runner.run(&["compare", "--exact"]).expect(1));
}

#[test]
fn stopped_attempts_change_no_result() {
    let runner = sources("deterministic = true\nclock = 2020-01-01T00:00:00Z");
    runner.exec(&[]).expect(0);
    let stop = || {
        let mut run = runner.started(&["exec", "scenario.toml", "-j", "1", "--json"]);
        wait_until("there is a row", || {
            run.printed().contains("\"event\":\"row\"") || !run.is_alive()
        });
        let is_stopped = run.end_by(Signal::TERM).0.code == Some(143);
        is_stopped.then(|| runner.runs().pop().unwrap())
    };
    // A row of a stopped attempt, as a worker that lacked memory leaves it. The attempts are quick, so a run may end before.
    let stopped = (0..20).find_map(|_| stop()).expect("one is stopped");
    runner.run(&["resume", stopped.id()]).expect(0);
    snapshot(&runner.run(&["compare", "--exact"]).expect(0));
}

#[test]
fn unreadable_and_missing_rows_are_not_equal() {
    let echo = |id: &str, expect| format!("{id} | {{ do = \"echo\", value = 1 }} | {expect}\n");
    let change = |runner: &Runner, run: &str, expect| {
        let tests = tests(&(echo("a", expect) + &echo("b", "equals = 1")));
        runner.scenario(&format!(
            "[run]\n{run}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n{tests}"
        ));
    };
    let runner = Runner::new(&["hostile"]);
    change(&runner, "", "equals = 2");
    for _ in 0..2 {
        runner.exec(&["-j", "1"]).expect(1);
    }
    change(&runner, "", "equals = 1");
    for run in runner.runs() {
        runner.run(&["rescore", run.id()]).expect(0);
    }
    let [base, new] = runner.runs().try_into().unwrap();
    let compare = |code| runner.run(&["compare", "--exact", base.id(), new.id()]).expect(code);
    let rows = base.text("index.jsonl");
    // The newest judgement of an attempt counts, whatever its line.
    let reversed: String = rows.split_inclusive('\n').rev().collect();
    base.write("index.jsonl", &reversed);
    snapshot(&compare(0));
    // What the damaged lines were is unknown, also if both runs have them.
    for run in [&base, &new] {
        run.write(
            "index.jsonl",
            run.text("index.jsonl").replace("\"test\":\"b\"", "\"test\":\"B\""),
        );
    }
    snapshot(&compare(2));

    // Both runs lack the same trial.
    change(&runner, "fail_fast = true", "equals = 2");
    for _ in 0..2 {
        runner.exec(&["-j", "1"]).expect(4);
    }
    let runs = runner.runs();
    let compare = ["compare", "--exact", runs[2].id(), runs[3].id()];
    let missing = "1 attempt is equal, 1 trial in base and 1 trial in new have no result, first `b@hostile#1`";
    runner.run(&compare).expect(1).says(&[&format!("✗ unclear: {missing}")]);
    let document = runner.run(&[&compare[..], &["--json"]].concat()).expect(1).document();
    assert_eq!((&document["different"], &document["missing_in_new"]), (&0.into(), &1.into()));
}

#[test]
fn attempts_that_timed_out_in_both_runs_are_not_compared() {
    let runner = Runner::hostile(
        "[run]\ndeterministic = true\nclock = 2020-01-01T00:00:00Z\n\
         [[tests]]\nid = \"hangs\"\ninput = { do = \"sleep\" }\ntimeout = \"50ms\"\n\
         [[tests]]\nid = \"passes\"\ninput = { do = \"echo\", value = 1 }\n",
    );
    runner.exec(&[]).expect(1);
    runner.exec(&[]).expect(1);
    let document = runner.run(&["compare", "--exact", "--json"]).expect(0).document();
    assert_eq!((&document["equal"], &document["different"]), (&1.into(), &0.into()), "{document}");
}

#[test]
fn folders_without_a_fingerprint_are_refused() {
    let runner = Runner::new(&["counter"]);
    runner.scenario(
        "[run]\ndeterministic = true\n[providers.one]\nplugin = \"counter.wasm\"\n\
         grants.fs = [{ path = \"data\", mount = \"/data\" }]\n[[tests]]\nid = \"a\"\n",
    );
    std::fs::create_dir(runner.path("data")).unwrap();
    let large = std::fs::File::create(runner.path("data/large")).unwrap();
    large.set_len((1 << 30) + 1).unwrap();
    snapshot(&runner.exec(&[]).expect(2));
    assert_eq!(runner.runs().len(), 0);
}

#[test]
fn numbers_are_compared_digit_by_digit() {
    let runner = Runner::new(&[]);
    for digit in ["1", "2"] {
        runner.wat("number.wasm", &printing(&format!("1000000000000000000000000000{digit}")));
        runner.scenario(
            "[run]\ndeterministic = true\n[providers.one]\nplugin = \"number.wasm\"\noutput = \"json\"\n[[tests]]\nid = \"a\"\n",
        );
        runner.exec(&[]).expect(0);
    }
    // The plugin is part of the fingerprint, too.
    let document = runner.run(&["compare", "--exact", "--json"]).expect(1).document();
    assert_eq!(
        (&document["different"], &document["first"]["key"]),
        (&1.into(), &"fingerprint".into())
    );
    let base = runner.run(&["show", "latest", "a@one#1", "--json"]).expect(0);
    assert!(base.stdout.contains("10000000000000000000000000002"), "{}", base.stdout);
}

#[test]
fn what_cannot_be_repeated_is_refused() {
    let validate = |run: &str, provider: &str| {
        let runner = Runner::new(&["counter"]);
        runner.scenario(&format!(
            "[run]\n{run}\n[providers.one]\nplugin = \"counter.wasm\"\n{provider}\n[[tests]]\nid = \"a\"\n"
        ));
        std::fs::create_dir(runner.path("data")).unwrap();
        let ran = runner.run(&["validate", "scenario.toml"]).expect(2);
        snapshot(&ran);
        ran.stderr
    };
    let on = "deterministic = true";
    validate(on, "reuse = \"instance\"");
    let folder = "grants.fs = [{ path = \"data\", mount = \"/data\", mode = \"rw\" }]\nlimits.scratch = \"1MiB\"";
    validate(on, folder);
    let journal = "journal = true";
    validate(journal, "reuse = \"instance\"");
    validate(journal, folder);
    validate(journal, "grants.env = { RUN = \"{{run.id}}\" }");
    let off = format!("{journal}\ndeterministic = false");
    validate(&off, "");
    validate(&format!("{on}\nin_flight = \"stop\""), "");
    validate(&format!("{journal}\nin_flight = \"wait\""), "");
    validate(on, "grants.env = { RUN = \"{{run.id}}\" }");
    validate("clock = 2020-01-01T00:00:00Z", "");
    validate("judge_seed = { secret = \"NAME\" }", "");
    let told = validate("judge_seed = 1", "");
    assert!(!told.contains("has no effect"), "{told}");
    for clock in ["noon", "2600-01-01T00:00:00Z"] {
        let run = format!("{on}\nclock = \"{clock}\"");
        validate(&run, "");
    }
}
