//! Requests to change something: that each is what the contract says, that none is carried out twice by one key, and that a
//! server has the results roots and the scenarios that it was given.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    client::{Served, TOKEN},
    contract::contract,
};
use crate::support::{
    runner::{CommandExt as _, Runner},
    wait::wait_until,
};

const QUICK: &str = "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n[[tests]]\nid = \"b\"\ninput = { do = \"artifact\", name = \"b.txt\" }\n";
const ENDLESS: &str = "[[tests]]\nid = \"a\"\ntimeout = \"1h\"\ninput = { do = \"sleep\" }\n";
const START: &str = "{\"scenario\":\"scenario.toml\"}";

fn is_over(runner: &Runner, runs: usize) -> bool {
    let listed = runner.list(&[]);
    listed.len() == runs && listed.iter().all(|run| run["status"] != "running")
}

#[test]
fn each_call_that_changes_something_is_answered_as_the_contract_says() {
    let runner = Runner::hostile(QUICK);
    let served = Served::start(&runner, &["--scenarios", "."]);
    served.send("POST", "/runs", START).expect(201);
    wait_until("it is over", || is_over(&runner, 1));
    let queued = json!({ "scenario": "scenario.toml", "queue": true, "priority": 3 });
    runner.write("results/runner.toml", "max_active_runs = 1\n");
    let calls = [
        ("POST", "/runs/plan", START, 200),
        ("POST", "/runs/{run}/stop", "", 200),
        ("POST", "/runs/{run}/cancel", "", 409),
        ("POST", "/runs/{run}/pause", "", 200),
        ("POST", "/runs/{run}/unpause", "", 200),
        ("POST", "/runs/{run}/plan", "{\"rerun\":\"all\"}", 200),
        ("POST", "/runs/{run}/rescore", "{\"dry_run\":true}", 200),
        ("POST", "/runs/{run}/pin", "", 200),
        ("POST", "/runs/{run}/unpin", "", 200),
        ("POST", "/cleanup", "", 200),
        ("POST", "/prune", "{\"keep_last\":1}", 200),
        ("POST", "/runs/{run}/resume", "{\"rerun\":\"all\"}", 202),
        ("POST", "/queue/{request}/move", "", 404),
        ("DELETE", "/queue/{request}", "", 404),
    ];
    let mut called = vec!["/runs"];
    for (method, route, body, status) in calls {
        let path = route.replace("{run}", "latest");
        let path = path.replace("{request}", "nothing");
        served.send(method, &path, body).expect(status);
        called.push(route);
        // What is asked for has keys that are known, and is JSON.
        served.send(method, &path, "{\"nonsense\":1}").expect(400);
        served.send(method, &path, "[]").expect(400);
    }
    wait_until("it is over", || is_over(&runner, 1));
    served
        .send("DELETE", "/runs/latest", "{\"dry_run\":true}")
        .expect(200);
    called.push("/runs/{run}");

    // The queue moves on by itself, unless a run is in its way.
    runner.scenario(&format!(
        "{ENDLESS}[providers.hostile]\nplugin = \"hostile.wasm\"\n"
    ));
    served.send("POST", "/runs", START).expect(201);
    served.send("POST", "/runs", START).expect(409);
    let waits = served.post("/runs", &queued.to_string(), 202);
    let id = waits["queued"]["id"].as_str().unwrap();
    served.post(&format!("/queue/{id}/move"), "{\"priority\":7}", 200);
    served
        .send("DELETE", &format!("/queue/{id}"), "")
        .expect(200);
    served.post("/runs/latest/stop", "{\"mode\":\"kill\"}", 200);

    let writes = contract()["paths"].as_object().unwrap().iter();
    let writes = writes.filter(|(_, item)| item.get("post").or(item.get("delete")).is_some());
    for (path, _) in writes {
        let route = path.strip_prefix("/api/v1").unwrap();
        assert!(called.contains(&route), "{route} was not called");
    }
}

fn keyed(served: &Served, key: &str, body: &str, status: u16) -> Value {
    let headers = [("Idempotency-Key", key)];
    let answered = served.send_with("POST", "/runs", &headers, body);
    answered.expect(status).json()
}

#[test]
fn a_start_that_is_sent_again_with_the_same_key_is_one_run_whoever_is_asked() {
    let runner = Runner::hostile(QUICK);
    let mut served = Served::start(&runner, &["--scenarios", "."]);
    let first = keyed(&served, "a key", START, 201);
    assert_eq!(keyed(&served, "a key", START, 201), first);
    served.kill();
    wait_until("it is over", || is_over(&runner, 1));
    let served = Served::start(&runner, &["--scenarios", "."]);
    assert_eq!(keyed(&served, "a key", START, 201), first);
    // Who by and why says nothing of what is asked for.
    let again = "{\"scenario\":\"scenario.toml\",\"by\":\"somebody\"}";
    assert_eq!(keyed(&served, "a key", again, 201), first);
    let other = "{\"scenario\":\"scenario.toml\",\"tests\":[\"b\"]}";
    let refused = keyed(&served, "a key", other, 422);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("`a key`"), "{refused}");
    keyed(&served, "", START, 400);
    keyed(&served, &"x".repeat(201), START, 400);
    assert_eq!(runner.runs().len(), 1);
    let manifest = runner.only_run().manifest();
    assert_eq!(manifest["request"]["key"]["text"], "a key");
    runner.assert_valid("benchmark", &[manifest]);

    // At once, and of those that wait.
    let body = "{\"scenario\":\"scenario.toml\",\"queue\":true}";
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let headers = [("Idempotency-Key", "another")];
                    served.send_with("POST", "/runs", &headers, body).status
                })
            })
            .collect();
        asked.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(
        answers
            .iter()
            .all(|status| [201, 202, 409].contains(status)),
        "{answers:?}"
    );
    wait_until("it is over", || is_over(&runner, 2));
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(runner.runs().len(), 2);
    let run = keyed(&served, "another", body, 201);
    assert!(run["run"].is_string(), "{run}");
    // One that was refused was not carried out, and may be sent again.
    keyed(
        &served,
        "third",
        "{\"scenario\":\"scenario.toml\",\"tests\":[\"none\"]}",
        422,
    );
    keyed(&served, "third", START, 201);
}

