//! A stand-in for a local language model, with fixed answers.

use std::{collections::HashMap, sync::Mutex};

use serde_json::{Value, json};

use crate::support::server::{Request, Response, Server};

/// The address of a model on pages and in scenarios.
pub(super) const ADDRESS: &str = "http://127.0.0.1:11434";

/// Models, parts of questions, and the answers to repetitions of a question. The first line that fits is used.
const ANSWERS: &[(&str, &str, &[&str])] = &[
    ("llama3.2", "Answer: Paris", &[r#"{"score": 1.0, "explanation": "the same city"}"#]),
    ("llama3.2", "Answer: Short waves", &[r#"{"score": 0.6, "explanation": "it names no air"}"#]),
    ("llama3.2", "Answer: Rivers", &[r#"{"score": 1.0, "explanation": "It names the cause."}"#]),
    ("llama3.2", "Answer: Fish", &[r#"{"score": 0.2, "explanation": "It names no rocks."}"#]),
    ("llama3.2", "Why is the sky blue?", &["Short waves scatter most."]),
    ("llama3.2", "Why is the sea salty?", &["Rivers wash salt out of rocks."]),
    ("smollm2", "Why is the sea salty?", &["Fish make it salty."]),
    ("llama3.2", "capital of France?", &["Paris"]),
    ("llama3.2", "capital of France as", &[r#"{"city": "Paris"}"#]),
    ("llama3.2", "6 times 7", &["42"]),
    ("llama3.2", "my name", &["Ada."]),
    ("", "capital of Peru", &["Lima"]),
    ("llama3.2", "17 times 23", &["391", "391", "401"]),
    ("smollm2", "17 times 23", &["391"]),
    ("llama3.2", "letter r", &["2"]),
    ("smollm2", "letter r", &["3"]),
    ("llama3.2", "26.1", &["26.1 miles"]),
];

/// Parts of questions, and the calls of tools that answer them.
const CALLS: &[(&str, &str, &str)] =
    &[("miles are 42 km", "convert", r#"{"from": "km", "to": "mi", "value": 42}"#)];

/// Starts the server.
pub(super) fn start() -> Server {
    let counts = Mutex::new(HashMap::new());
    Server::start(move |request| complete(request, &mut counts.lock().unwrap()))
}

/// Answers a request. `counts` has the number of uses of each line of [`ANSWERS`].
fn complete(request: &Request, counts: &mut HashMap<usize, usize>) -> Response {
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    let question = asked["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
    let model = asked["model"].as_str().unwrap();
    let mut lines = ANSWERS.iter().enumerate();
    let fits = |of: &str, part: &str| model.starts_with(of) && question.contains(part);
    let json = |status: u16, body: Value| {
        Response::new(status).header("content-type", "application/json").body(body.to_string())
    };
    let usage = json!({"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25});
    let completion = |reason: &str, message: Value| {
        let choice = json!({"index": 0, "finish_reason": reason, "message": message});
        json(200, json!({"model": model, "choices": [choice], "usage": usage}))
    };
    if let Some((_, tool, arguments)) = CALLS.iter().find(|(part, ..)| fits("", part)) {
        let function = json!({"name": tool, "arguments": arguments});
        let calls = json!([{"id": "call_1", "type": "function", "function": function}]);
        let message = json!({"role": "assistant", "content": "", "tool_calls": calls});
        return completion("tool_calls", message);
    }
    let Some((line, (_, _, answers))) = lines.find(|(_, (of, part, _))| fits(of, part)) else {
        return json(404, json!({"error": {"message": "the model is not found"}}));
    };
    let count = counts.entry(line).or_default();
    let answer = answers[*count % answers.len()];
    *count += 1;
    completion("stop", json!({"role": "assistant", "content": answer}))
}
