//! What servers and gateways send, one file of `fixtures` per form: the answers of a server, the calls that reach tools, and the
//! messages of the last request after the first one. `url` shows the form. A text of the model follows the answers. The test hands in
//! `given`, or else `hi`.

use std::fs;
use std::path::{Path, PathBuf};

use runner_sdk::http::Response;
use runner_sdk::testing::{Calls, Host};
use runner_sdk::{Reply, Result};
use serde_json::{Value, json};

use super::body;
use crate::Agent;

/// The module of new agents in Rust, whose users format it.
#[rustfmt::skip]
#[path = "../../../../runner/cli/templates/rust-agent/src/model.rs.template"]
mod template;

/// Runs an agent with the tools `read` and `list`, which return their input.
fn run(fixture: &Value) -> (Result<Reply>, Calls) {
    let mut config = fixture.get("config").cloned().unwrap_or_else(|| json!({}));
    config["model"] = "m".into();
    config["api_key_secret"] = "".into();
    let last = if config["api"] == "anthropic" {
        let usage = json!({"input_tokens": 90, "output_tokens": 12});
        let text = json!([{"type": "text", "text": "done"}]);
        json!({"body": {"content": text, "stop_reason": "end_turn", "usage": usage}})
    } else {
        json!({"body": {"choices": [{"message": {"content": "done"}, "finish_reason": "stop"}]}})
    };
    let answers = fixture["answers"].as_array().unwrap().iter().chain([&last]);
    let answers: Vec<_> = answers.map(response).collect();
    let host = Host::new().responses(answers.into_iter().map(Ok));
    let host = host.tool("read", "Reads a file", Ok).tool("list", "Lists files", Ok);
    host.run_recorded::<Agent>(json!({"messages": given(fixture)}), config)
}

/// Returns the messages of the test.
fn given(fixture: &Value) -> Vec<Value> {
    let hi = || vec![json!({"role": "user", "content": "hi"})];
    fixture["given"].as_array().cloned().unwrap_or_else(hi)
}

fn response(answer: &Value) -> Response {
    let status = answer["status"].as_u64().unwrap_or(200);
    let response = Response::new(status.try_into().unwrap()).with_json(&answer["body"]).unwrap();
    let headers = answer["headers"].as_object().into_iter().flatten();
    headers.fold(response, |response, (name, value)| {
        response.with_header(name, value.as_str().unwrap())
    })
}

/// Returns the name and the content of each fixture.
fn fixtures() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 50, "{}", files.len());
    let read = |file: PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&fs::read(&file).unwrap()).unwrap())
    };
    files.into_iter().map(read).collect()
}

#[test]
fn each_form_of_a_server_is_read_and_goes_back() {
    for (name, fixture) in fixtures() {
        assert!(fixture["url"].as_str().unwrap().starts_with("https://"), "{name}");
        let (reply, calls) = run(&fixture);
        let reached: Value =
            calls.tools.iter().map(|(name, input)| json!({"name": name, "input": input})).collect();
        assert_eq!(reached, fixture["calls"], "{name}: calls");
        if let Some(next) = fixture.get("next") {
            let sent = body(calls.requests.last().unwrap());
            assert_eq!(
                sent["messages"].as_array().unwrap()[1..],
                *next.as_array().unwrap(),
                "{name}"
            );
        }
        let last = calls.steps.last().unwrap();
        assert_eq!(last["extra"].get("ended"), fixture.get("ended"), "{name}: {last}");
        match (reply, fixture.get("error")) {
            (Err(error), Some(kind)) => assert_eq!(kind_of(&error), *kind, "{name}: {error}"),
            (Err(error), None) => panic!("{name}: {error}"),
            (Ok(reply), _) => {
                assert!(fixture.get("error").is_none(), "{name}");
                let output = fixture.get("output").cloned().unwrap_or_else(|| json!("done"));
                assert_eq!(reply.output().unwrap(), output, "{name}");
                for (metric, value) in fixture["metrics"].as_object().into_iter().flatten() {
                    let metrics = super::metrics(&reply, &calls);
                    let mut found = metrics.as_array().unwrap().iter();
                    let found = found.find(|known| known[0] == **metric).map(|known| &known[1]);
                    assert_eq!(found, Some(&json!(value.as_f64())), "{name}: {metric}");
                }
            }
        }
    }
}

fn kind_of(error: &runner_sdk::Error) -> &'static str {
    match error.kind {
        runner_sdk::ErrorKind::InvalidInput => "invalid-input",
        runner_sdk::ErrorKind::InvalidConfig => "invalid-config",
        runner_sdk::ErrorKind::Other => "other",
        kind => panic!("{kind:?}: {error}"),
    }
}

/// A conversation of a new agent has the calls and the messages of `bundled:agent`, for each server with OpenAI's API whose answers
/// it accepts.
#[test]
fn template_reads_each_form_of_a_server() {
    let mut count = 0;
    for (name, fixture) in fixtures() {
        let Some(next) = fixture["next"].as_array().filter(|_| fixture["config"].is_null()) else {
            continue;
        };
        let answers = fixture["answers"].as_array().unwrap().iter();
        let messages: Vec<_> =
            answers.filter_map(|answer| answer["body"]["choices"][0].get("message")).collect();
        // Groq's answer goes back in another form after an error.
        if messages.len() < fixture["answers"].as_array().unwrap().len() {
            continue;
        }
        let mut conversation = template::Conversation::new(given(&fixture));
        let mut reached = Vec::new();
        for message in messages {
            for call in conversation.add_answer(message) {
                let place = conversation.messages.len();
                let arguments = call.arguments.clone().map(Value::from);
                let is_known = ["read", "list"].contains(&call.name.as_str());
                let content = match arguments {
                    Ok(arguments) if is_known => {
                        let content = arguments.to_string();
                        reached.push(json!({"name": call.name, "input": arguments}));
                        content
                    }
                    // The words of errors differ.
                    _ => next[place - 1]["content"].as_str().unwrap().to_owned(),
                };
                conversation.add_result(&call, &content);
            }
        }
        assert_eq!(Value::from(reached), fixture["calls"], "{name}");
        // The last answer of some has no call.
        assert_eq!(conversation.messages[1..=next.len()], *next, "{name}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}
