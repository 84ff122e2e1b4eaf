//! The scenarios in `scenarios/`. `toolchains.rs` has those whose plugins have to be built.

use std::fs;

use super::model;
use crate::messages::outputs::snapshot;
use crate::support::{
    guests::root,
    runner::Runner,
    server::{Request, Response, Server},
};

/// Reads a scenario of the repository.
fn example(name: &str) -> String {
    fs::read_to_string(root().join(format!("scenarios/{name}.toml"))).unwrap()
}

/// Returns a folder with the example, whose server is replaced by `server`.
fn against(name: &str, place: &str, server: &Server) -> Runner {
    let text = example(name);
    assert!(text.contains(place), "{name} names no {place}");
    let runner = Runner::new(&[]);
    runner.scenario(&text.replace(place, &server.origin()));
    runner
}

/// A new scenario needs a test that runs it.
#[test]
fn every_example_has_a_test() {
    let tests = [include_str!("examples.rs"), include_str!("../authors/toolchains.rs")].concat();
    let files = fs::read_dir(root().join("scenarios")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> =
        names.filter_map(|name| Some(name.strip_suffix(".toml")?.to_owned())).collect();
    assert!(names.len() > 6, "{names:?}");
    for name in names {
        let calls = ["example(\"", "against(\"", "scenarios/"].map(|call| format!("{call}{name}"));
        let is_run = calls.iter().any(|call| tests.contains(call));
        assert!(is_run, "no test runs scenarios/{name}.toml");
    }
}

#[test]
fn basic_example_passes() {
    let runner = Runner::new(&[]);
    runner.scenario(&example("basic"));
    snapshot(&runner.exec(&[]).expect(0));
}

#[test]
fn units_example_shows_two_failures() {
    let runner = Runner::new(&[]);
    runner.scenario(&example("units"));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let bad = run.rows().into_iter().filter(|row| row["outcome"] != "passed");
    let bad: Vec<_> = bad.map(|row| (row["trial"].clone(), row["outcome"].clone())).collect();
    let expected = [("temperature@units#1", "failed"), ("status@service#1", "error")];
    assert_eq!(bad.len(), expected.len(), "{bad:?}");
    for (trial, outcome) in expected {
        assert!(bad.contains(&(trial.into(), outcome.into())), "{bad:?}");
    }
    assert_eq!(run.planned(), 205);
}

/// Answers as a file server in the root of the repository.
fn serve_file(request: &Request) -> Response {
    let path = request.path.split('?').next().unwrap();
    let file = root().join(path.trim_start_matches('/'));
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Response::new(501);
    }
    if file.is_dir() {
        return Response::new(301).header("location", &format!("{path}/"));
    }
    let Ok(content) = fs::read(&file) else { return Response::new(404) };
    if request.header("if-modified-since").is_some() {
        return Response::new(304);
    }
    let is_json = path.ends_with(".json");
    let media_type = if is_json { "application/json" } else { "text/plain" };
    Response::ok(content).header("content-type", media_type)
}

#[test]
fn http_example_passes_against_file_server() {
    let server = Server::start(serve_file);
    against("http", "http://127.0.0.1:8000", &server).exec(&[]).expect(0);
}

#[test]
fn chat_example_passes_against_local_model() {
    against("chat", model::ADDRESS, &model::start()).exec(&[]).expect(0);
}

#[test]
fn agent_example_passes_against_local_model() {
    let server = model::start();
    let runner = against("agent", model::ADDRESS, &server);
    runner.exec(&[]).expect(0);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn judge_example_passes_against_local_model() {
    let server = model::start();
    let runner = against("judge", model::ADDRESS, &server);
    runner.exec(&[]).expect(0);
    let scores =
        ["capital", "reason"].map(|id| runner.only_run().row(id)["grades"][0]["score"].clone());
    assert_eq!(scores, [1.0, 0.6]);
}