#[test]
fn parts_of_files_are_handed_out() {
    let runner = Runner::hostile(QUICK);
    runner.exec(&[]).expect(0);
    let served = Served::start(&runner, &[]);
    for (trial, file) in [("a", "output"), ("b", "b.txt")] {
        let path = format!("/runs/latest/trials/{trial}@hostile%231/attempts/1/files/{file}");
        let whole = served.get(&path).expect(200);
        let length = whole.body.len();
        assert_eq!(whole.header("content-length"), Some(&*length.to_string()));
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Authorization", &*bearer), ("Range", "bytes=1-")];
        let part = served.ask("GET", &format!("/api/v1{path}"), &headers, "");
        assert_eq!(part.expect(206).body, whole.body[1..]);
    }
}

#[test]
fn a_list_of_scenarios_is_read_anew_where_something_has_changed() {
    let runner = Runner::hostile("[[test_lists]]\nfiles = [\"*.jsonl\"]\n");
    let line = |id: &str| format!("{{\"id\":\"{id}\",\"input\":{{\"do\":\"log\"}}}}\n");
    runner.write("one.jsonl", line("a"));
    let served = Served::start(&runner, &["--scenarios", "."]);
    let tests = || served.get("/scenarios").json()["scenarios"][0]["tests"].clone();
    assert_eq!(tests(), 1);
    // What is older than this is not read again as long as nothing changes.
    thread::sleep(Duration::from_millis(3_500));
    assert_eq!((tests(), tests()), (json!(1), json!(1)));
    runner.write("one.jsonl", line("a") + &line("b"));
    assert_eq!(tests(), 2);
    runner.write("two.jsonl", line("c"));
    assert_eq!(tests(), 3);
    thread::sleep(Duration::from_millis(3_500));
    assert_eq!(tests(), 3);
    fs_err::remove_file(runner.path("two.jsonl")).unwrap();
    assert_eq!(tests(), 2);
    runner.write("two.jsonl", "nonsense\n");
    let broken = served.get("/scenarios").json();
    assert!(broken["scenarios"][0]["problem"].is_string(), "{broken}");
    runner.write("two.jsonl", line("c"));
    assert_eq!(tests(), 3);
}

#[test]
fn several_results_roots_are_served_each_at_its_own_port() {
    let runner = Runner::hostile(QUICK);
    runner.exec(&["--results", "one"]).expect(0);
    for _ in 0..2 {
        runner.exec(&["--results", "two"]).expect(0);
    }
    runner.write("token", TOKEN);
    runner.write(
        "two/runner.toml",
        "[serve]\nread_only = true\nscenarios = [\"..\"]\n",
    );
    let args = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token"];
    let args = [&args[..], &["--results", "one", "--results", "two"]].concat();
    let mut server = runner
        .command(&args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap()).lines();
    let mut found = Vec::new();
    for _ in 0..2 {
        let line = said.next().unwrap().unwrap();
        let (address, root) = line
            .strip_prefix("open http://")
            .and_then(|line| line.split_once(" for the results in "))
            .unwrap_or_else(|| panic!("{line}"));
        let at = address.split('/').next().unwrap().to_owned();
        found.push((root.trim_matches('`').to_owned(), at));
    }
    found.sort();
    let ask = |at: &str, path: &str, method: &str| {
        let url = format!("http://{at}/api/v1{path}");
        let bearer = format!("Authorization: Bearer {TOKEN}");
        let mut curl = runner.shell("exec \"$@\"");
        curl.args(["sh", "curl", "-s", "-X", method, "-H", &bearer]);
        curl.args(["-H", "Content-Type: application/json", &url]);
        curl.run().expect(0).document()
    };
    let count = |at: &str| ask(at, "/runs", "GET")["runs"].as_array().unwrap().len();
    let [(one, at_one), (two, at_two)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&**one, &**two), ("one", "two"));
    assert_eq!((count(at_one), count(at_two)), (1, 2));
    // What the settings of a root say is said of that one alone.
    assert_eq!(ask(at_one, "/cleanup", "POST")["status"], Value::Null);
    assert_eq!(ask(at_two, "/cleanup", "POST")["status"], 403);
    assert_eq!(ask(at_one, "/scenarios", "GET")["scenarios"], json!([]));
    let scenarios = ask(at_two, "/scenarios", "GET");
    assert_eq!(scenarios["scenarios"][0]["path"], "scenario.toml");
    server.kill().unwrap();
    server.wait().unwrap();
    let refused = [
        "serve",
        "--listen",
        "unix:s",
        "--results",
        "one",
        "--results",
        "two",
    ];
    runner
        .run(&refused)
        .expect(2)
        .says(&["several results roots cannot be served"]);
}
