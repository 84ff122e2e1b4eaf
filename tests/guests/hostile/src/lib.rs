//! A provider that does whatever its input says: `{"do": "trap"}`, `{"do": "echo", "value": 1}`, …

// Some of what it does has no name on the host.
#![cfg(target_arch = "wasm32")]

use std::{hint::black_box, thread::sleep, time::Duration};

use serde_json::{Value, json};

wit_bindgen::generate!({
    path: "../../../plugins/sdk/wit/provider.wit",
    world: "everything",
});

use exports::runner::provider::provider::{Description, Guest, ProviderError, Reply, Test};
use runner::provider::{
    artifacts, control, files, http, log, records, secrets, tools, transcript,
    types::{Check, ErrorKind, Metric, Verdict},
};

const MIB: usize = 1024 * 1024;

struct Hostile;

impl Guest for Hostile {
    fn describe() -> Description {
        Description {
            name: "hostile".to_owned(),
            version: "0.1.0".to_owned(),
            summary: "Does whatever its input says.".to_owned(),
            config_schema: Some(json!({"type": "object"}).to_string()),
            input_schema: None,
            requests: vec!["net:https://example.com".to_owned()],
            extra: None,
        }
    }

    fn run(test: Test) -> Result<Reply, ProviderError> {
        let input: Value = serde_json::from_str(&test.input).expect("the host sends JSON");
        let number = |key: &str, default: u64| input[key].as_u64().unwrap_or(default);
        let count = |default: u64| number("count", default) as usize;
        match input["do"].as_str().expect("`do` is a string") {
            "echo" => Ok(reply(&input["value"])),
            "test" => Ok(reply(&whole(&test, &input))),
            "loop" => loop {
                black_box(());
            },
            "sleep" => {
                sleep(Duration::from_millis(number("ms", 3_600_000)));
                Ok(reply(&json!("slept")))
            }
            "wait-for-stop" if u64::from(test.attempt) >= number("until_attempt", u64::MAX) => {
                Ok(reply(&json!("stopped before")))
            }
            "wait-for-stop" => {
                while !control::stop_requested() {
                    sleep(Duration::from_millis(1));
                }
                Err(error(ErrorKind::Stopped, "stopped", "as asked"))
            }
            "say-stopped" => Err(error(ErrorKind::Stopped, "stopped", "by nobody")),
            "trap" => core::arch::wasm32::unreachable(),
            "panic" => panic!("the guest's own words"),
            "recurse" => Ok(reply(&json!(recurse(1)))),
            "divide" => Ok(reply(&json!(black_box(1_i32) / black_box(0_i32)))),
            "exit" => std::process::exit(i32::from(number("code", 0) != 0)),
            "grow-memory" => {
                let blocks: Vec<Vec<u8>> =
                    (0..).map(|_| vec![1; MIB]).take(count(100_000)).collect();
                Ok(reply(&json!(black_box(blocks).len())))
            }
            "try-memory" => {
                let pages = core::arch::wasm32::memory_grow::<0>(count(100_000));
                Ok(reply(&json!(pages == usize::MAX)))
            }
            "fill-memory" => {
                let mut block = vec![0_u8; 200 * MIB];
                loop {
                    black_box(&mut block).fill(black_box(7));
                }
            }
            "flood-stdout" => {
                (0..count(1_000)).for_each(|line| println!("{line:0>999}"));
                Ok(reply(&json!("flooded")))
            }
            "flood-stderr" => {
                (0..count(1_000)).for_each(|line| eprintln!("{line:0>999}"));
                Ok(reply(&json!("flooded")))
            }
            "flood-log" => {
                let message = "x".repeat(number("bytes", 10) as usize);
                (0..count(20_000)).for_each(|_| log::log(log::Level::Info, &message, &[]));
                Ok(reply(&json!("flooded")))
            }
            "flood-artifacts" => {
                let chunk = vec![0; number("bytes", 1) as usize];
                let appended =
                    (0..count(1_000)).map(|file| append(&format!("file-{file}"), &chunk));
                Ok(reply(&json!(appended.collect::<Vec<_>>())))
            }
            "flood-tools" => {
                let name = "x".repeat(number("bytes", 10) as usize);
                let calls = (0..count(1_000)).map(|_| tools::call(&name, "{}"));
                let refused = calls.filter(Result::is_err).count();
                Ok(reply(&json!([tools::list().len(), refused])))
            }
            "flood-transcript" => {
                let message = "x".repeat(number("bytes", 10) as usize);
                let step = json!({ "source": "agent", "message": message }).to_string();
                let refused = (0..count(1_000)).filter(|_| transcript::append(&step).is_err());
                Ok(reply(&json!(refused.count())))
            }
            "flood-records" => {
                let refused = (0..count(1_000)).filter(|_| records::append("{}").is_err());
                Ok(reply(&json!(refused.count())))
            }
            "artifact" => {
                let name = input["name"].as_str().expect("`name` is a string");
                let chunks = input["text"].as_str().map_or(vec!["one ", "two"], |text| vec![text]);
                let appended = chunks.iter().map(|chunk| append(name, chunk.as_bytes()));
                Ok(reply(&json!(appended.collect::<Vec<_>>())))
            }
            "usage" => {
                let metric =
                    |name: &str, value| Metric { name: name.to_owned(), value, unit: None };
                let reports = input["reports"].as_array().expect("`reports` is a list");
                let report = |value: &Value| {
                    let value = value.as_f64().unwrap_or(f64::NAN);
                    control::report_usage(&[metric("total_tokens", value)])
                };
                let used_up: Vec<_> = reports.iter().map(report).collect();
                let url = input["url"].as_str().unwrap_or_default();
                let sent: Vec<_> = (0..number("requests", 0)).map(|_| send(url)).collect();
                match input["then"].as_str() {
                    Some("trap") => core::arch::wasm32::unreachable(),
                    Some("loop") => loop {
                        black_box(());
                    },
                    _ => {}
                }
                let metrics = vec![metric("total_tokens", 7.0), metric("turns", 7.0)];
                Ok(Reply { metrics, ..reply(&json!([used_up, sent.last()])) })
            }
            "flood-usage" => {
                let metric = |number| Metric { name: format!("{number}"), value: 1.0, unit: None };
                let metrics: Vec<_> = (0..count(1_000)).map(metric).collect();
                Ok(reply(&json!(control::report_usage(&metrics))))
            }
            "picture" => {
                let left = artifacts::append(text(&input, "name"), "image/png", DOT);
                Ok(reply(&json!(left.is_ok())))
            }
            "log" => {
                log::log(log::Level::Warn, "careful", &[("key".to_owned(), "value".to_owned())]);
                control::progress(Some(0.5), "half way");
                sleep(Duration::from_millis(number("ms", 0)));
                Ok(reply(&json!(control::remaining())))
            }
            "invalid-json" => Ok(Reply { output: "{".to_owned(), ..reply(&Value::Null) }),
            "huge-reply" => {
                Ok(reply(&json!("x".repeat(number("bytes", 100 * MIB as u64) as usize))))
            }
            "nan-score" => Ok(Reply { score: Some(f64::NAN), ..reply(&Value::Null) }),
            "infinite-metric" => Ok(Reply {
                metrics: vec![Metric { name: "m".to_owned(), value: f64::INFINITY, unit: None }],
                ..reply(&Value::Null)
            }),
            "meter" => Ok(Reply { metrics: measured(&input["metrics"]), ..reply(&Value::Null) }),
            "judge" => Ok(judged(input["text"].as_str())),
            "check" => Ok(Reply {
                summary: Some("checked by itself".to_owned()),
                checks: vec![Check {
                    name: "equals".to_owned(),
                    verdict: Verdict::Pass,
                    score: None,
                    message: None,
                    details: None,
                }],
                ..reply(&json!(1))
            }),
            "measure" => Ok(Reply {
                score: input["score"].as_f64(),
                metrics: vec![Metric {
                    name: "tokens".to_owned(),
                    value: input["tokens"].as_f64().unwrap_or(0.0),
                    unit: Some("1".to_owned()),
                }],
                ..reply(&Value::Null)
            }),
            "say" => {
                say(text(&input, "text"));
                Ok(reply(&input["text"]))
            }
            "recite" => {
                for step in input["steps"].as_array().into_iter().flatten() {
                    recite(step[0].as_str().unwrap_or_default(), &step[1]);
                }
                Ok(reply(&Value::Null))
            }
            "fail-at" => {
                eprintln!("this is call {}", test.repeat);
                if u64::from(test.repeat) == number("repeat", 1) {
                    return Err(error(ErrorKind::Unavailable, "not-now", "this is the one"));
                }
                Ok(reply(&json!(test.repeat)))
            }
            "http" => Ok(reply(&json!(send("https://example.com/")))),
            "secret" => Ok(reply(&match secrets::get("KEY") {
                Ok(secret) => json!(secret),
                Err(error) => json!({"error": error.name()}),
            })),
            "random" => Ok(reply(&json!(hash_keys(count(1))))),
            "open-socket" => {
                Ok(reply(&json!(std::net::TcpStream::connect("127.0.0.1:9").is_err())))
            }
            "environment" => Ok(reply(&json!({
                "variables": std::env::vars().count(),
                "root": std::fs::read_dir("/").is_ok(),
            }))),
            "names" => {
                let names = files::names();
                let names = names.iter().map(|file| json!([file.name, file.media_type, file.size]));
                Ok(reply(&names.collect()))
            }
            "read-file" => {
                let name = input["name"].as_str().expect("`name` is a string");
                let read =
                    files::read(name, number("offset", 0) as u32, number("length", 1_000) as u32);
                Ok(reply(&match read {
                    Ok(bytes) => json!(String::from_utf8_lossy(&bytes)),
                    Err(error) => json!({"error": error.name()}),
                }))
            }
            "error" => Err(ProviderError {
                retry_after: input["retry_after"].as_u64().map(|ms| ms as u32),
                ..error(kind(&input), text(&input, "code"), text(&input, "message"))
            }),
            "fail-until" if u64::from(test.attempt) < number("attempt", 2) => {
                Err(error(ErrorKind::Unavailable, "not-yet", "try again"))
            }
            "fail-until" => Ok(Reply { verdict: verdict(&input), ..reply(&json!(test.attempt)) }),
            "verdict" => Ok(Reply { verdict: verdict(&input), ..reply(&Value::Null) }),
            other => {
                Err(error(ErrorKind::InvalidInput, "unknown", &format!("cannot do `{other}`")))
            }
        }
    }
}

