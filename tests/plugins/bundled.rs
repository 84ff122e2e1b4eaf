//! The bundled providers `http` and `chat` in the real program, against servers that the tests start.

use std::{path::Path, sync::Mutex};

use regex::Regex;
use runner::scenario::{self, Selection};
use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::support::{
    runner::{CommandExt as _, Ran, Runner},
    server::{Request, Response, Server},
    spans::spans,
};

/// What nothing may write down.
const SECRET: &str = "sk-do-not-write-me-down";

#[test]
fn the_scenario_of_http_passes_against_a_server_of_files() {
    let server = Server::start(serve_file);
    let runner = example("scenarios/http.toml", "http://127.0.0.1:8000", &server);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.manifest()["counts"]["passed"], 9);
    let json = run.row("json");
    assert_eq!(json["output"]["body"]["type"], "object");
    assert_eq!(json["metrics"][0]["name"], "response_time");
}

#[test]
fn the_scenario_of_chat_passes_against_a_model() {
    let server = Server::start(|request| {
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        if asked["model"] != "llama3.2" {
            let error = json!({"message": "model not found", "type": "not_found_error"});
            return json_response(404, &json!({"error": error}));
        }
        let messages = asked["messages"].as_array().unwrap();
        let question = messages.last().unwrap()["content"].as_str().unwrap();
        let is_json = asked["response_format"]["type"] == "json_object";
        let answer = match question {
            _ if is_json && messages[0]["role"] == "system" => r#"{"city": "Paris"}"#,
            "What is my name?" => "Ada.",
            question if question.contains("capital of France") => "Paris",
            _ => "42",
        };
        completion(answer)
    });
    let runner = example("scenarios/chat.toml", "http://127.0.0.1:11434", &server);
    runner.exec(&[]).expect(0);

    let run = runner.only_run();
    assert_eq!(run.manifest()["counts"]["passed"], 5);
    assert_eq!(run.row("arithmetic")["output"], "42");
    assert_eq!(run.row("json")["output"], json!({"city": "Paris"}));
    assert_eq!(
        run.row("arithmetic")["metrics"][1],
        json!({"name": "prompt_tokens", "value": 9.0, "unit": "tokens"})
    );
    for request in server.requests() {
        assert_eq!(request.path, "/v1/chat/completions");
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn the_scenario_of_a_judge_passes_against_models() {
    let server = Server::start(|request| {
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        let messages = asked["messages"].as_array().unwrap();
        let question = messages.last().unwrap()["content"].as_str().unwrap();
        let answer = match messages[0]["role"] == "system" {
            true if question.contains("Answer: Paris.")
                && question.contains("Reference: Paris") =>
            {
                r#"{"score": 1.0, "explanation": "It is the same."}"#
            }
            // A model that puts its answer between fences, as many do.
            true => "```json\n{\"score\": 0.6, \"explanation\": \"Nearly.\"}\n```",
            false if question.contains("capital of France") => "Paris.",
            false => "Because of the air. {\"score\": 1.0}",
        };
        completion(answer)
    });
    let runner = example("scenarios/judge.toml", "http://127.0.0.1:11434", &server);
    runner.exec(&[]).expect(0);

    let run = runner.only_run();
    assert_eq!(run.manifest()["counts"]["passed"], 2);
    assert_eq!(server.requests().len(), 4);
    let rows = run.read("index.jsonl");
    let mut judgements = rows.lines().filter(|line| line.contains("\"judgement\""));
    assert!(judgements.any(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["grades"][0]["explanation"] == "It is the same."
            && line["grades"][0]["metrics"][0]["name"] == "response_time"
    }));
    runner.run(&["verify"]).expect(0);
}

#[test]
fn the_scenario_of_a_program_as_a_grader_passes_without_a_model() {
    let runner = Runner::new(&["echo", "toml-rs-decoder"]);
    let text = fs_err::read_to_string("scenarios/graded.toml").unwrap();
    let text = text
        .replace("../plugins/echo", "echo.wasm")
        .replace("../plugins/toml-rs-decoder", "toml-rs-decoder.wasm");
    runner.scenario(&text);
    runner.exec(&[]).expect(0);
    runner.scenario(&text.replace("port = 8080", "port = = 8080"));
    runner
        .exec(&[])
        .expect(1)
        .says(&["grader `toml`: fail: TOML parse error", "port = = 8080"]);
}

#[test]
fn a_model_that_asks_for_patience_is_asked_again_when_it_said() {
    let busy = json_response(429, &json!({"error": {"message": "slow down"}}));
    let server = scripted([busy.header("retry-after-ms", "300"), completion("hi")]);
    let runner = chat(&server, &retried("limited"));
    exec(&runner).expect(0);

    let rows = runner.only_run().rows();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["error"]["class"], "rate-limited");
    assert_eq!(
        rows[0]["error"]["message"],
        "the server answered 429: slow down"
    );
    assert_eq!(rows[1]["outcome"], "passed");
    assert_eq!(rows[1]["flaky"], true);
    let spans = spans(&rows);
    assert!(spans[1].start - spans[0].start >= 299.0);
}

