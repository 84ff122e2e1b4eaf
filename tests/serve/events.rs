//! Server-sent events.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{
    http::Site,
    random::times,
    run::{Run, sealed},
    runner::{Runner, tests},
    wait::wait_until,
};

/// A stream of events that is read.
struct Events(BufReader<TcpStream>);

#[derive(Clone, Debug, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Events {
    /// Opens a stream of a call below `/api/v1`. `after` is the id of the last event that was read.
    #[track_caller]
    fn open(site: &Site, path: &str, after: Option<&str>) -> Self {
        let token = format!("Authorization: Bearer {}", site.token);
        let last = after.map(|id| format!("Last-Event-ID: {id}"));
        let headers: Vec<_> =
            [Some(&token), last.as_ref()].into_iter().flatten().map(String::as_str).collect();
        let mut stream = site.connect();
        let request = site.request("GET", &format!("/api/v1{path}"), &headers, "");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Self(BufReader::new(stream));
        let head: Vec<_> =
            std::iter::from_fn(|| events.line().filter(|line| line != "\r\n")).collect();
        assert!(head[0].starts_with("HTTP/1.1 200"), "{head:?}");
        assert!(head.contains(&"content-type: text/event-stream\r\n".to_owned()), "{head:?}");
        assert_eq!(events.content().as_deref(), Some("retry: 1000\n"));
        events.content();
        events
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).unwrap() > 0).then_some(line)
    }

    /// Returns the next line of the body: those of its chunks end differently.
    fn content(&mut self) -> Option<String> {
        std::iter::from_fn(|| self.line()).find(|line| !line.ends_with("\r\n"))
    }

    /// Returns the next event. `None` at the end of the stream.
    fn next(&mut self) -> Option<Event> {
        let (mut name, mut id, mut data) = (None, None, None);
        loop {
            let line = self.content()?;
            match line.trim_end().split_once(": ") {
                Some(("event", text)) => name = Some(text.to_owned()),
                Some(("id", text)) => id = Some(text.to_owned()),
                Some(("data", text)) => data = Some(serde_json::from_str(text).unwrap()),
                _ if line == "\n" && name.is_some() => {
                    return Some(Event { name: name?, id, data: data.unwrap() });
                }
                // A comment.
                _ => assert!(line == "\n" || line == ":\n", "{line:?}"),
            }
        }
    }

    /// Returns the next event with this name.
    #[track_caller]
    fn named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ended before `{name}`"));
            if event.name == name {
                return event;
            }
        }
    }

    /// Returns all events to the end of the stream.
    fn all(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// Runs a scenario with this number of trials that pass.
fn with_rows(count: usize) -> Runner {
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"guest\"\nrepeat = {count}\ninput = {{ do = \"echo\", value = \"é\" }}\n"
    ));
    runner.exec(&[]);
    runner
}

/// Returns the rows of a stream's events, and checks their ids.
#[track_caller]
fn rows_of(run: &Run, events: &[Event]) -> Vec<Value> {
    let index = run.bytes("index.jsonl");
    let rows = events.iter().filter(|event| event.name == "row");
    rows.map(|event| {
        let end: usize = event.id.as_ref().unwrap().parse().unwrap();
        let line = index[..end - 1].rsplit(|byte| *byte == b'\n').next().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(line).unwrap(), event.data);
        event.data.clone()
    })
    .collect()
}

#[test]
fn progress_of_a_run_is_sent_to_its_end() {
    let runner = Runner::endless(2, "sleep", "");
    let mut running = runner.start(&["-j", "1"]);
    running.wait_until_running(&runner, 1);
    let site = Site::start(&runner, &[]);
    let mut events = Events::open(&site, "/runs/latest/events", None);
    let progress = events.named("progress");
    let is_first = progress.id.as_deref() == Some("0")
        && progress.data["rev"] == 0
        && progress.data["counts"]["planned"] == 2
        && progress.data["live"]["in_flight"][0]["trial"] == "guest@hostile#1";
    assert!(is_first, "{progress:?}");
    runner.run(&["stop"]).expect(0);
    running.finish();
    let rest = events.all();
    let [.., progress, finished] = &rest[..] else { panic!("{rest:?}") };
    let run = runner.only_run();
    let size = run.bytes("index.jsonl").len().to_string();
    let is_last = (progress.name.as_str(), progress.id.as_ref()) == ("progress", Some(&size))
        && progress.data["rev"] == run.rows().len()
        && progress.data["live"] == Value::Null;
    assert!(is_last, "of {size} bytes: {rest:?}");
    assert_eq!(finished.name, "finished");
    let ended =
        json!({ "run": run.id(), "status": "incomplete", "reason": "stopped", "verdict": "none" });
    assert_eq!(finished.data, ended);
}

