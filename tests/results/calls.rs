//! Calls in the journal of an attempt: on terminals, as JSON, and over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::schemas::Published;
use crate::around::terminal::Terminal;
use crate::messages::outputs::snapshot;
use crate::support::{
    http::Site,
    runner::Runner,
    server::{Response, Server},
    web,
};

/// Steps of an agent.
const STEPS: usize = 120;
/// Bytes of the response to the third step.
const LARGE: usize = 100_000;

/// A server whose answers are those of a model, hostile text, bytes, a large text, and short ones.
fn model() -> Server {
    Server::start(|request| match request.path.as_str() {
        "/1" => {
            Response::ok(r#"{"text":"one","usage":{"prompt_tokens":1200,"completion_tokens":34}}"#)
        }
        "/2" => Response::ok("first\u{1b}[31m \u{202e}line\r\nresponse\n  body\nlast".repeat(9))
            .header("x-hostile", "</pre><script>"),
        "/3" => Response::ok("x".repeat(LARGE)),
        "/5" => Response::ok([0xff, 0xfe, 0x00]),
        "/6" => Response::new(503).body("busy"),
        "/7" => Response::ok("x".repeat(2 * LARGE)),
        path => Response::ok(format!("answer to {path}")),
    })
}

/// An agent with a journal.
fn agent(server: &Server) -> Runner {
    let request = json!({ "by": "agent", "url": server.url(""), "size": STEPS });
    let keys = "[providers.web.limits]\nhttp_requests = 300\nhttp_response = \"150KiB\"";
    let runner = web::scenario(keys, &web::net(&[&server.origin()]), &[vec![request]]);
    let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("[run]\njournal = true\n{scenario}"));
    runner
}

#[test]
fn calls_are_listed_and_open_in_full() {
    let server = model();
    let runner = agent(&server);
    runner.exec(&[]).expect(0);
    let calls = |more: &[&str]| runner.run(&[&["show", "latest", "t0", "--calls"], more].concat());

    let list = calls(&[]).expect(0);
    list.says(&[
        "t0@web#1, attempt 1: 120 calls",
        &format!("1 POST {}", server.url("/1")),
        "1,234 tokens (1,200 in, 34 out)",
        r#"→ {"last":"","now":"#,
        r#"← {"text":"one""#,
        r"← first\u{1b}[31m \u{202e}line",
        "97.7 KiB received",
        "← base64: //4A",
        "503, ",
        "… 20 more calls: `--full` shows all",
    ]);
    assert!(!list.stdout.contains(['\u{1b}', '\u{202e}', '\r']), "{}", list.stdout);
    assert!(list.stdout.len() < 64 << 10, "{}", list.stdout.len());
    calls(&["--full"]).expect(0).says(&[&server.url("/120")]);
    let run = runner.only_run();
    let whole = run.text("calls.jsonl");
    run.write("calls.jsonl", whole.split_inclusive('\n').take(10).collect::<String>());
    calls(&[])
        .expect(0)
        .says(&["9 calls", "its row is of 120 calls, and calls.jsonl has 9 calls of them"]);
    run.write("calls.jsonl", whole);

    let document = calls(&["--json"]).expect(0).document();
    assert_eq!(document["total"], STEPS);
    let of = |number: usize| &document["calls"][number - 1];
    assert_eq!((&of(120)["number"], &of(6)["status"]), (&json!(120), &json!(503)));
    assert_eq!(of(1)["tokens"], 1234);
    assert_eq!((&of(5)["response_bytes"], &of(5)["response"]), (&json!(3), &json!("base64: //4A")));
    assert_eq!(of(3)["response_bytes"], LARGE);
    assert!(of(3)["response"].as_str().unwrap().len() < 1000);
    assert_eq!(of(1)["exchange"], Value::Null);
    assert_eq!((&of(7)["status"], &of(7)["response_bytes"]), (&Value::Null, &json!(0)));
    let reason =
        format!("{}: {}", of(7)["failure"].as_str().unwrap(), of(7)["message"].as_str().unwrap());
    list.says(&[&reason]);

    let open = |number: &str| runner.run(&["show", "latest", "t0", "--call", number]);
    open("2").expect(0).says(&[
        "request POST http",
        "request body {",
        "response 200 ",
        " x-hostile: </pre><script> ",
        r"response body first\u{1b}[31m \u{202e}line\r response body lastfirst",
    ]);
    open("5").expect(0).says(&["response body (base64) //4A"]);
    assert!(open("3").expect(0).stdout.len() > LARGE);
    let whole = runner.run(&["show", "latest", "t0", "--call", "3", "--json"]).expect(0).document();
    let exchange = &whole["calls"][0]["exchange"];
    assert_eq!(exchange["response"]["body"].as_str().unwrap().len(), LARGE);
    let schemas = Published::read();
    for document in [&document, &whole] {
        assert_eq!(schemas.problem("show-calls", document), None);
    }
    for line in run.text("calls.jsonl").lines() {
        assert_eq!(schemas.problem("call", &serde_json::from_str(line).unwrap()), None);
    }
    let missing = "attempt 1 of `t0@web#1` has no call 121; its journal has 120 calls";
    open("121").expect(2).says(&[missing]);
    let other = runner.run(&["show", "latest", "t0", "--call", "1", "--attempt", "2"]);
    snapshot(&other.expect(2));
    let none = calls(&["--attempt", "2"]).expect(0);
    none.says(&["0 calls"]);
    assert!(!none.stderr.contains("records calls"), "{}", none.stderr);

    let escapes = regex::Regex::new(r"\x1b\[[0-9;]*m").unwrap();
    for columns in [60, 80, 200] {
        let script = r#""$runner" show latest t0 --calls; "$runner" show latest t0 --call 2"#;
        let (_, output) = Terminal::run_script(&runner, columns, "UTC", script).end();
        for line in escapes.replace_all(&output, "").split(['\r', '\n']) {
            assert!(line.width() <= usize::from(columns), "{columns}: {line}");
            assert!(!line.contains('\u{1b}'), "{line:?}");
        }
    }
}