#[test]
fn a_server_that_comes_back_makes_a_trial_flaky() {
    let server = scripted([
        Response::new(503).body("restarting"),
        Response::new(502),
        completion("hi"),
    ]);
    let runner = chat(&server, &retried("restarting"));
    exec(&runner).expect(0);

    let rows = runner.only_run().rows();
    let classes: Vec<_> = rows.iter().map(|row| &row["error"]["class"]).collect();
    assert_eq!(
        json!(classes),
        json!(["unavailable", "unavailable", Value::Null])
    );
    assert_eq!(
        rows[0]["error"]["message"],
        "the server answered 503: `restarting`"
    );
    assert_eq!(runner.only_run().manifest()["counts"]["flaky"], 1);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn what_a_model_refuses_is_an_error_with_its_own_message() {
    let wrong = json!({"error": {"message": "Incorrect API key", "code": "invalid_api_key"}});
    let server = scripted([json_response(401, &wrong)]);
    let runner = chat(&server, &retried("refused"));
    exec(&runner).expect(1);

    let run = runner.only_run();
    assert_eq!(run.rows().len(), 1);
    assert_eq!(
        run.row("refused")["error"],
        json!({
            "class": "invalid-config",
            "code": "invalid_api_key",
            "message": "the server answered 401: Incorrect API key"
        })
    );
}

#[test]
fn a_key_reaches_the_server_and_no_file() {
    // A server that tells everybody what it was told.
    let server = Server::start(|request| {
        let key = request.header("authorization").unwrap_or_default();
        let told =
            json!({"choices": [{"message": {"content": format!("it is {key}")}}], "key": key});
        json_response(200, &told).header("x-key", key)
    });
    let runner = Runner::new(&["chat_provider", "http_provider"]);
    let origin = server.origin();
    runner.scenario(&format!(
        r#"
        [providers.chat]
        plugin = "chat_provider.wasm"
        config = {{ base_url = "{origin}/v1", model = "m", api_key_secret = "KEY" }}
        [providers.chat.grants]
        net = ["{origin}"]
        secrets = ["KEY"]

        [providers.http]
        plugin = "http_provider.wasm"
        config = {{ base_url = "{origin}", headers = {{ authorization = "Bearer {{{{secret.KEY}}}}" }} }}
        [providers.http.grants]
        net = ["{origin}"]
        secrets = ["KEY"]

        [[tests]]
        id = "chat"
        input = "What is the key?"
        providers = ["chat"]
        expect = {{ contains = "it is" }}

        [[tests]]
        id = "http"
        input = {{ path = "/key" }}
        providers = ["http"]
        expect = {{ json = {{ status = 200 }} }}
        "#
    ));
    let ran = exec(&runner).expect(0);

    let bearer = format!("Bearer {SECRET}");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.header("authorization"), Some(&*bearer));
    }
    assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET));
    let results = runner.path("results");
    assert_ne!(files_with(&results, "What is the key?"), [""; 0]);
    assert_eq!(files_with(&results, SECRET), [""; 0]);
}

