//! Budgets: what attempts measure is counted over all sessions, and once it is used up nothing more begins.

use serde_json::{Value, json};

use crate::support::runner::{CommandExt as _, Run, Runner, Signal};

/// Each attempt measures what its test says.
fn runner(budget: &str, tests: usize) -> Runner {
    let runner = Runner::new(&["hostile"]);
    scenario(&runner, budget, tests);
    runner
}

fn scenario(runner: &Runner, budget: &str, tests: usize) {
    let tests: String = (0..tests)
        .map(|test| format!("[[tests]]\nid = \"t{test}\"\ninput = {{ do = \"meter\", metrics = {{ tokens = 10, cost = 0.1 }} }}\n"))
        .collect();
    runner.scenario(&format!(
        "{budget}\n[providers.a]\nplugin = \"hostile.wasm\"\n[providers.b]\nplugin = \"hostile.wasm\"\n{tests}"
    ));
}

/// What the rows have measured.
fn measured(run: &Run, metric: &str) -> f64 {
    let rows = run.rows();
    let metrics = rows
        .iter()
        .flat_map(|row| row["metrics"].as_array().unwrap().clone());
    metrics
        .filter(|found| found["name"] == metric)
        .map(|found| found["value"].as_f64().unwrap())
        .sum()
}

#[test]
fn a_run_whose_budget_is_used_up_begins_nothing_more_and_says_so() {
    let runner = runner("[run.budget]\nmetrics = { tokens = 55, cost = 5.0 }\n", 10);
    let ran = runner.exec(&["-j", "1"]).expect(4);
    let used_up = "the budget of `tokens` is used up: 60 of 55";
    ran.says(&[
        used_up,
        "incomplete (budget)",
        "6 of 20 done",
        " --budget tokens=115",
    ]);
    let run = runner.only_run();
    assert_eq!(run.rows().len(), 6);
    let manifest = run.manifest();
    assert_eq!(
        (&manifest["status"], &manifest["reason"]),
        (&json!("incomplete"), &json!("budget"))
    );
    assert_eq!(manifest["sessions"][0]["error"], used_up);
    runner
        .run(&["show"])
        .expect(0)
        .prints(" --budget tokens=115");
    assert_eq!(runner.list(&[])[0]["reason"], "budget");
    runner
        .run(&["list"])
        .expect(0)
        .says(&["resume with: ", " --budget METRIC=VALUE"]);

    // The same budget is used up from the beginning, also for `--into` and a dry run.
    for args in [
        &["resume"][..],
        &["resume", "--dry-run"],
        &["resume", "--budget", "cost=9"],
    ] {
        runner
            .run(args)
            .expect(2)
            .says(&[used_up, "--budget METRIC=VALUE", "--accept-changes"]);
    }
    assert_eq!(run.rows().len(), 6);
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 1);

    // A larger one lets it go on, and the sessions before count.
    runner
        .run(&["resume", "-j", "1", "--budget", "tokens=1_00"])
        .expect(4)
        .says(&["the budget of `tokens` is used up: 100 of 100"]);
    assert_eq!(run.rows().len(), 10);
    runner
        .run(&[
            "resume",
            "-j",
            "1",
            "--budget",
            "tokens=off",
            "--budget",
            "cost=1.45",
        ])
        .expect(4)
        .says(&["the budget of `cost` is used up: 1.5 of 1.45"]);
    let stored = run.manifest()["options"]["budget"].clone();
    assert_eq!(stored, json!({"tokens": "off", "cost": 1.45}));
    runner.run(&["resume", "--budget", "cost=100"]).expect(0);
    assert_eq!(run.rows().len(), 20);
    runner.run(&["verify"]).expect(0);
    // What is done is done, whatever it has cost.
    runner
        .run(&["resume", "--from", "latest", "--budget", "cost=0.5"])
        .expect(0);
}

/// A metric that is misspelt would otherwise be found by what has been paid.
#[test]
fn a_budget_of_what_nothing_measures_is_told_at_the_end() {
    let bounds_nothing = "the budget of `b:total` bounds nothing: no attempt has measured that";
    let said = |args: &[&str]| {
        let runner = runner("[run.budget]\nmetrics = { tokens = 500 }\n", 1);
        let ran = runner.exec(args).expect(0);
        (ran.stderr, runner.only_run().read("runner.log"))
    };
    let (screen, log) = said(&["--budget", "b:total=5"]);
    assert_eq!(screen.matches(bounds_nothing).count(), 1, "{screen}");
    assert!(
        log.contains(bounds_nothing) && !log.contains("`tokens`"),
        "{log}"
    );
    let (screen, log) = said(&[]);
    assert!(!screen.contains("bounds nothing") && !log.contains("bounds nothing"));
}

