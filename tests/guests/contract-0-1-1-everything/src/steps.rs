//! Follows the steps in an input, and answers with the result of each.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher as _;
use std::io::{Read as _, Seek as _, Write as _};
use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::exports::runner::provider::provider::{ProviderError, Reply, Test};
use crate::runner::provider::types::ErrorKind;
use crate::runner::provider::{http, log, records, secrets, tools, transcript};

pub(crate) fn run(test: &Test) -> Result<Reply, ProviderError> {
    // The plugin of a test list has no input.
    let steps = if test.input == "null" { &test.config } else { &test.input };
    let input: Value = serde_json::from_str(steps).unwrap();
    let input = input.get("steps").cloned().unwrap_or(input);
    let steps = input.as_array().map_or_else(|| vec![input.clone()], Clone::clone);
    let mut open = None;
    let mut results = Vec::new();
    for step in &steps {
        results.push(match follow(step, &mut open) {
            Ok(result) => result,
            Err(message) => {
                return Err(ProviderError {
                    kind: ErrorKind::Other,
                    code: "step".to_owned(),
                    message,
                    retry_after: None,
                    details: None,
                });
            }
        });
    }
    let output = if input.is_array() { Value::from(results) } else { results.remove(0) };
    Ok(Reply {
        output: output.to_string(),
        verdict: None,
        score: None,
        summary: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        extra: None,
    })
}

fn follow(step: &Value, open: &mut Option<File>) -> Result<Value, String> {
    let text = |key: &str| step[key].as_str().unwrap_or_default();
    let failed = |error: std::io::Error| error.to_string();
    let mut parts = step.as_object().into_iter().flatten();
    let action = parts.find(|(key, _)| !["input", "text", "x-key"].contains(&key.as_str()));
    let Some((action, value)) = action else {
        return Ok(step.clone());
    };
    Ok(match action.as_str() {
        "append" => json!(transcript::append(&value.to_string()).err().map(|error| error.name())),
        "call" => call(text("call"), &step["input"].to_string()),
        "call_text" => call(text("call_text"), text("text")),
        "fail" => return Err(text("fail").to_owned()),
        "get" => {
            let key = step["x-key"].as_str().map(|key| match key.strip_prefix('@') {
                Some(path) => fs::read_to_string(path).unwrap_or_default(),
                None => key.to_owned(),
            });
            let request = http::Request {
                method: "GET".to_owned(),
                url: text("get").to_owned(),
                headers: key.map(|key| ("x-key".to_owned(), key)).into_iter().collect(),
                body: None,
                timeout: None,
                extra: None,
            };
            match http::send(&request) {
                Ok(response) => json!(String::from_utf8_lossy(&response.body)),
                Err(error) => json!(error.to_string()),
            }
        }
        "list" => {
            let tools = tools::list().into_iter();
            tools.map(|tool| json!([tool.name, tool.description, tool.input_schema])).collect()
        }
        "log" => {
            log::log(log::Level::Info, text("log"), &[]);
            Value::Null
        }
        "loop" => loop {
            std::hint::black_box(());
        },
        "open" => {
            *open = Some(File::open(text("open")).map_err(failed)?);
            Value::Null
        }
        "random" => json!(RandomState::new().hash_one(0)),
        "read" => json!(fs::read_to_string(text("read")).map_err(failed)?),
        "read_open" => {
            let mut file = open.as_ref().expect("an open file");
            let mut read = String::new();
            file.rewind().and_then(|()| file.read_to_string(&mut read)).map_err(failed)?;
            json!(read)
        }
        "record" => json!(records::append(&value.to_string()).err().map(|error| error.name())),
        "remove" => {
            fs::remove_file(text("remove")).map_err(failed)?;
            Value::Null
        }
        "repeat" => {
            let mut last = Value::Null;
            for _ in 0..value.as_u64().unwrap_or(0) {
                last = follow(&step["input"], open)?;
            }
            last
        }
        "secret" => {
            json!(secrets::get(text("secret")).unwrap_or_else(|error| error.name().to_owned()))
        }
        "sleep" => {
            thread::sleep(Duration::from_millis(value.as_u64().unwrap_or(0)));
            Value::Null
        }
        "grow" => {
            let bytes = value.as_u64().unwrap_or(0) as usize;
            json!(vec![1_u8; bytes].iter().map(|byte| u64::from(*byte)).sum::<u64>())
        }
        "write" => {
            let mut file = File::create(text("write")).map_err(failed)?;
            file.write_all(text("text").as_bytes()).map_err(failed)?;
            Value::Null
        }
        other => return Err(format!("cannot do {other:?}")),
    })
}

fn call(name: &str, input: &str) -> Value {
    match tools::call(name, input) {
        Ok(output) => json!({ "ok": serde_json::from_str::<Value>(&output).unwrap() }),
        Err(error) => {
            // `ToolErrorKind::Timeout` is `timeout` of the contract.
            let kind = format!("{:?}", error.kind).rsplit("::").next().unwrap().to_lowercase();
            let details = error.details.map(|text| serde_json::from_str::<Value>(&text).unwrap());
            json!({ "error": kind, "message": error.message, "details": details })
        }
    }
}