#[test]
fn an_answer_is_compared_as_the_value_that_it_is() {
    let server = Server::start(|request| {
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let told = json!({"method": request.method, "path": request.path, "json": asked});
        json_response(201, &told)
            .header("Set-Cookie", "a=1")
            .header("set-cookie", "b=2")
    });
    let runner = http(
        &server,
        r#"
        [[tests]]
        id = "post"
        input = { method = "post", path = "/a", query = { q = "b c" }, json = { n = 1.5 } }
        expect.json = { status = 201, body = { method = "POST", path = "/a?q=b+c", json = { n = 1.5 } } }

        [[tests]]
        id = "wrong"
        input = { path = "/a" }
        expect = { json = { status = 200 } }
        "#,
    );
    exec(&runner).expect(1);

    let run = runner.only_run();
    let row = run.row("post");
    assert_eq!(row["outcome"], "passed");
    assert_eq!(
        row["output"]["headers"]["set-cookie"],
        json!(["a=1", "b=2"])
    );
    assert_eq!(row["usage"]["http_requests"], 1);
    let row = run.row("wrong");
    assert_eq!(row["outcome"], "failed");
    assert_eq!(
        row["checks"][0]["message"],
        "at `$.status`: expected 200, got 201"
    );
}

#[test]
fn a_body_that_is_no_text_is_kept_as_an_artifact() {
    let bytes = b"\x89PNG\r\n\x1a\n";
    let server = Server::start(|_| Response::ok(*bytes).header("content-type", "image/png"));
    let runner = http(
        &server,
        r#"
        [[tests]]
        id = "image"
        input = { path = "/" }
        expect = { json = { body = { "$artifact" = "body" } } }
        "#,
    );
    exec(&runner).expect(0);
    let run = runner.only_run();
    let artifact = run.dir.join("artifacts/0/0-1/body");
    assert_eq!(fs_err::read(artifact).unwrap(), bytes);
}

