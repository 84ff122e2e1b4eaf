//! A provider that tells its secret in the way that its input says: `"log"`, `"artifact"`, `"base64"`, …

// Some of what it does has no name on the host.
#![cfg(target_arch = "wasm32")]

use base64::{Engine as _, engine::general_purpose};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

wit_bindgen::generate!({
    path: "../../../plugins/sdk/wit/provider.wit",
    world: "plugin",
});

use exports::runner::provider::provider::{Description, Guest, ProviderError, Reply, Test};
use runner::provider::{
    artifacts, control, http, log, secrets,
    types::{Check, ErrorKind, Metric, Verdict},
};

struct Leaky;

impl Guest for Leaky {
    fn describe() -> Description {
        // Nobody would take it out of a description.
        assert!(secrets::get("API_KEY").is_err(), "it is asked before it is granted anything");
        let requests = ["net:https://api.example.com", "secret:API_KEY", "fs:ro:fixtures", "gpu:1"];
        Description {
            name: "leaky".to_owned(),
            version: "0.1.0".to_owned(),
            summary: "Tells its secret.".to_owned(),
            config_schema: None,
            input_schema: None,
            requests: requests.map(str::to_owned).into(),
            extra: None,
        }
    }

    fn run(test: Test) -> Result<Reply, ProviderError> {
        let input: Value = serde_json::from_str(&test.input).expect("the host sends JSON");
        let way = input.as_str().expect("the input is a string");
        let secret = match secrets::get("API_KEY") {
            Ok(secret) => secret,
            Err(error) => {
                return Err(ProviderError {
                    kind: ErrorKind::Denied,
                    code: "secret".to_owned(),
                    message: format!("{error:?}"),
                    retry_after: None,
                    details: None,
                });
            }
        };
        tell(way, &secret)
    }
}

fn tell(way: &str, secret: &str) -> Result<Reply, ProviderError> {
    let text = format!("the secret is {secret}!");
    let hex = || -> String { secret.bytes().map(|byte| format!("{byte:02x}")).collect() };
    let mut said = reply(json!("told"));
    match way {
        "length" => return Ok(reply(json!(secret.len()))),
        "output" => return Ok(reply(json!({"deep": [text]}))),
        "output-key" => return Ok(reply(json!({text: 1}))),
        "json-in-string" => return Ok(reply(json!(json!({"key": secret}).to_string()))),
        "json-twice" => {
            let inner = json!({"key": secret}).to_string();
            return Ok(reply(json!(json!({"body": inner}).to_string())));
        }
        "base64" => return Ok(reply(json!(general_purpose::STANDARD.encode(secret)))),
        "base64-inside" => {
            let token = general_purpose::URL_SAFE_NO_PAD.encode(format!("user:{secret}:x"));
            return Ok(reply(json!(format!("Basic {token}"))));
        }
        "url" => {
            let value = utf8_percent_encode(secret, NON_ALPHANUMERIC);
            return Ok(reply(json!(format!("https://example.com/?key={value}"))));
        }
        "hex" => return Ok(reply(json!(hex()))),
        "debug" => return Ok(reply(json!(format!("Request {{ key: {secret:?} }}")))),
        "log" => log::log(log::Level::Info, &text, &[]),
        "log-field" => {
            let fields = [("key".to_owned(), text.clone()), (text, "value".to_owned())];
            log::log(log::Level::Info, "a field", &fields);
        }
        "progress" => control::progress(Some(0.5), &text),
        "artifact" => append("told.txt", text.as_bytes()),
        "artifact-in-two" => {
            let (first, second) = text.split_at(text.len() / 2);
            append("two.txt", first.as_bytes());
            append("two.txt", second.as_bytes());
        }
        "artifact-large" => {
            // Of pieces whose ends are in another place of the text each time.
            let whole = format!("{}{secret}", "-".repeat(83)).repeat(30_000);
            let pieces = whole.as_bytes().chunks(99_991);
            pieces.for_each(|piece| append("large.txt", piece));
        }
        "artifact-binary" => append("told.bin", &[&[0xff, 0][..], secret.as_bytes()].concat()),
        "artifact-name" => append(&format!("{}.txt", hex()), b"named"),
        "large-output" => return Ok(reply(json!([text, "x".repeat(100_000)]))),
        "error" => return Err(error(&text, None)),
        "error-details-broken" => return Err(error("details", Some(text))),
        "error-details" => return Err(error("details", Some(json!({"key": text}).to_string()))),
        "summary" => said.summary = Some(text),
        "check" => said.checks.push(Check {
            name: text.clone(),
            verdict: Verdict::Fail,
            score: None,
            message: Some(text.clone()),
            details: Some(json!({text: secret}).to_string()),
        }),
        "metric" => said.metrics.push(Metric { name: text.clone(), value: 1.0, unit: Some(text) }),
        "stdout" => println!("{text}"),
        "stderr" => eprintln!("{text}"),
        "stderr-cut" => {
            eprintln!("{text}{}{text}", "-".repeat(1_000_000));
        }
        "bad-json" => said.output = format!("{{ {text}"),
        "panic" => panic!("{text}"),
        "denied" => drop(secrets::get(secret)),
        "request" => {
            let url = utf8_percent_encode(secret, NON_ALPHANUMERIC);
            let request = http::Request {
                method: secret.to_owned(),
                url: format!("https://example.com/?key={url}"),
                headers: vec![("x-key".to_owned(), secret.to_owned())],
                body: Some(secret.as_bytes().to_vec()),
                timeout: None,
                extra: None,
            };
            let answer = http::send(&request);
            return Ok(reply(json!(format!("{answer:?}"))));
        }
        other => panic!("there is no way {other:?}"),
    }
    Ok(said)
}

fn append(name: &str, bytes: &[u8]) {
    artifacts::append(name, "text/plain", bytes).expect("the artifact is taken");
}

fn error(message: &str, details: Option<String>) -> ProviderError {
    ProviderError {
        kind: ErrorKind::Other,
        code: message.to_owned(),
        message: message.to_owned(),
        retry_after: None,
        details,
    }
}

fn reply(output: Value) -> Reply {
    Reply {
        output: output.to_string(),
        verdict: None,
        score: None,
        summary: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        extra: None,
    }
}

export!(Leaky);