#[test]
fn calls_are_among_the_logs() {
    let server = Server::start(|request| Response::ok(request.path.clone()));
    let url = |path: &str| server.url(path);
    let steps = json!([
        { "log": "first" }, { "get": url("/a") }, { "log": "second" }, { "log": "third" },
        { "get": url("/b") }, { "get": url("/c") }, { "log": "fourth" }, { "get": url("/d") },
    ]);
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    runner.scenario(&format!(
        "[run]\njournal = true\n[providers.p]\nplugin = \"contract-0-1-1-everything.wasm\"\n\
         grants.net = [\"{}\"]\n[[tests]]\nid = \"logs\"\ninput = {}\n\
         [[tests]]\nid = \"none\"\ninput = [{{ get = \"{}\" }}]\n",
        server.origin(),
        web::toml(&steps),
        url("/e"),
    ));
    runner.exec(&["-j", "1"]).expect(0);
    let entries = |args: &[&str]| {
        let printed = runner.run(&[&["logs", "latest", "--json"], args].concat()).expect(0).stdout;
        let entries = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries
            .map(|entry| match entry["call"].as_u64() {
                Some(number) => format!("{} {number}", entry["stream"].as_str().unwrap()),
                None => entry["text"].as_str().unwrap().to_owned(),
            })
            .collect::<Vec<_>>()
    };
    let logs = ["first", "call 1", "second", "third", "call 2", "call 3", "fourth", "call 4"];
    assert_eq!(entries(&["logs", "--calls"]), logs);
    assert_eq!(entries(&["--calls"]).len(), logs.len() + 1);
    assert_eq!(entries(&[]), ["first", "second", "third", "fourth"]);
    let printed = runner.run(&["logs", "latest", "none", "--calls"]).expect(0);
    printed.says(&["none@p#1:", &format!("call 1 GET {}: 200, ", url("/e"))]);
    runner.run(&["logs", "--calls", "--follow"]).expect(2);
}

#[test]
fn calls_of_interrupted_attempts_are_shown() {
    let server = Server::start(|request| {
        let is_held = request.path == "/11";
        // A delay of the server itself: the attempt does not end before the signal.
        std::thread::sleep(Duration::from_secs(if is_held { 60 } else { 0 }));
        Response::ok("answer")
    });
    let runner = agent(&server);
    let running = runner.started(&["exec", "scenario.toml"]);
    server.wait_for_requests(10);
    let shown = runner.run(&["show", "latest", "t0@web#1", "--calls", "--json"]).expect(0);
    assert!(shown.document()["total"].as_u64() >= Some(8));
    running.end_by(rustix::process::Signal::INT).0.expect(130);
    let run = runner.only_run();
    assert_eq!(run.text("index.jsonl"), "");
    // The process may have died within a line.
    run.write("calls.jsonl", run.text("calls.jsonl") + "{\"v\":1");
    let args = ["show", "latest", "t0@web#1", "--calls"];
    let shown = runner.run(&args).expect(0);
    shown.says(&["t0@web#1, attempt 1: ", "← answer"]);
    assert!(!shown.stderr.contains("cannot be used"), "{}", shown.stderr);
    let first = run.text("calls.jsonl").replacen("answer", "bnswer", 1);
    run.write("calls.jsonl", first);
    let shown = runner.run(&args).expect(0);
    shown.says(&["the journal cannot be used, because line 2 of calls.jsonl is damaged"]);
    assert!(!shown.stderr.contains("records calls"), "{}", shown.stderr);
}

#[test]
fn calls_are_read_over_http() {
    let server = model();
    let runner = agent(&server);
    runner.exec(&[]).expect(0);
    let site = Site::start(&runner, &[]);
    let path = "/runs/latest/trials/t0@web%231";
    let page = site.get(&format!("{path}/calls"));
    let numbers = |page: &Value| {
        let calls = page["calls"].as_array().unwrap();
        let ends = [calls.first(), calls.last()].map(|call| call.unwrap()["number"].clone());
        (calls.len(), ends)
    };
    assert_eq!((&page["total"], numbers(&page)), (&json!(120), (100, [json!(1), json!(100)])));
    let page = site.get(&format!("{path}/calls?attempt=1&offset=100"));
    assert_eq!(numbers(&page), (20, [json!(101), json!(120)]));
    let page = site.get(&format!("{path}/calls?limit=2&offset=2"));
    assert_eq!(numbers(&page), (2, [json!(3), json!(4)]));
    assert_eq!(site.get(&format!("{path}/calls?attempt=7"))["calls"], json!([]));
    site.ask("GET", &format!("{path}/calls?limit=101"), None).refuses(400, &["limit"]);

    let one = site.ask("GET", &format!("{path}/attempts/1/calls/2"), None).expect(200);
    assert_eq!(one.header("content-type"), Some("text/plain; charset=utf-8"));
    let text = one.text();
    assert!(text.contains("── response body ──\nfirst\u{1b}[31m"), "{text}");
    let token = format!("Authorization: Bearer {}", site.token);
    let part = site.send(
        "GET",
        &format!("/api/v1{path}/attempts/1/calls/3"),
        &[&token, "Range: bytes=0-65535"],
        "",
    );
    assert_eq!((part.status, part.body.len()), (206, 65536));
    let missing = site.ask("GET", &format!("{path}/attempts/1/calls/121"), None);
    snapshot(missing.refuses(404, &[]));
}
