//! The guest `web`, which sends the requests of its input: a run of attempts, what came back, and servers to ask.

use serde_json::{Value, json};

use super::{
    run::Run,
    runner::Runner,
    server::{Response, Server},
};

/// Both ways to send a request.
pub(crate) const WAYS: [&str; 2] = ["send", "wasi"];

/// What a run of the guest has left.
pub(crate) struct Sent {
    pub(crate) run: Run,
    /// The row of each attempt, in their order.
    pub(crate) rows: Vec<Value>,
    // Its folder goes with it.
    _runner: Runner,
}

impl Sent {
    /// What came back for the requests of an attempt.
    #[track_caller]
    pub(crate) fn answers(&self, attempt: usize) -> &Vec<Value> {
        let row = &self.rows[attempt];
        let answers = row["output"].as_array();
        answers.unwrap_or_else(|| panic!("attempt {attempt}: {row}"))
    }

    /// What came back for the only request of an attempt.
    #[track_caller]
    pub(crate) fn answer(&self, attempt: usize) -> &Value {
        let answers = self.answers(attempt);
        assert_eq!(answers.len(), 1, "{answers:?}");
        &answers[0]
    }
}

/// A folder with the guest and a scenario of one attempt for each list of requests. `keys` is for the provider, as in its
/// table; grants are in `grants`.
pub(crate) fn scenario(keys: &str, grants: &str, attempts: &[Vec<Value>]) -> Runner {
    let runner = Runner::new(&["web"]);
    let tests = attempts.iter().enumerate().map(|(number, requests)| {
        let input = toml(&json!({ "requests": requests }));
        format!("[[tests]]\nid = \"t{number}\"\ninput = {input}\n")
    });
    runner.scenario(&format!(
        "[providers.web]\nplugin = \"web.wasm\"\n{keys}\n[providers.web.grants]\n{grants}\n{}",
        tests.collect::<String>()
    ));
    runner
}

/// Runs such a scenario, in which nothing is expected of any answer.
#[track_caller]
pub(crate) fn send(keys: &str, grants: &str, attempts: &[Vec<Value>]) -> Sent {
    let runner = scenario(keys, grants, attempts);
    let ran = runner.exec(&[]);
    ended(runner, attempts.len(), &ran.stderr)
}

/// What is left of a scenario's only run.
#[track_caller]
pub(crate) fn ended(runner: Runner, attempts: usize, said: &str) -> Sent {
    let runs = runner.runs();
    assert_eq!(runs.len(), 1, "{said}");
    let run = runner.only_run();
    Sent {
        rows: (0..attempts).map(|number| run.row(&format!("t{number}"))).collect(),
        run,
        _runner: runner,
    }
}

/// The line that grants the network to these places.
pub(crate) fn net(origins: &[&str]) -> String {
    format!("net = {origins:?}")
}

pub(crate) fn get(url: impl Into<String>) -> Value {
    json!({ "url": url.into() })
}

/// The same request by each interface, each in an attempt of its own.
pub(crate) fn both(request: &Value) -> [Vec<Value>; 2] {
    WAYS.map(|way| {
        let mut request = request.clone();
        request["by"] = way.into();
        vec![request]
    })
}

/// An error of `http.send`, whose text has this part.
#[track_caller]
pub(crate) fn assert_error(answer: &Value, kind: &str, part: &str) {
    assert_eq!(answer["error"], kind, "{answer}");
    assert!(answer["text"].as_str().unwrap().contains(part), "{answer}");
}

/// An error of `wasi:http`, which has this part.
#[track_caller]
pub(crate) fn assert_code(answer: &Value, part: &str) {
    let error = answer["error"].as_str();
    assert!(error.is_some_and(|error| error.contains(part)), "{answer}");
}

pub(crate) fn hello() -> Server {
    Server::start(|_| Response::ok("hello"))
}

/// A server that answers with these bytes and closes the connection.
pub(crate) fn broken(answer: impl Into<Vec<u8>>) -> Server {
    let answer = answer.into();
    Server::raw(move |_, wire| {
        wire.send(&answer);
    })
}

/// A server that goes on with these bytes for as long as somebody reads them.
pub(crate) fn endless(beginning: &'static str, part: &'static str) -> Server {
    Server::raw(move |_, wire| {
        let mut is_there = wire.send(beginning);
        while is_there {
            is_there = wire.send(part);
        }
    })
}

/// A server that never answers.
pub(crate) fn silent() -> Server {
    Server::raw(|_, wire| wire.wait_for_close())
}

/// A value of JSON as TOML has it on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs = map.iter();
            let pairs = pairs.map(|(key, value)| format!("{key} = {}", toml(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        // TOML has no DEL in a string, and all other escapes of JSON.
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    }
}
