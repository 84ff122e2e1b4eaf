//! Grants, requested grants and denials, as users see them.

use serde_json::{Value, json};

use crate::support::{
    guests::command,
    runner::{Runner, tests},
};

#[test]
fn dry_runs_show_grants_and_trials() {
    let runner = Runner::new(&["leaky"]);
    runner.scenario(
        "[providers.it]\nplugin = \"leaky.wasm\"\n[providers.it.grants]\n\
         net = [\"https://api.example.com\", \"http://127.0.0.1:81\"]\nsecrets = [\"OTHER\"]\nenv = { LANG = \"C\" }\n\
         [[tests]]\nid = \"a\"\ninput = \"output\"\nrepeat = 2\n",
    );
    let ran = runner.exec(&["--dry-run"]).expect(0);
    assert_eq!(ran.stdout, "a@it#1\na@it#2\n");
    ran.says(&[
        "net = [\"https://api.example.com\", \"http://127.0.0.1:81\"]",
        "secrets = [\"OTHER\"]",
        "OTHER (no value)",
        "secret:API_KEY, fs:ro:fixtures, gpu:1",
        "secrets = [\"OTHER\", \"API_KEY\"]",
    ]);
    let ran = runner.exec(&["--dry-run", "--json"]).expect(0);
    let lines: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["part"], "plan");
    assert_eq!(lines[0]["trials"], 2);
    assert_eq!(lines[0]["missing_secrets"], json!(["OTHER"]));
    assert_eq!(lines[1], json!({"v": 1, "part": "trial", "trial": "a@it#1"}));
    assert!(!runner.path("results").exists());
}

#[test]
fn ineffective_grants_are_reported() {
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    runner.scenario(
        "[providers.p]\nplugin = \"command.wasm\"\nargs = [\"say\", \"x\"]\n[providers.p.grants]\n\
         net = [\"https://api.example.com\"]\n[[tests]]\nid = \"a\"\n",
    );
    let says = ["provider `p`", "`net` does nothing for a module"];
    runner.exec(&["--dry-run"]).expect(0).says(&says);
    runner.run(&["validate", "scenario.toml"]).expect(0).says(&says);
    runner.exec(&[]).expect(0).says(&says);
    assert!(runner.only_run().text("runner.log").contains(says[1]));
}

#[test]
fn denials_end_with_the_grants_that_lack() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        "[providers.granted]\nplugin = \"hostile.wasm\"\n[providers.granted.grants]\nnet = [\"https://a.example\"]\n\
         [providers.other]\nplugin = \"bundled:echo\"\n{}",
        tests(
            "a | { do = \"secret\" } | equals = { error = \"denied\" }\n\
             b | { do = \"secret\" } | equals = 1"
        )
    ));
    let denied = [
        "denied: the secret `KEY` – to allow it, add \"KEY\" to `secrets` of [providers.granted.grants]",
        "in 2 attempts",
        "net = [\"https://a.example\"] secrets = [\"KEY\"]",
    ];
    let ran = runner.exec(&["--provider", "granted"]).expect(1);
    ran.says(&denied);
    let shown = runner.run(&["show"]).expect(0);
    shown.says(&denied[1..]);
    shown.says(&["granted:", "[providers.granted.grants]"]);
    let document = runner.show(&runner.only_run());
    let of = &document["denials"]["granted"][0];
    assert_eq!(of["count"], 2);
    assert_eq!(of["grant"], "secrets = [\"KEY\"]");
}
