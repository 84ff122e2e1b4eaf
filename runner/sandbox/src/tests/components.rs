//! Inputs and replies of components, and the imports that they are denied.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::Duration,
};

use runner_model::{ErrorClass, NetGrant, Time, log::Level, outcome::Verdict};
use serde_json::{Value, json};

use super::support::{Bench, error, guests, output, run_fresh};
use crate::{AttachedFile, Call, Ended, Ending, Network, Plugin, Reply};

fn hostile(bench: &Bench) -> Plugin {
    bench.guest(&guests::component("hostile"))
}

fn run(bench: &Bench, plugin: &Plugin, input: &Value) -> Ended {
    bench.run(plugin, &input.to_string())
}

fn value(ended: &Ended) -> Value {
    serde_json::from_str(output(ended)).unwrap()
}

fn reply(ended: Ended) -> Reply {
    match ended.ending {
        Ending::Reply(reply) => *reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn component_gets_test_and_returns_reply() {
    let bench = Bench::new();
    let tags = ["smoke".to_owned()];
    let call = Call {
        trial: "a/b@guest#2",
        test: "a/b",
        provider: "guest",
        repeat: 2,
        attempt: 3,
        seed: 42,
        config: r#"{"unit":"km"}"#,
        tags: &tags,
        ..bench.call(r#"{"do":"test"}"#)
    };
    let hostile = hostile(&bench);
    let ended = bench.runtime.block_on(run_fresh(&hostile, call));
    assert!(ended.duration > Duration::ZERO && ended.usage.peak_memory >= 1 << 20);
    assert_eq!(
        value(&ended),
        json!({
            "trial": "a/b@guest#2", "test": "a/b", "provider": "guest", "repeat": 2, "attempt": 3, "seed": 42,
            "input": {"do": "test"}, "config": {"unit": "km"}, "tags": ["smoke"],
        })
    );
}

#[test]
fn providers_own_verdict_comes_back() {
    let bench = Bench::new();
    let reply = reply(run(&bench, &hostile(&bench), &json!({"do": "judge"})));
    assert_eq!((reply.verdict, reply.score), (Some(Verdict::Fail), Some(0.25)));
    let check = &reply.checks[0];
    let score = check.score.as_ref().map(|score| score.get());
    assert_eq!((&*check.name, score), ("style", Some("0.5")));
    assert_eq!(check.message.as_deref(), Some("too long"));
    let details = check.details.as_ref().map(|details| details.get());
    assert_eq!(details, Some(r#"{"lines":3}"#));
    let metric = &reply.metrics[0];
    let unit = metric.unit.as_deref();
    assert_eq!((&*metric.name, metric.value, unit), ("length", 3.0, Some("lines")));
}

#[test]
fn malformed_replies_break_the_contract() {
    let bench = Bench::new();
    let hostile = hostile(&bench);
    for (what, code, message) in [
        (
            "invalid-json",
            "json",
            "the output is not JSON: EOF while parsing an object at line 1 column 1",
        ),
        ("nan-score", "number", "the score is NaN, which is not a finite number"),
        ("infinite-metric", "number", "the value of a metric is inf, which is not a finite number"),
        ("exit", "exit", "the guest exited with 0 instead of returning"),
        ("say-stopped", "stopped", "the guest returned `stopped`, but no stop was requested"),
    ] {
        let ended = run(&bench, &hostile, &json!({"do": what}));
        assert_eq!(error(&ended), ("protocol", code, message));
    }
}

#[test]
fn errors_of_the_provider_keep_their_kind() {
    let bench = Bench::new();
    let hostile = hostile(&bench);
    for (kind, class) in [
        ("invalid-config", ErrorClass::InvalidConfig),
        ("invalid-input", ErrorClass::InvalidInput),
        ("denied", ErrorClass::Denied),
        ("unavailable", ErrorClass::Unavailable),
        ("rate-limited", ErrorClass::RateLimited),
        ("internal", ErrorClass::Internal),
        ("other", ErrorClass::Other),
    ] {
        let input =
            json!({"do": "error", "kind": kind, "code": "c", "message": "m", "retry_after": 1500});
        let ended = run(&bench, &hostile, &input);
        let Ending::Error(error) = &ended.ending else {
            panic!("{ended:?}");
        };
        assert_eq!((error.class, &*error.code), (Some(class), "c"));
        assert_eq!((&*error.message, error.retry_after_ms), ("m", Some(1500)));
    }
}

#[test]
fn traps_are_named() {
    let bench = Bench::new();
    let hostile = hostile(&bench);
    for (what, code, says) in [
        (
            "trap",
            "unreachable-code-reached",
            "the guest trapped: wasm `unreachable` instruction executed",
        ),
        // Rust keeps such frames in linear memory, below everything else.
        ("recurse", "memory-out-of-bounds", "the guest trapped: out of bounds memory access"),
        ("panic", "unreachable-code-reached", "the guest's own words"),
        ("divide", "unreachable-code-reached", "attempt to divide by zero"),
    ] {
        let ended = run(&bench, &hostile, &json!({"do": what}));
        let Ending::Error(error) = ended.ending else { panic!("{ended:?}") };
        assert_eq!((error.class, &*error.code), (Some(ErrorClass::Trap), code));
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn log_records_and_progress_arrive() {
    let bench = Bench::new();
    let ended = run(&bench, &hostile(&bench), &json!({"do": "log"}));
    let record = &ended.said.log[0];
    assert_eq!((record.level, &*record.message), (Level::Warn, "careful"));
    let (name, text) = &record.fields[0];
    assert_eq!((&**name, &**text), ("key", "value"));
    let remaining = value(&ended).as_u64().unwrap();
    let most = bench.timeout.as_millis() as u64;
    assert!((1..=most).contains(&remaining), "{remaining}");
    assert_eq!(bench.activity.word(true), "50 % half way");
}

#[test]
fn flood_of_log_records_is_cut_and_counted() {
    let mut bench = Bench::new();
    let hostile = hostile(&bench);
    bench.limits.log_records = 5;
    let ended = run(&bench, &hostile, &json!({"do": "flood-log"}));
    assert_eq!((ended.said.log.len(), ended.said.dropped), (5, 19_995));
    assert_eq!(ended.usage.host_calls, 20_000);
    bench.limits.log = 100;
    let flood = json!({"do": "flood-log", "bytes": 30, "count": 10});
    let ended = run(&bench, &hostile, &flood);
    assert_eq!((ended.said.log.len(), ended.said.dropped), (3, 7));
}

#[test]
fn attachments_can_be_read_in_parts() {
    let bench = Bench::new();
    let hostile = hostile(&bench);
    let folder = tempfile::tempdir().unwrap();
    let stored = folder.path().join("stored");
    fs::write(&stored, "0123456789").unwrap();
    let file = |name: &str, path| AttachedFile { name: name.to_owned(), bytes: 10, path };
    let gone = file("gone", folder.path().join("gone"));
    let files = [file("table.csv", stored), gone];
    let answer = |input: Value| {
        let input = input.to_string();
        let call = Call { files: &files, ..bench.call(&input) };
        value(&bench.runtime.block_on(run_fresh(&hostile, call)))
    };
    let read = |name: &str, offset: u32, length: u32| {
        answer(json!({"do": "read-file", "name": name, "offset": offset, "length": length}))
    };
    let names = answer(json!({"do": "names"}));
    assert_eq!(names[0], json!(["table.csv", "text/csv", 10]));
    assert_eq!(read("table.csv", 0, u32::MAX), json!("0123456789"));
    assert_eq!(read("table.csv", 8, 1), json!("8"));
    assert_eq!(read("table.csv", 10, 1), json!(""));
    assert_eq!(read("table.csv", 11, 1), json!({"error": "out-of-range"}));
    assert_eq!(read("other.csv", 0, 1), json!({"error": "not-found"}));
    assert_eq!(read("gone", 0, 1), json!({"error": "unavailable"}));
}

#[test]
fn artifacts_come_back_and_are_counted() {
    let bench = Bench::new();
    let hostile = hostile(&bench);
    let ended = run(&bench, &hostile, &json!({"do": "artifact", "name": "report.txt"}));
    let left = &ended.artifacts[0];
    assert_eq!((&*left.name, &*left.media_type), ("report.txt", "text/plain"));
    assert_eq!(left.bytes, 7);
    let input = r#"{"do":"artifact","name":"report.txt"}"#;
    assert_eq!(ended.usage.bytes_in, (input.len() + "{}".len()) as u64);
    assert_eq!(ended.usage.bytes_out, ("one two".len() + "[null,null]".len()) as u64);
    assert_eq!(ended.usage.host_calls, 2);

    let ended = run(&bench, &hostile, &json!({"do": "artifact", "name": "../x"}));
    assert_eq!((ended.artifacts.len(), &value(&ended)[0]), (0, &json!("bad-name")));
    let ended = run(&bench, &hostile, &json!({"do": "flood-artifacts"}));
    assert_eq!((ended.artifacts.len(), &value(&ended)[100]), (100, &json!("too-many")));
}

#[test]
fn guest_without_grants_gets_nothing() {
    let bench = Bench::new();
    let hostile = hostile(&bench);
    let answer = |what: &str| value(&run(&bench, &hostile, &json!({"do": what})));
    let denied = answer("http").to_string();
    assert!(denied.contains("`GET https://example.com` is not granted"), "{denied}");
    assert_eq!(answer("secret"), json!({"error": "denied"}));
    assert_eq!(answer("open-socket"), json!(true));
    assert_eq!(answer("environment"), json!({"variables": 0, "root": false}));
}

#[test]
fn guest_gets_its_granted_variables() {
    let bench = Bench::new();
    let hostile = hostile(&bench);
    let env = [("LANG".to_owned(), "C".to_owned())];
    let call = Call { env: &env, ..bench.call(r#"{"do":"environment"}"#) };
    let ended = bench.runtime.block_on(run_fresh(&hostile, call));
    assert_eq!(value(&ended)["variables"], 1);
}

#[test]
fn many_guests_are_interrupted_at_once() {
    let bench = Bench::new();
    let hostile = hostile(&bench);
    let inputs = ["loop", "sleep"].map(|what| json!({"do": what}).to_string());
    let ended = bench.runtime.block_on(async {
        let (one, two) = (bench.call(&inputs[0]), bench.call(&inputs[1]));
        let stop = async {
            // By then both are running.
            tokio::task::yield_now().await;
            bench.engines.interrupt().now();
        };
        let ended = tokio::join!(run_fresh(&hostile, one), run_fresh(&hostile, two), stop);
        [ended.0, ended.1]
    });
    for ended in ended {
        assert!(matches!(ended.ending, Ending::Stopped), "{ended:?}");
    }
}

#[test]
fn stopped_counts_only_after_a_request() {
    let bench = Bench::new();
    let hostile = hostile(&bench);
    let input = json!({"do": "wait-for-stop"}).to_string();
    let ended = bench.runtime.block_on(async {
        let interrupt = bench.engines.interrupt();
        let request = async {
            tokio::task::yield_now().await;
            interrupt.request();
        };
        tokio::join!(run_fresh(&hostile, bench.call(&input)), request).0
    });
    assert!(matches!(ended.ending, Ending::Stopped), "{ended:?}");
}

#[test]
fn deterministic_calls_see_no_stop_and_no_real_time() {
    let mut bench = Bench::new();
    bench.timeout = Duration::from_secs(1);
    let hostile = hostile(&bench);
    let deterministic = Some(Time::from_millis(0));
    let input = json!({"do": "wait-for-stop"}).to_string();
    let ended = bench.runtime.block_on(async {
        let request = async {
            tokio::task::yield_now().await;
            bench.engines.interrupt().request();
        };
        let call = Call { deterministic, ..bench.call(&input) };
        tokio::join!(run_fresh(&hostile, call), request).0
    });
    assert!(matches!(ended.ending, Ending::Timeout), "{ended:?}");

    bench.timeout = Duration::from_secs(60);
    let input = json!({"do": "log", "ms": 500}).to_string();
    let call = Call { deterministic, ..bench.call(&input) };
    // The guest sleeps 500 ms and reads the clock once. Its start takes real time, too.
    assert_eq!(value(&bench.runtime.block_on(run_fresh(&hostile, call))), 60_000 - 500 - 1);
}

#[test]
fn errors_reveal_nothing_about_the_host() {
    // A server that closes the connection before the end of its response.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", server.local_addr().unwrap());
    let serve = move || {
        let (mut stream, _) = server.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
        stream.write_all(head.as_bytes()).unwrap();
    };
    let served = thread::spawn(serve);
    let mut bench = Bench::new();
    bench.access.network = Network::new(vec![NetGrant::parse(&origin).unwrap()]);
    let web = bench.guest(&guests::component("web"));
    let ended = run(&bench, &web, &json!({"requests": [{"by": "wasi", "url": origin}]}));
    served.join().unwrap();
    let said = output(&ended);
    assert!(said.contains("error"), "{said}");
    // With backtraces, which tests have, wasmtime's own text contains all of these.
    for of_the_host in ["backtrace", "wasmtime", "::", ".rs"] {
        assert!(!said.contains(of_the_host), "{said}");
    }
    assert_eq!(ended.usage.http_requests, 1);
}
