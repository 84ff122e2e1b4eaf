//! The guest `web`, which sends the requests of its input: scenarios, responses, and servers.

use serde_json::{Value, json};

use super::{
    run::Run,
    runner::Runner,
    server::{Response, Server},
};

/// Both ways to send a request.
pub(crate) const WAYS: [&str; 2] = ["send", "wasi"];

/// Results of a run of the guest.
pub(crate) struct Sent {
    pub(crate) run: Run,
    /// Rows of the attempts, in order.
    pub(crate) rows: Vec<Value>,
    // Keeps the folder until it is dropped.
    _runner: Runner,
}

impl Sent {
    /// Returns the responses to an attempt's requests.
    #[track_caller]
    pub(crate) fn answers(&self, attempt: usize) -> &Vec<Value> {
        let row = &self.rows[attempt];
        let answers = row["output"].as_array();
        answers.unwrap_or_else(|| panic!("attempt {attempt}: {row}"))
    }

    /// Returns the response to an attempt's only request.
    #[track_caller]
    pub(crate) fn answer(&self, attempt: usize) -> &Value {
        let answers = self.answers(attempt);
        assert_eq!(answers.len(), 1, "{answers:?}");
        &answers[0]
    }
}

/// Creates a folder with the guest and a scenario with an attempt for each list of requests. `keys` are keys of the
/// provider's table, grants are in `grants`.
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

/// Runs such a scenario without expectations.
#[track_caller]
pub(crate) fn send(keys: &str, grants: &str, attempts: &[Vec<Value>]) -> Sent {
    let runner = scenario(keys, grants, attempts);
    let ran = runner.exec(&[]);
    ended(runner, attempts.len(), &ran.stderr)
}

/// Returns the results of a scenario's only run.
#[track_caller]
pub(crate) fn ended(runner: Runner, attempts: usize, shown: &str) -> Sent {
    let runs = runner.runs();
    assert_eq!(runs.len(), 1, "{shown}");
    let run = runner.only_run();
    Sent {
        rows: (0..attempts).map(|number| run.row(&format!("t{number}"))).collect(),
        run,
        _runner: runner,
    }
}

/// Returns the line that grants access to these places.
pub(crate) fn net(origins: &[&str]) -> String {
    format!("net = {origins:?}")
}

pub(crate) fn get(url: impl Into<String>) -> Value {
    json!({ "url": url.into() })
}

/// Returns the same request by each interface, each in a separate attempt.
pub(crate) fn both(request: &Value) -> [Vec<Value>; 2] {
    WAYS.map(|way| {
        let mut request = request.clone();
        request["by"] = way.into();
        vec![request]
    })
}

/// Returns an error of `http.send` that contains this text.
#[track_caller]
pub(crate) fn assert_error(answer: &Value, kind: &str, part: &str) {
    assert_eq!(answer["error"], kind, "{answer}");
    assert!(answer["text"].as_str().unwrap().contains(part), "{answer}");
}

/// Returns an error of `wasi:http` that contains this text.
#[track_caller]
pub(crate) fn assert_code(answer: &Value, part: &str) {
    let error = answer["error"].as_str();
    assert!(error.is_some_and(|error| error.contains(part)), "{answer}");
}

pub(crate) fn hello() -> Server {
    Server::start(|_| Response::ok("hello"))
}

/// Starts a server that answers with these bytes and closes the connection.
pub(crate) fn broken(answer: impl Into<Vec<u8>>) -> Server {
    let answer = answer.into();
    Server::raw(move |_, wire| {
        wire.send(&answer);
    })
}

/// Starts a server that repeats these bytes until the client closes the connection.
pub(crate) fn endless(start: &'static str, part: &'static str) -> Server {
    Server::raw(move |_, wire| {
        let mut is_open = wire.send(start);
        while is_open {
            is_open = wire.send(part);
        }
    })
}

/// Starts a server that never answers.
pub(crate) fn silent() -> Server {
    Server::raw(|_, wire| wire.wait_for_close())
}

/// Converts JSON to TOML on one line.
pub(crate) fn toml(value: &Value) -> String {
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
        // TOML strings allow all escapes of JSON, but no DEL.
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    }
}