export!(Hostile);

/// A picture of one grey pixel.
const DOT: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\x0aIDATx\xdach\x00\x00\x00\x82\x00\x81\xdaE\x08;\x00\x00\x00\x00IEND\xaeB`\x82";

fn reply(output: &Value) -> Reply {
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

/// What a table of numbers says.
fn measured(metrics: &Value) -> Vec<Metric> {
    let metrics = metrics.as_object().into_iter().flatten();
    let metrics = metrics.map(|(name, value)| Metric {
        name: name.clone(),
        value: value.as_f64().expect("a metric is a number"),
        unit: None,
    });
    metrics.collect()
}

/// Judges in words of its own, or with `text` for each of them.
fn judged(text: Option<&str>) -> Reply {
    let word = |own: &str| text.unwrap_or(own).to_owned();
    Reply {
        verdict: Some(Verdict::Fail),
        score: Some(0.25),
        summary: Some(word("not good")),
        checks: vec![Check {
            name: word("style"),
            verdict: Verdict::Fail,
            score: Some(0.5),
            message: Some(word("too long")),
            details: Some(json!({"lines": 3}).to_string()),
        }],
        metrics: vec![Metric { name: word("length"), value: 3.0, unit: Some(word("lines")) }],
        ..reply(&json!(word("judged")))
    }
}

/// Says `text` wherever it can without an end.
fn say(text: &str) {
    log::log(log::Level::Warn, text, &[(text.to_owned(), text.to_owned())]);
    control::progress(None, text);
    println!("{text}");
    eprintln!("{text}");
    drop(secrets::get(text));
    let _ = artifacts::append("a.txt", text, b"x");
}

/// Makes one step of a text: writes it somewhere, or waits.
fn recite(to: &str, text: &Value) {
    let key = || secrets::get("KEY").unwrap_or_default();
    let place = text.as_u64().unwrap_or(0) as usize;
    let text = text.as_str().unwrap_or_default();
    match to {
        "log" => log::log(log::Level::Info, text, &[("n".to_owned(), "1".to_owned())]),
        "out" => print!("{text}"),
        "err" => eprint!("{text}"),
        "start-of-key" => print!("{}", &key()[..place]),
        "end-of-key" => print!("{}", &key()[place..]),
        "sleep" => sleep(Duration::from_millis(place as u64)),
        _ => {
            while !control::stop_requested() {
                sleep(Duration::from_millis(1));
            }
        }
    }
    let _ = std::io::Write::flush(&mut std::io::stdout());
}

fn whole(test: &Test, input: &Value) -> Value {
    json!({
        "trial": test.trial_id,
        "test": test.test_id,
        "provider": test.provider,
        "repeat": test.repeat,
        "attempt": test.attempt,
        "seed": test.seed,
        "input": input,
        "config": serde_json::from_str::<Value>(&test.config).expect("the host sends JSON"),
        "tags": test.tags,
    })
}

fn error(kind: ErrorKind, code: &str, message: &str) -> ProviderError {
    ProviderError {
        kind,
        code: code.to_owned(),
        message: message.to_owned(),
        retry_after: None,
        details: None,
    }
}

fn kind(input: &Value) -> ErrorKind {
    match text(input, "kind") {
        "invalid-config" => ErrorKind::InvalidConfig,
        "invalid-input" => ErrorKind::InvalidInput,
        "denied" => ErrorKind::Denied,
        "unavailable" => ErrorKind::Unavailable,
        "rate-limited" => ErrorKind::RateLimited,
        "stopped" => ErrorKind::Stopped,
        "internal" => ErrorKind::Internal,
        _ => ErrorKind::Other,
    }
}

fn verdict(input: &Value) -> Option<Verdict> {
    match text(input, "verdict") {
        "pass" => Some(Verdict::Pass),
        "fail" => Some(Verdict::Fail),
        "skip" => Some(Verdict::Skip),
        _ => None,
    }
}

fn text<'a>(input: &'a Value, key: &str) -> &'a str {
    input[key].as_str().unwrap_or_default()
}

fn append(name: &str, chunk: &[u8]) -> Option<String> {
    artifacts::append(name, "text/plain", chunk).err().map(|error| error.name().to_owned())
}

fn send(url: &str) -> String {
    let request = http::Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: None,
        timeout: None,
        extra: None,
    };
    format!("{:?}", http::send(&request).map(|response| response.status))
}

/// Asks for randomness, as every hash map does.
fn hash_keys(count: usize) -> usize {
    (0..count).map(|_| std::collections::HashMap::<u8, u8>::new().len()).sum()
}

#[expect(unconditional_recursion, reason = "it is what is asked for")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    frame[0] + recurse(depth + 1)
}
