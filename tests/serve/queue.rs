//! The queue over HTTP: what waits is moved and removed.

use serde_json::{Value, json};

use super::{client::Served, events::Listening};
use crate::support::{runner::Runner, wait::wait_until};

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
    let gone = format!("/queue/{}", ids[0]);
    served.send("DELETE", &gone, "{}").expect(404);
    served.post(&format!("{gone}/move"), "{}", 404);
    served.post("/runs/latest/cancel", "{}", 200);
}

const START: &str = "{\"scenario\":\"scenario.toml\"}";
const QUEUE: &str = "{\"scenario\":\"scenario.toml\",\"queue\":true}";

/// Waits until it is said that this has become of a request, and by which run.
#[track_caller]
fn heard(listening: &mut Listening, request: &str, change: &str) -> Value {
    loop {
        let said = listening.wait_for("queue").data;
        if said["request"] == *request && said["change"] == *change {
            return said["run"].clone();
        }
    }
}

#[test]
fn the_stream_of_all_runs_tells_what_happens_in_the_queue() {
    let runner = Runner::hostile(SCENARIO);
    let served = Served::start(&runner, &["--scenarios", "."]);
    served.post("/runs", START, 201);
    let mut listening = Listening::to(&served, "/events", None);
    let ready = listening.wait_for("ready").id.unwrap();
    let [id, other] = [(); 2].map(|()| {
        let queued = served.post("/runs", QUEUE, 202);
        let id = queued["queued"]["id"].as_str().unwrap().to_owned();
        assert_eq!(heard(&mut listening, &id, "queued"), Value::Null);
        id
    });
    served.post(&format!("/queue/{other}/move"), "{}", 200);
    heard(&mut listening, &other, "moved");
    let removed = served.send("DELETE", &format!("/queue/{other}"), "{}");
    removed.expect(200);
    heard(&mut listening, &other, "removed");
    served.post("/runs/latest/cancel", "{}", 200);
    let run = heard(&mut listening, &id, "begun");
    let latest = served.get("/runs/latest").expect(200).json();
    assert_eq!(run, latest["run"]["run"]);
    served.post("/runs/latest/cancel", "{}", 200);

    // Whoever comes back has missed nothing.
    let mut again = Listening::to(&served, "/events", Some(&ready));
    heard(&mut again, &other, "removed");
    assert_eq!(heard(&mut again, &id, "begun"), run);
}

#[test]
fn a_run_waits_until_there_is_room_to_go_on_with_it() {
    let runner = Runner::hostile(SCENARIO);
    let served = Served::start(&runner, &["--scenarios", "."]);
    let first = served.post("/runs", START, 201)["run"].clone();
    let first = format!("/runs/{}", first.as_str().unwrap());
    let resume = format!("{first}/resume");
    let status = || served.get(&first).expect(200).json()["run"]["status"].clone();
    // It goes on already.
    served.post(&resume, "{\"queue\":true}", 409);
    served.post(&format!("{first}/stop"), "{}", 200);
    served.post("/runs", START, 201);
    served.post(&resume, "{}", 409);
    let queued = served.post(&resume, "{\"queue\":true,\"priority\":3}", 202);
    assert_eq!(
        (&queued["run"], &queued["queued"]["priority"]),
        (&Value::Null, &json!(3))
    );
    assert_eq!(waiting(&served), [queued["queued"]["id"].as_str().unwrap()]);
    // Once is enough.
    let twice = served.post(&resume, "{\"queue\":true}", 409);
    assert!(
        twice["detail"]
            .as_str()
            .unwrap()
            .contains("waits in the queue already"),
        "{twice}"
    );
    assert_eq!(status(), "incomplete");
    served.post("/runs/latest/cancel", "{}", 200);
    wait_until("it goes on", || status() == "running");
    wait_until("nothing waits", || waiting(&served).is_empty());
    served.post(&format!("{first}/cancel"), "{}", 200);
}