#[test]
fn a_server_that_is_not_granted_is_not_asked() {
    let server = Server::start(|_| Response::new(200));
    let url = server.url("/");
    let runner = Runner::new(&["http_provider"]);
    runner.scenario(&format!(
        r#"
        [providers.http]
        plugin = "http_provider.wasm"
        [[tests]]
        id = "denied"
        input = {{ url = "{url}" }}
        "#
    ));
    exec(&runner).expect(1);

    let row = runner.only_run().row("denied");
    assert_eq!(row["error"]["class"], "denied");
    let origin = server.origin();
    assert_eq!(
        row["error"]["message"],
        format!(
            "`GET {origin}` is not granted; add \"{origin}\" to `net` of the provider's `grants`"
        )
    );
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_server_that_says_nothing_is_waited_for_as_long_as_the_test_wants() {
    let server = Server::raw(|_, wire| wire.wait_for_close());
    let runner = http(
        &server,
        r#"
        [[tests]]
        id = "request"
        input = { path = "/", timeout_ms = 100 }
        [[tests]]
        id = "attempt"
        input = { path = "/" }
        timeout = "100ms"
        "#,
    );
    exec(&runner).expect(1);

    let run = runner.only_run();
    let error = &run.row("request")["error"];
    assert_eq!(
        (&error["class"], &error["code"]),
        (&json!("unavailable"), &json!("timeout"))
    );
    assert_eq!(run.row("attempt")["outcome"], "timeout");
}

#[test]
fn a_key_that_is_misspelt_is_refused_before_anything_is_sent() {
    let server = Server::start(|_| completion("hi"));
    for (test, named) in [
        ("input = { promt = \"hi\" }", "'promt' was unexpected"),
        ("input = 3", "is not of types"),
    ] {
        let runner = chat(&server, &format!("[[tests]]\nid = \"a\"\n{test}\n"));
        exec(&runner).expect(3).says(&[named]);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn the_readmes_of_the_providers_have_valid_scenarios() {
    let fence = Regex::new(r"(?s)```toml\n(.*?)```").unwrap();
    for name in ["http", "chat"] {
        let path = format!("plugins/{name}/README.md");
        let readme = fs_err::read_to_string(&path).unwrap();
        let scenarios: Vec<_> = fence.captures_iter(&readme).collect();
        assert!(!scenarios.is_empty(), "{path}");
        for text in scenarios {
            let parsed = scenario::parse(Path::new("scenarios/readme.toml"), &text[1]);
            let scenario = parsed.unwrap_or_else(|error| panic!("{path}: {error:?}"));
            let suite = scenario::normalise(&scenario, &Selection::default()).unwrap();
            assert_eq!(suite.trial_count(), 2);
        }
    }
}

/// The scenario of the repository, with the test's plugins and server in the place of its own.
fn example(path: &str, origin: &str, server: &Server) -> Runner {
    let runner = Runner::new(&["http_provider", "chat_provider"]);
    let text = fs_err::read_to_string(path).unwrap();
    assert!(text.contains(origin));
    runner.scenario(
        &text
            .replace(origin, &server.origin())
            .replace("../plugins/http", "http_provider.wasm")
            .replace("../plugins/chat", "chat_provider.wasm"),
    );
    runner
}

/// A scenario whose only provider is `http`, below the server.
fn http(server: &Server, tests: &str) -> Runner {
    let config = format!("base_url = \"{}\"", server.origin());
    provider("http_provider", &config, server, tests)
}

/// A scenario whose only provider is `chat`, with the server's model `m`, which wants no key.
fn chat(server: &Server, tests: &str) -> Runner {
    let origin = server.origin();
    let config = format!("base_url = \"{origin}/v1\", model = \"m\", api_key_secret = \"\"");
    provider("chat_provider", &config, server, tests)
}

fn provider(plugin: &str, config: &str, server: &Server, tests: &str) -> Runner {
    let runner = Runner::new(&[plugin]);
    let origin = server.origin();
    runner.scenario(&format!(
        "{tests}\n[providers.it]\nplugin = \"{plugin}.wasm\"\nconfig = {{ {config} }}\n\
         [providers.it.grants]\nnet = [\"{origin}\"]\n"
    ));
    runner
}

/// A test that is tried again where trying again may help.
fn retried(id: &str) -> String {
    format!(
        "[[tests]]\nid = \"{id}\"\ninput = \"Say hi.\"\nexpect = {{ equals = \"hi\" }}\n\
         retries = {{ max = 2, backoff = \"1ms\" }}\n"
    )
}

/// Runs the scenario with the secret in its environment.
fn exec(runner: &Runner) -> Ran {
    runner
        .command(&["exec", "scenario.toml"])
        .env("KEY", SECRET)
        .run()
}

/// A server that gives these answers, one after the other.
fn scripted<const N: usize>(responses: [Response; N]) -> Server {
    let responses = Mutex::new(responses.into_iter());
    Server::start(move |_| {
        let response = responses.lock().unwrap().next();
        response.unwrap_or_else(|| Response::new(418))
    })
}

fn completion(text: &str) -> Response {
    json_response(
        200,
        &json!({
            "object": "chat.completion",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop"
            }],
            "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        }),
    )
}

fn json_response(status: u16, body: &Value) -> Response {
    Response::new(status)
        .header("content-type", "application/json")
        .body(body.to_string())
}

/// Answers as the server of files does that comes with Python, as far as the scenario asks.
fn serve_file(request: &Request) -> Response {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Response::new(501).body("Unsupported method");
    }
    if request.header("if-modified-since").is_some() {
        return Response::new(304);
    }
    let path = request.path.split('?').next().unwrap().trim_matches('/');
    if Path::new(path).is_dir() {
        return Response::new(301).header("Location", &format!("/{path}/"));
    }
    let media_type = match path.rsplit_once('.') {
        Some((_, "json")) => "application/json",
        _ => "application/octet-stream",
    };
    match fs_err::read(path) {
        Ok(content) => Response::ok(content).header("Content-type", media_type),
        Err(_) => Response::new(404).body("File not found"),
    }
}

/// The files below `folder` that have `text` in them.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let entries = WalkDir::new(folder).into_iter().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().is_file());
    let holds = |path: &Path| {
        let bytes = fs_err::read(path).unwrap();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let found = files.filter(|entry| holds(entry.path()));
    found
        .map(|entry| entry.path().display().to_string())
        .collect()
}
