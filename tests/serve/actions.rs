//! What is asked for over HTTP: that runs begin, end and go on. Whoever serves owns none of them.

use serde_json::json;

use super::client::Served;
use crate::support::{runner::Runner, wait::wait_until};

const SLOW: &str = r#"
[run]
concurrency = 1
[[tests]]
id = "quick"
input = { do = "echo", value = 1 }
[[tests]]
id = "slow"
timeout = "10m"
input = { do = "sleep" }
"#;

#[test]
fn a_run_that_was_started_outlives_the_server_and_is_stopped_and_resumed_by_another() {
    let runner = Runner::hostile(SLOW);
    let mut served = Served::start(&runner, &["--scenarios", "."]);
    let answered = served
        .send("POST", "/runs", "{\"scenario\":\"scenario.toml\"}")
        .expect(201);
    let run = answered.json()["run"].as_str().unwrap().to_owned();
    assert_eq!(
        answered.header("location"),
        Some(&*format!("/api/v1/runs/{run}"))
    );
    assert_eq!(runner.only_run().id(), run);
    wait_until("a trial is over", || runner.only_run().lines().len() == 1);
    served.kill();
    assert_eq!(runner.list(&[])[0]["status"], "running");

    let served = Served::start(&runner, &["--scenarios", "."]);
    let running = served.get("/runs/latest").json();
    assert_eq!(running["run"]["is_alive"], true);
    let live = served.get("/runs/latest/summary").json()["live"].clone();
    assert_eq!(live["in_flight"][0]["trial"], "slow@hostile#1");
    served.send("DELETE", "/runs/latest", "").expect(409);
    served.send("POST", "/runs/latest/resume", "").expect(409);
    served
        .send("POST", "/runs/latest/stop", "{\"mode\":\"softly\"}")
        .expect(400);
    let paused = served.post("/runs/latest/pause", "{\"reason\":\"a look\"}", 200);
    assert_eq!(
        (&paused["result"], &paused["status"]),
        (&json!("paused"), &json!("running"))
    );
    assert!(served.get("/runs/latest").json()["run"]["paused"].is_object());
    assert_eq!(
        served.post("/runs/latest/unpause", "", 200)["result"],
        "unpaused"
    );
    let asked = "{\"mode\":\"kill\",\"by\":\"a test\",\"reason\":\"seen enough\"}";
    let stopped = served.post("/runs/latest/stop", asked, 200);
    assert_eq!(
        (&stopped["result"], &stopped["status"]),
        (&json!("stopped"), &json!("incomplete"))
    );
    let manifest = runner.only_run().manifest();
    let text = manifest["transitions"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .to_string();
    assert!(text.contains("seen enough (by a test)"), "{text}");
    let again = served.post("/runs/latest/stop", "", 200);
    assert_eq!(again["result"], "already_terminal");

    // What is left runs again, and is cut short for good.
    let plan = served.post("/runs/latest/plan", "", 200);
    assert_eq!(
        (&plan["plan"]["planned"], &plan["plan"]["pending"]),
        (&json!(2), &json!(1))
    );
    let resumed = served.post("/runs/latest/resume", "", 202);
    assert_eq!(resumed["run"], run);
    let cancelled = served.post("/runs/latest/cancel", "{\"reason\":\"not worth it\"}", 200);
    assert_eq!(
        (&cancelled["result"], &cancelled["status"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    let problem = served.post("/runs/latest/resume", "", 422);
    assert_eq!(problem["detail"], format!("run `{run}` was cancelled"));
    assert!(problem["help"].as_str().unwrap().contains("--force"));
    served.post("/runs/latest/cancel", "", 200);
    served.post("/runs/nothing/stop", "", 404);
}

#[test]
fn what_has_completed_is_not_cancelled_and_says_so() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    runner.exec(&[]).expect(0);
    let served = Served::start(&runner, &[]);
    let problem = served.post("/runs/latest/cancel", "", 409);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("nothing to cancel"),
        "{problem}"
    );
    for body in ["{}", "{\"queue\":true}"] {
        let problem = served.post("/runs/latest/resume", body, 409);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("left to run"), "{problem}");
        assert_eq!(problem["help"], "name with `rerun` what is to run again");
    }
    let report = served.post("/runs/latest/rescore", "{\"dry_run\":true}", 200);
    assert_eq!(report["rescored"]["unchanged"], 1);
    // Two that are alike are one too many.
    runner.exec(&[]).expect(0);
    let ids = runner.ids();
    let problem = served
        .get(&format!("/runs/{}", &ids[0][..10]))
        .expect(409)
        .json();
    assert_eq!(problem["candidates"].as_array().unwrap().len(), 2);
    let compared = served
        .get(&format!("/compare?base={}&new={}", ids[0], ids[1]))
        .expect(200)
        .json();
    assert_eq!(compared["counts"]["regressed"], 0, "{compared}");
    served.post("/prune", "{\"keep_last\":1}", 200);
    assert_eq!(runner.runs().len(), 2);
    served.post("/prune", "{\"keep_last\":1,\"dry_run\":false}", 200);
    assert_eq!(runner.ids(), [ids[1].clone()]);
}

#[test]
fn only_scenarios_below_the_folders_are_started_and_with_what_exec_takes() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n[[tests]]\nid = \"b\"\ninput = { do = \"echo\", value = 1 }\n",
    );
    runner.write("in/broken.toml", "[providers.x]\nplugin = 1\n");
    runner.write("in/good.toml", "[providers.hostile]\nplugin = \"../hostile.wasm\"\n[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n[[tests]]\nid = \"b\"\ninput = { do = \"echo\", value = 1 }\n");
    std::os::unix::fs::symlink(runner.path("scenario.toml"), runner.path("in/link.toml")).unwrap();
    let served = Served::start(&runner, &["--scenarios", "in"]);
    let listed = served.get("/scenarios").json();
    let listed = listed["scenarios"].as_array().unwrap();
    let paths: Vec<_> = listed
        .iter()
        .map(|scenario| scenario["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["broken.toml", "good.toml"]);
    let problem = listed[0]["problem"].as_str().unwrap();
    assert!(problem.contains("broken.toml:2:10"), "{problem}");
    assert_eq!(
        (&listed[1]["tests"], &listed[1]["providers"]),
        (&json!(2), &json!(["hostile"]))
    );

    for path in [
        "../scenario.toml",
        "link.toml",
        "/etc/hosts",
        "",
        ".",
        "in/good.toml",
        "good.toml/",
    ] {
        let body = json!({ "scenario": path }).to_string();
        let answered = served.send("POST", "/runs", &body);
        assert!(
            [404].contains(&answered.status) || path == "good.toml/",
            "{path}"
        );
    }
    let problem = served.post("/runs", "{\"scenario\":\"broken.toml\"}", 422);
    assert!(!problem["shown"].as_str().unwrap().contains("Error:"));
    assert!(
        problem["shown"]
            .as_str()
            .unwrap()
            .contains("broken.toml:2:10"),
        "{problem}"
    );
    let before = runner.runs().len();
    let plan =
        json!({ "scenario": "good.toml", "tests": ["b"], "repeat": 3, "overrides": { "jobs": 1 } });
    let planned = served.post("/runs/plan", &plan.to_string(), 200);
    assert_eq!(
        (&planned["plan"]["planned"], &planned["plan"]["jobs"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(runner.runs().len(), before);
    for body in [
        json!({ "scenario": "good.toml", "overrides": { "build": true } }),
        json!({ "scenario": "good.toml", "overrides": { "jobs": "many" } }),
        json!({ "scenario": "good.toml", "filter": "test(" }),
        json!({ "scenario": "good.toml", "build": true }),
        json!({ "scenario": "good.toml", "repeat": 0 }),
        json!({ "scenario": "good.toml", "priority": 1 }),
    ] {
        served.post("/runs", &body.to_string(), 400);
    }
    let nothing = json!({ "scenario": "good.toml", "tests": ["nothing"] });
    let problem = served.post("/runs", &nothing.to_string(), 422);
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.contains(['×', '\n']), "{problem}");
    assert!(problem["help"].is_string(), "{problem}");
    let unknown = json!({ "scenario": "good.toml", "overrides": { "timeout_minutes": 3 } });
    let problem = served.post("/runs", &unknown.to_string(), 400);
    let help = problem["help"].as_str().unwrap();
    assert!(help.contains("`timeout-minutes`"), "{problem}");
    assert_eq!(runner.runs().len(), before);
    let started = served.post("/runs", &plan.to_string(), 201);
    assert_eq!(started["run"], runner.only_run().id());
    wait_until("it is over", || {
        runner.only_run().ending()[0] == "completed"
    });
    assert_eq!(runner.only_run().rows().len(), 3);
}