#[test]
fn each_row_is_sent_once_also_by_another_server() {
    let runner = with_rows(300);
    let (one, other) = (Site::start(&runner, &[]), Site::start(&runner, &["--read-only"]));
    let path = "/runs/latest/events?rows=full";
    let mut first = Events::open(&one, path, None);
    let mut events: Vec<_> = (0..100).map(|_| first.next().unwrap()).collect();
    drop(first);
    let last = events.last().unwrap().id.clone();
    events.extend(Events::open(&other, path, last.as_deref()).all());
    let run = runner.only_run();
    assert_eq!(rows_of(&run, &events), run.rows());
    // The address has the cursor of clients that cannot set headers. A browser repeats the address, with a later header.
    let after = format!("{path}&after={}", last.unwrap());
    let rest = Events::open(&one, &after, None).all();
    assert_eq!(rows_of(&run, &rest), run.rows()[100..]);
    let end = run.bytes("index.jsonl").len().to_string();
    let names: Vec<_> = Events::open(&one, &after, Some(&end)).all();
    let names: Vec<_> = names.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["progress", "finished"]);
}

#[test]
fn rows_are_sent_as_they_are_written() {
    // In memory: if a busy disk does not sync in time, a stopped session ends without its rows.
    let runner = Runner::hostile_in_memory(&tests(
        "one | { do = \"echo\" } |\ntwo | { do = \"sleep\", ms = 600000 } |",
    ));
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_rows(1);
    let site = Site::start(&runner, &[]);
    let mut events = Events::open(&site, "/runs/latest/events?rows=full", None);
    assert_eq!(events.named("row").data["test"], "one");
    runner.run(&["stop"]).expect(0);
    running.finish();
    assert_eq!(events.named("row").data["test"], "two");
    assert_eq!(events.named("finished").id, None);
}

#[test]
fn first_progress_has_the_speed() {
    let runner = Runner::hostile(&tests(
        "one | { do = \"echo\" } |\ntwo | { do = \"sleep\", ms = 600000 } |",
    ));
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_rows(1);
    let site = Site::start(&runner, &[]);
    let mut events = Events::open(&site, "/runs/latest/events", None);
    let progress = events.named("progress").data;
    assert!(progress["rate"].as_f64().is_some_and(|rate| rate > 0.0), "{progress}");
    runner.run(&["stop"]).expect(0);
    running.finish();
}

#[test]
fn unknown_cursors_are_reset() {
    let runner = with_rows(3);
    let site = Site::start(&runner, &[]);
    let run = runner.only_run();
    for after in ["999999999", "18446744073709551615", "7"] {
        let events = Events::open(&site, "/runs/latest/events?rows=full", Some(after)).all();
        assert_eq!((events[0].name.as_str(), events[0].id.as_deref()), ("reset", Some("0")));
        assert_eq!(rows_of(&run, &events), run.rows());
    }
    site.ask("GET", "/runs/latest/events?after=x", None).refuses(400, &["`after`"]);
    site.ask("GET", "/runs/latest/events?rows=some", None).refuses(400, &["full"]);
    site.ask("GET", "/runs/latest/events?from=1", None).refuses(400, &["from"]);
    site.ask("GET", "/runs/none/events", None).refuses(404, &["none"]);
}

#[test]
fn damaged_rows_add_no_events() {
    let runner = with_rows(2);
    let run = runner.only_run();
    let index = run.text("index.jsonl");
    let line = index.lines().next().unwrap();
    // White space of JSON, with a right checksum: a browser would take it for the end of a line.
    let cut = sealed(&line.replacen(",\"trial\"", ",\r\revent: row\rdata: {}\r\r\"trial\"", 1));
    let long = "x".repeat(3 << 20);
    run.write("index.jsonl", format!("{index}{cut}\n\nevent: evil\n{long}\n{line}\n"));
    let site = Site::start(&runner, &[]);
    let events = Events::open(&site, "/runs/latest/events?rows=full", None).all();
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    let damaged = ["damaged"; 4];
    assert_eq!(names, [&["row"; 2][..], &damaged, &["row", "progress", "finished"]].concat());
    assert_eq!(events[2].data, json!({ "byte": index.len() }));
}

