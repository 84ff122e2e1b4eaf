//! The queue over HTTP: what waits is moved and removed.

use serde_json::{Value, json};

use super::client::Served;
use crate::support::runner::Runner;

const SCENARIO: &str = "[[tests]]\nid = \"a\"\ninput = { do = \"sleep\" }\ntimeout = \"10m\"\n[[tests]]\nid = \"b\"\ninput = { do = \"sleep\" }\n";

/// The ids of the requests that wait, in their order.
fn waiting(served: &Served) -> Vec<String> {
    let queue = served.get("/queue").expect(200).json();
    let requests = queue["requests"].as_array().unwrap().iter();
    let waiting = requests.filter(|request| request["state"] == "waiting");
    let ids = waiting.map(|request| request["id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[test]
fn requests_are_moved_right_before_others_whatever_their_priorities() {
    let runner = Runner::hostile(SCENARIO);
    let served = Served::start(&runner, &["--scenarios", "."]);
    // It keeps the others waiting.
    let plan = served.post("/runs/plan", "{\"scenario\":\"scenario.toml\"}", 200);
    assert_eq!(plan["trials"], json!(["a@hostile#1", "b@hostile#1"]));
    served.post("/runs", "{\"scenario\":\"scenario.toml\"}", 201);
    let ids: Vec<String> = [0, 0, 0, 5, -3]
        .map(|priority| {
            let body = json!({ "scenario": "scenario.toml", "queue": true, "priority": priority });
            let queued = served.post("/runs", &body.to_string(), 202);
            queued["queued"]["id"].as_str().unwrap().to_owned()
        })
        .into();
    let in_order = |order: [usize; 5]| order.map(|place| ids[place].clone());
    assert_eq!(waiting(&served), in_order([3, 0, 1, 2, 4]));

    let place = |moved: usize, body: Value, status: u16| {
        let path = format!("/queue/{}/move", ids[moved]);
        served.post(&path, &body.to_string(), status)
    };
    let before = |moved: usize, other: usize| {
        place(moved, json!({ "before": ids[other] }), 200);
    };
    before(2, 1);
    assert_eq!(waiting(&served), in_order([3, 0, 2, 1, 4]));
    before(4, 0);
    assert_eq!(waiting(&served), in_order([3, 4, 0, 2, 1]));
    before(1, 3);
    assert_eq!(waiting(&served), in_order([1, 3, 4, 0, 2]));
    // Where it is already.
    before(3, 4);
    before(3, 3);
    assert_eq!(waiting(&served), in_order([1, 3, 4, 0, 2]));
    place(2, json!({}), 200);
    assert_eq!(waiting(&served), in_order([2, 1, 3, 4, 0]));

    place(0, json!({ "before": "nothing" }), 422);
    place(0, json!({ "before": ids[1], "priority": 1 }), 400);
    assert_eq!(waiting(&served), in_order([2, 1, 3, 4, 0]));
    for id in &ids {
        let removed = served.send("DELETE", &format!("/queue/{id}"), "{}");
        removed.expect(200);
    }
    assert_eq!(waiting(&served), [""; 0]);
    served.post("/runs/latest/cancel", "{}", 200);
}