#[test]
fn the_scenario_can_give_more_and_a_provider_has_a_budget_of_its_own() {
    let runner = runner("[providers.a.budget]\nmetrics = { tokens = 25 }\n", 4);
    let used_up = "the budget of `tokens` of provider `a` is used up: 30 of 25";
    let ran = runner.exec(&["-j", "1", "--test", "*"]).expect(4);
    // The other provider's trials have nothing to do with that.
    ran.says(&[used_up, "incomplete (budget): 7 of 8 done"]);
    let manifest = runner.only_run().manifest();
    assert_eq!(manifest["sessions"][0]["error"], used_up);
    runner.run(&["resume"]).expect(2).says(&[used_up]);
    runner
        .run(&["resume", "--budget", "c:tokens=5"])
        .expect(2)
        .says(&["is of a provider `c`, and there is none"]);
    scenario(
        &runner,
        "[providers.a.budget]\nmetrics = { tokens = 1000 }\n",
        4,
    );
    runner.run(&["resume", "--accept-changes"]).expect(0);
    assert_eq!(runner.only_run().rows().len(), 8);

    // All that ran in the end fits, so nothing is left for it to stop.
    let args = ["--budget", "a:tokens=41", "--budget", "tokens=80"];
    runner.exec(&args).expect(0);
    for bad in [
        "tokens",
        "tokens=0",
        "tokens=-1",
        "=5",
        "tokens=much",
        "a:=5",
    ] {
        runner
            .exec(&["--budget", bad])
            .expect(2)
            .says(&["tokens=2000000"]);
    }
}

#[test]
fn attempts_in_flight_finish_and_a_killed_session_counts() {
    let runner = runner("[run.budget]\nmetrics = { tokens = 250 }\n", 200);
    runner.exec(&["-j", "4", "--workers", "2"]).expect(4);
    let run = runner.only_run();
    let spent = measured(&run, "tokens");
    let said = run.manifest()["sessions"][0]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(spent >= 250.0 && said.contains("of 250"), "{spent}: {said}");
    let rows = run.rows();
    assert!(
        rows.iter().all(|row| row["outcome"] == "passed"),
        "{rows:?}"
    );

    // A session that is killed has written rows, and these count.
    let mut killed = runner
        .command(&["resume", "--json", "-j", "1", "--budget", "tokens=2000"])
        .start();
    killed.wait_for(|event: &Value| event["event"] == "row");
    killed.signal(Signal::KILL);
    killed.finish_killed();
    let before = measured(&run, "tokens");
    assert!(before > spent);
    let most = format!("tokens={}", before + 5.0);
    runner
        .run(&["resume", "-j", "1", "--budget", &most])
        .expect(4);
    assert!((measured(&run, "tokens") - before - 10.0).abs() < 1e-6);
}

/// How many final rows each provider has.
fn settled(run: &Run) -> (usize, usize) {
    let rows = run.rows();
    let of = |provider: &str| {
        let rows = rows.iter().filter(|row| row["provider"] == provider);
        rows.filter(|row| row["final"] != false).count()
    };
    (of("a"), of("b"))
}

#[test]
fn a_providers_own_budget_stops_that_provider_alone() {
    let runner = runner(
        "[providers.a.budget]\nmetrics = { tokens = 35, cost = 9 }\n",
        40,
    );
    let ran = runner.exec(&["-j", "1", "--workers", "0"]).expect(4);
    ran.says(&["the budget of `tokens` of provider `a` is used up: 40 of 35"]);
    let run = runner.only_run();
    assert_eq!(settled(&run), (4, 40));
    let log = run.read("runner.log");
    assert!(log.contains("40 of 35; the other providers go on"), "{log}");

    // What is left of others goes on, with the budget still used up.
    let args = ["resume", "--from", "latest", "--rerun", "provider(b)"];
    runner.run(&args).expect(4);
    assert_eq!(settled(&run), (4, 80));
    runner.run(&["resume"]).expect(2);
    runner
        .run(&["resume", "--budget", "a:tokens=1e6"])
        .expect(0);
    assert_eq!(settled(&run), (40, 80));
    runner.run(&["verify"]).expect(0);
}

#[test]
fn a_trial_that_is_to_be_tried_again_waits_for_a_larger_budget() {
    let retried = "[defaults]\nretries = { max = 5, backoff = \"5m\", on = [\"unavailable\"] }\n";
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        "{retried}[providers.a]\nplugin = \"hostile.wasm\"\n[providers.a.budget]\nmetrics = {{ tokens = 5 }}\n\
         [[tests]]\nid = \"again\"\ninput = {{ do = \"fail-until\", attempt = 2 }}\n\
         [[tests]]\nid = \"meters\"\ninput = {{ do = \"meter\", metrics = {{ tokens = 10 }} }}\n"
    ));
    // The retry would come in minutes; nobody waits for it.
    let ran = runner.exec(&["-j", "1"]).expect(4);
    ran.says(&["10 of 5", "1 of 2 done"]);
    runner.run(&["resume", "--budget", "a:tokens=50"]).expect(0);
    runner.run(&["verify"]).expect(0);
}