#[test]
fn removed_run_is_gone() {
    let runner = Runner::endless(1, "sleep", "");
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    let site = Site::start(&runner, &[]);
    let mut events = Events::open(&site, "/runs/latest/events", None);
    events.named("progress");
    running.kill();
    std::fs::remove_dir_all(&runner.only_run().dir).unwrap();
    // The end may be seen before.
    let last = events.all().pop().unwrap();
    assert!(matches!(&*last.name, "gone" | "finished"), "{last:?}");
}

#[test]
fn changes_of_all_runs_are_sent() {
    let runner = with_rows(1);
    let site = Site::start(&runner, &["--read-only"]);
    let mut events = Events::open(&site, "/events", None);
    let ready = events.next().unwrap();
    assert_eq!(ready.name, "ready");
    assert!(ready.data["now"].is_string());
    let first = runner.only_run();
    runner.run(&["label", first.id(), "team=night"]).expect(0);
    let changed = events.named("run");
    assert_eq!(changed.data["run"], first.id());
    assert_eq!(changed.data["labels"], json!({ "team": "night" }));
    assert_eq!(changed.data["actions"]["label"]["allowed"], false);
    runner.run(&["exec", "scenario.toml", "--queue"]).expect(0);
    let queued = events.named("queue");
    std::fs::remove_dir_all(&first.dir).unwrap();
    let gone = events.named("gone");
    assert_eq!(gone.data, json!({ "run": first.id() }));
    // A client that comes back gets the events that it has missed.
    let mut again = Events::open(&site, "/events", changed.id.as_deref());
    let start = again.next().unwrap();
    assert_eq!((start.name.as_str(), start.id), ("ready", None));
    assert_eq!([again.next().unwrap(), again.next().unwrap()], [queued, gone.clone()]);
    // So does one that comes back to another server, if it has missed none.
    let other = Site::start(&runner, &["--read-only"]);
    let mut events = Events::open(&other, "/events", gone.id.as_deref());
    assert_eq!(events.next().unwrap().name, "ready");
    let mut events = Events::open(&other, "/events", ready.id.as_deref());
    let reset = events.next().unwrap();
    assert_eq!((reset.name.as_str(), &reset.id), ("reset", &gone.id));
}

#[test]
fn too_many_streams_leave_room_for_calls() {
    let runner = with_rows(1);
    let site = Site::start(&runner, &["--read-only"]);
    let streams: Vec<_> = (0..192).map(|_| Events::open(&site, "/events", None)).collect();
    let refused = site.ask("GET", "/events", None);
    snapshot(refused.refuses(503, &[]));
    site.ask("GET", "/runs/latest/events", None).refuses(503, &[]);
    site.get("/runs");
    drop(streams);
    wait_until("there is room again", || {
        site.ask("GET", "/runs/latest/events", None).status == 200
    });
}

/// The bound is 10 s, so only full tests wait for it. `only_readers_that_take_nothing_are_cut_off` has a shorter one.
#[test]
fn slow_readers_cost_little_and_are_cut_off() {
    if times(0, 1) == 0 {
        return;
    }
    let runner = with_rows(1);
    let run = runner.only_run();
    let row = run.text("index.jsonl");
    let long = row.trim_end().replacen("\"é\"", &format!("\"{}\"", "x".repeat(60 << 10)), 1);
    assert!(long.len() > 60 << 10, "{row}");
    run.write("index.jsonl", (sealed(&long) + "\n").repeat(1500));
    let site = Site::start(&runner, &[]);
    let token = format!("Authorization: Bearer {}", site.token);
    let ask = |path: &str| {
        let mut stream = site.connect();
        stream.write_all(site.request("GET", path, &[&token], "").as_bytes()).unwrap();
        stream
    };
    let paths = ["/api/v1/runs/latest/events?rows=full", "/api/v1/runs/latest/rows"];
    let streams: Vec<_> = paths.into_iter().cycle().take(200).map(ask).collect();
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", site.running.process().0));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    let sockets = || {
        let all = std::fs::read_dir(format!("/proc/{}/fd", site.running.process().0)).unwrap();
        let links = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        links.filter(|link| link.to_str().is_some_and(|link| link.starts_with("socket:"))).count()
    };
    wait_until("the readers are connected", || sockets() > 180);
    let mut most = 0;
    wait_until("all readers are cut off", || {
        most = most.max(memory());
        sockets() < 20
    });
    assert!(most < 250, "{most} MB");
    drop(streams);
    site.get("/server");
}
