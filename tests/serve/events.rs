//! Events: none lost, none doubled, whoever dies.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use super::client::{Served, TOKEN};
use crate::support::{
    runner::{CommandExt as _, Runner},
    wait::wait_until,
};

/// An event as a client hears it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: Value,
}

/// A stream of events.
pub(super) struct Listening(BufReader<TcpStream>);

impl Listening {
    #[track_caller]
    pub(super) fn to(served: &Served, path: &str, last: Option<&str>) -> Self {
        let mut stream = served.connect();
        let last = last
            .map(|id| format!("Last-Event-ID: {id}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET /api/v1{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n{last}\r\n",
            served.at
        );
        stream.write_all(request.as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }

    /// The next event; `None` at the end of the connection, whole or not.
    pub(super) fn next(&mut self) -> Option<Heard> {
        let (mut name, mut id, mut data) = (None, None, None);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap_or(0) == 0 || !line.ends_with('\n') {
                return None;
            }
            // The lengths of chunks stand between, and are no fields.
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("event: ") {
                name = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).ok()?);
            }
            if line.is_empty() && name.is_some() && data.is_some() {
                let (name, data) = (name.take()?, data.take()?);
                return Some(Heard { name, id, data });
            }
        }
    }

    #[track_caller]
    pub(super) fn wait_for(&mut self, name: &str) -> Heard {
        while let Some(heard) = self.next() {
            if heard.name == name {
                return heard;
            }
        }
        panic!("no event `{name}`");
    }
}

const MANY: &str = "[[tests]]\nid = \"a\"\nrepeat = 3000\ninput = { do = \"echo\", value = \"\\n\\nevent: finished\" }\n";

#[test]
fn whoever_follows_rows_hears_each_once_though_servers_and_connections_die() {
    let runner = Runner::hostile(MANY);
    let mut served = Served::start(&runner, &[]);
    let port = served.at.clone();
    let live = runner
        .command(&["exec", "scenario.toml", "--quiet", "--jobs", "1"])
        .start();
    wait_until("there is a row", || {
        runner
            .runs()
            .first()
            .is_some_and(|run| !run.lines().is_empty())
    });
    let mut seen: Vec<u64> = Vec::new();
    let mut last: Option<String> = None;
    let mut is_over = false;
    let mut turn = 0_usize;
    while !is_over {
        turn += 1;
        let mut listening =
            Listening::to(&served, "/runs/latest/events?rows=full", last.as_deref());
        // Less than the next one hears, so that all of them come to something.
        let most = 40 * turn;
        for _ in 0..most {
            let Some(heard) = listening.next() else { break };
            match heard.name.as_str() {
                "row" => {
                    seen.push(heard.data["row"]["seq"].as_u64().unwrap());
                    last = heard.id;
                }
                "finished" => {
                    is_over = true;
                    break;
                }
                "progress" | "waiting" => {}
                other => panic!("{other}"),
            }
        }
        if turn.is_multiple_of(3) && !is_over {
            served.kill();
            served = Served::at(&runner, &port, &[]);
        }
    }
    live.finish().expect(0);
    let written: Vec<u64> = runner
        .only_run()
        .rows()
        .iter()
        .map(|row| row["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seen, written);
    assert!(turn > 3, "{turn}");
}

#[test]
fn how_far_a_run_is_comes_to_its_end_and_a_cursor_of_lost_rows_is_reset() {
    let runner = Runner::hostile(MANY);
    let served = Served::start(&runner, &[]);
    runner.exec(&[]).expect(0);
    let mut listening = Listening::to(&served, "/runs/latest/events", None);
    let progress = listening.wait_for("progress");
    assert_eq!(
        (&progress.data["done"], &progress.data["rev"]),
        (&3000.into(), &3000.into())
    );
    let finished = listening.wait_for("finished");
    assert_eq!(
        (&finished.data["status"], &finished.data["verdict"]),
        (&"completed".into(), &"passed".into())
    );
    assert!(listening.next().is_none());

    // It goes on, and whoever listens now hears of its new end and not of the old one.
    served.post("/runs/latest/resume", "{\"rerun\":\"all\"}", 202);
    let mut listening = Listening::to(&served, "/runs/latest/events", None);
    let mut rev = 0;
    while let Some(heard) = listening.next() {
        rev = heard.data["rev"].as_u64().unwrap_or(rev);
    }
    assert_eq!(rev, 6000);

    let beyond = (runner.only_run().read("index.jsonl").len() + 1).to_string();
    let mut listening = Listening::to(&served, "/runs/latest/events?rows=full", Some(&beyond));
    listening.wait_for("reset");
    assert_eq!(listening.wait_for("row").data["row"]["seq"], 1);
    served.get("/runs/latest/events?after=x").expect(400);
    served.get("/runs/latest/events?rows=some").expect(400);
    served.get("/runs/nothing/events").expect(404);
}

#[test]
fn the_stream_of_all_runs_tells_what_begins_ends_and_goes() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let mut served = Served::start(&runner, &[]);
    runner.exec(&[]).expect(0);
    let mut listening = Listening::to(&served, "/events", None);
    let ready = listening.wait_for("ready").id.unwrap();
    runner.exec(&[]).expect(0);
    let id = runner.ids()[1].clone();
    let mut heard = listening.wait_for("run");
    while heard.data["status"] != "completed" || heard.data["run"] != *id {
        heard = listening.wait_for("run");
    }
    served
        .send("DELETE", &format!("/runs/{id}"), "")
        .expect(200);
    let gone = listening.wait_for("gone");
    assert_eq!(gone.data["run"], *id);

    // Whoever comes back hears what he has missed, and of another server that it knows nothing of that.
    let mut again = Listening::to(&served, "/events", Some(&ready));
    assert_eq!(again.wait_for("gone").data["run"], *id);
    let port = served.at.clone();
    served.kill();
    let served = Served::at(&runner, &port, &[]);
    let mut other = Listening::to(&served, "/events", Some(&ready));
    other.wait_for("reset");
}
