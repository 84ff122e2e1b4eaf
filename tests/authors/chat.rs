//! `bundled:chat` against servers that differ from OpenAI's.

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use runner_model::Time;
use serde_json::{Value, json};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::server::{Request, Response, Server};
use crate::support::{run::Run, runner::Runner};

/// Starts a server that sends each of these answers to the question with its number.
fn server(answers: Vec<(u16, Vec<u8>)>) -> Server {
    Server::start(move |request| {
        let (status, body) = &answers[question(request).parse::<usize>().unwrap()];
        Response::new(*status).body(body.clone())
    })
}

fn question(request: &Request) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    body["messages"][0]["content"].as_str().unwrap().to_owned()
}

/// Returns a table of a plugin `bundled:chat` for this server.
fn chat(table: &str, server: &Server, config: &str) -> String {
    let origin = server.origin();
    format!(
        "[{table}]\nplugin = \"bundled:chat\"\n\
         config = {{ base_url = \"{origin}/v1\", model = \"m\", api_key_secret = \"\"{config} }}\n\
         grants = {{ net = [\"{origin}\"] }}\n"
    )
}

/// Runs a test `t0`, `t1` and so on for each answer.
fn run(config: &str, more: &str, answers: Vec<(u16, Vec<u8>)>, expect: &str) -> (Runner, Run) {
    let runner = Runner::new(&[]);
    let count = answers.len();
    let server = server(answers);
    let tests: String = (0..count)
        .map(|at| format!("[[tests]]\nid = \"t{at}\"\ninput = \"{at}\"\nexpect = {expect}\n"))
        .collect();
    runner.scenario(&format!("{}{more}{tests}", chat("providers.chat", &server, config)));
    runner.exec(&[]);
    let run = runner.only_run();
    (runner, run)
}

/// Returns the answer of OpenAI with another value at a JSON pointer.
fn with(place: &str, value: Value) -> String {
    let mut answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{
            "index": 0, "logprobs": null, "finish_reason": "stop", "error": null,
            "message": {"role": "assistant", "content": "42", "refusal": null}
        }],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
        "error": null
    });
    let (parent, key) = place.rsplit_once('/').unwrap();
    answer.pointer_mut(parent).unwrap()[key] = value;
    answer.to_string()
}

fn ok(answers: impl IntoIterator<Item = String>) -> Vec<(u16, Vec<u8>)> {
    answers.into_iter().map(|answer| (200, answer.into_bytes())).collect()
}

#[test]
fn exchange_is_in_the_transcript() {
    let answers = vec![(200, with("/user", json!(1)).into_bytes()), (401, Vec::new())];
    let expect = "{ equals = \"42\", transcript = { max_calls = 0 } }";
    let (runner, run) = run("", "", answers, expect);
    let show = |test: &str| runner.run(&["show", "latest", test, "--transcript"]);
    snapshot(&show("t0").expect(0));
    assert_eq!(run.row("t0")["artifacts"][0]["name"], "transcript.json");
    snapshot(&show("t1").expect(2));
}

#[test]
fn odd_fields_of_an_answer_are_no_errors() {
    let content = "/choices/0/message/content";
    let of_usage = |usage: Value| with("/usage", usage);
    let mut answers = vec![
        with("/extra", json!([1])),
        // The text.
        with(content, json!([{"type": "text", "text": "42"}])),
        with(content, json!([{"type": "text", "text": "4"}, "2", {"type": "image_url"}, null])),
        with(content, json!({"type": "text", "text": "42"})),
        with(content, json!([{"text": {"value": "42"}}])),
        with(
            content,
            json!([
                {"type": "thinking", "thinking": [{"type": "text", "text": "6 times 7"}]},
                {"type": "reasoning", "text": "is"},
                {"type": "text", "text": "42"}
            ]),
        ),
        with(content, json!(42)),
        with("/choices/0/message/refusal", json!(false)),
        with("/choices/0/message/tool_calls", json!("none")),
        with("/choices/0/message/role", json!(null)),
        with("/choices/0/message/reasoning_content", json!({"a": [1]})),
        with("/choices/0/finish_reason", json!({"type": "stop"})),
        with("/choices/0/finish_reason", json!(1)),
        with("/choices/0/index", json!("first")),
        with("/choices/0/error", json!("")),
        with("/choices/0/error", json!({})),
        with("/error", json!({"code": 0, "message": "success"})),
        with("/error", json!(false)),
        with("/id", json!(7)),
        with("/created", json!("yesterday")),
        with("/model", json!(["m"])),
        // Tokens.
        of_usage(json!(null)),
        of_usage(json!([])),
        of_usage(json!("10 tokens")),
        of_usage(json!({"prompt_tokens": "10", "completion_tokens": "1", "total_tokens": "11"})),
        of_usage(
            json!({"prompt_tokens": -9, "completion_tokens": 1.5, "total_tokens": {"sum": 10}}),
        ),
        of_usage(json!({"prompt_tokens_details": [], "completion_tokens_details": "none"})),
        of_usage(json!({"prompt_tokens": true, "prompt_tokens_details": {"cached_tokens": [1]}})),
    ];
    let whole = with("/extra", json!(null));
    answers.push(format!("\u{feff}{whole}"));
    answers.push(format!("\r\n {whole}\n"));
    // Python writes these numbers, and JavaScript half a character.
    answers.push(whole.replace("\"logprobs\":null", "\"logprobs\":[NaN,-Infinity,1e999]"));
    answers.push(whole.replace("\"chatcmpl-1\"", "\"\\ud83d\""));
    answers.push(whole.replace("\"chatcmpl-1\"", "\"a\nb\""));
    let mut answers = ok(answers);
    // Latin-1 in a field that is not needed.
    let mut latin = whole.into_bytes();
    let name = latin.windows(9).position(|bytes| bytes == b"chatcmpl-").unwrap();
    latin[name] = 0xe9;
    answers.push((200, latin));
    assert!(answers.len() > 30);

    let count = answers.len();
    let (_runner, run) = run("", "", answers, "{ equals = \"42\" }");
    assert_eq!(run.rows().len(), count);
    for row in run.rows() {
        assert_eq!([&row["outcome"], &row["output"]], ["passed", "42"], "{row}");
    }
}

#[test]
fn tokens_are_metrics_that_have_prices() {
    let details = json!({"cached_tokens": 6});
    let of_reasoning = json!({"reasoning_tokens": 2});
    let usages = [
        (
            json!({
                "prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11,
                "prompt_tokens_details": details, "completion_tokens_details": of_reasoning
            }),
            &[8, 3, 11, 6, 2, 2][..],
        ),
        (
            json!({"input_tokens": 2, "cache_read_input_tokens": 6, "output_tokens": 3}),
            &[8, 3, 11, 6, 2],
        ),
        (
            json!({"prompt_tokens": "8", "completion_tokens": 3, "prompt_cache_hit_tokens": 6}),
            &[8, 3, 11, 6, 2],
        ),
        (json!({"prompt_tokens": 8, "completion_tokens": 3}), &[8, 3, 11, -1, 8]),
    ];
    let names = [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cached_tokens",
        "uncached_tokens",
        "reasoning_tokens",
    ];
    let answers = ok(usages.iter().map(|(usage, _)| with("/usage", usage.clone())));
    let prices = "[prices.chat]\nuncached_tokens = 2\ncached_tokens = 1\ncompletion_tokens = 4\n";
    let (runner, run) = run("", prices, answers, "{ equals = \"42\" }");
    for (at, (usage, expected)) in usages.iter().enumerate() {
        let row = run.row(&format!("t{at}"));
        let metric = |name: &str| {
            let metrics = row["metrics"].as_array().unwrap();
            let metric = metrics.iter().find(|metric| metric["name"] == name);
            metric.map_or(-1.0, |metric| metric["value"].as_f64().unwrap())
        };
        let counts: Vec<_> = names.iter().map(|name| metric(name) as i32).collect();
        assert_eq!(counts[..expected.len()], **expected, "{usage}");
        let cost = 2 * counts[4] + counts[3].max(0) + 4 * counts[1];
        assert_eq!((metric("cost_usd") * 1e6).round() as i32, cost, "{usage}");
    }
    // Parts of others are not counted again.
    let history = runner.run(&["history", "--json"]).expect(0).document();
    assert_eq!(history["runs"][0]["tokens"], 44.0, "{history}");
}

#[test]
fn cost_has_no_noise_of_binary_fractions() {
    let answers = ok([with("/usage", json!({"prompt_tokens": 17, "completion_tokens": 17}))]);
    let prices = "[prices.chat]\nprompt_tokens = 0.15\ncompletion_tokens = 0.6\n";
    let (_runner, run) = run("", prices, answers, "{ equals = \"42\" }");
    let metrics = run.row("t0")["metrics"].clone();
    let cost = metrics.as_array().unwrap().iter().find(|metric| metric["name"] == "cost_usd");
    assert_eq!(cost.unwrap()["value"].to_string(), "0.00001275");
}

#[test]
fn error_with_status_200_has_its_class_and_is_retried() {
    let errors = [
        (json!({"error": {"message": "Provider returned error", "code": 502}}), "unavailable"),
        (json!({"error": {"message": "no", "code": "rate_limit_exceeded"}}), "rate-limited"),
        (json!({"error": {"message": "no", "code": "429"}}), "rate-limited"),
        (json!({"error": "the model is overloaded"}), "unavailable"),
        (json!({"object": "error", "type": "InternalServerError", "message": "no"}), "unavailable"),
        (json!({"error": {"message": "no", "code": "insufficient_quota"}}), "other"),
        (json!({"error": {"message": "unknown picture"}, "choices": null}), "other"),
        (json!({"choices": []}), "other"),
    ];
    let answers = ok(errors.iter().map(|(body, _)| body.to_string()));
    let once = "[defaults]\nretries = { max = 0 }\n";
    let (_runner, run) = run("", once, answers, "{ equals = \"42\" }");
    for (at, (body, class)) in errors.iter().enumerate() {
        let error = &run.row(&format!("t{at}"))["error"];
        assert_eq!(error["class"], *class, "{body}: {error}");
    }

    let (busy, good) = (errors[0].0.to_string(), with("/id", json!(1)));
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        Response::ok(if is_first { busy.clone() } else { good.clone() })
    });
    let runner = Runner::new(&[]);
    let test = "[[tests]]\nid = \"a\"\ninput = \"0\"\nexpect = { equals = \"42\" }\n";
    let retries = "[defaults]\nretries = { max = 1, on = [\"unavailable\"], backoff = \"1ms\" }\n";
    runner.scenario(&format!("{retries}{}{test}", chat("providers.chat", &server, "")));
    runner.exec(&[]).expect(0);
    assert_eq!(runner.only_run().row("a")["attempt"], 2);
}

/// Starts a server that is busy when it gets a question for the first time, and for the second time.
fn busy_server() -> Server {
    let asked = Mutex::new(HashMap::new());
    Server::start(move |request| {
        let mut asked = asked.lock().unwrap();
        let times: &mut u32 = asked.entry(question(request)).or_default();
        *times += 1;
        match *times {
            1 => Response::new(429).header("retry-after-ms", "20"),
            2 => Response::new(503),
            _ => Response::ok(with("/choices/0/message/content", json!("{\"score\": 1}"))),
        }
    })
}

#[test]
fn each_answer_of_a_faulty_server_is_judged() {
    const COUNT: usize = 400;
    let asked = Mutex::new(HashMap::new());
    let server = Server::start(move |request| {
        let mut asked = asked.lock().unwrap();
        let question = question(request);
        let kind = question.parse::<usize>().unwrap() % 8;
        let times: &mut u32 = asked.entry(question).or_default();
        *times += 1;
        let content = |content: Value| with("/choices/0/message/content", content);
        let fenced = "```json\n{\"answer\": 42}\n```";
        match (kind, *times) {
            (0, 1) => Response::new(429).header("retry-after-ms", "1"),
            (1, 1) => Response::new(500),
            (2, 1) => Response::new(503).body("busy"),
            (3, 1) => Response::ok(json!({"error": {"message": "no", "code": 502}}).to_string()),
            (4, _) => {
                let part = json!({"type": "text", "text": "{\"answer\": 42}"});
                Response::ok(content(json!([part])))
            }
            (5, _) => Response::ok(content(json!(fenced))),
            (6, _) => Response::ok(content(json!(format!("<think>{{}}</think>{fenced}")))),
            _ => Response::ok(content(json!("{\"answer\": 42}"))),
        }
    });
    let runner = Runner::new(&[]);
    let list: String =
        (0..COUNT).map(|at| format!("{{\"id\":\"t{at}\",\"q\":\"{at}\"}}\n")).collect();
    runner.write("list.jsonl", list);
    let config = ", output = \"json\", strip = \"think\"";
    runner.scenario(&format!(
        "[defaults]\nretries = {{ max = 3, backoff = \"1ms\" }}\n{}[[test_lists]]\nfiles = [\"list.jsonl\"]\n\
         id = \"{{{{row.id}}}}\"\ninput = \"{{{{row.q}}}}\"\nexpect = {{ json = {{ answer = 42 }} }}\n",
        chat("providers.chat", &server, config)
    ));
    runner.exec(&["--junit", "junit.xml"]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.rows().len(), COUNT + COUNT / 2);
    // After 429 and 503, a pass is not flaky. The other servers say only in their texts that they are busy.
    assert_eq!(run.count("flaky"), COUNT as u64 / 4);
    let junit = fs::read_to_string(runner.path("junit.xml")).unwrap();
    assert_eq!(junit.matches("<flakyError ").count(), COUNT / 4);
    assert_eq!(server.requests().len(), COUNT + COUNT / 2);
}

#[test]
fn only_network_providers_and_graders_retry_by_default() {
    let (runner, server) = (Runner::new(&["hostile"]), busy_server());
    let judge =
        chat("graders.judge", &server, "") + "input = \"judge {{input.value}}\"\nmin_score = 1\n";
    let once = chat("graders.once", &server, "") + "input = \"once\"\nretries = { max = 0 }\n";
    runner.scenario(&format!(
        "{}{judge}{once}[providers.hostile]\nplugin = \"hostile.wasm\"\n{}",
        chat("providers.chat", &server, ""),
        r#"
        [[tests]]
        id = "busy"
        providers = ["chat"]
        input = "busy"
        [[tests]]
        id = "off"
        providers = ["chat"]
        input = "off"
        retries = { max = 0 }
        [[tests]]
        id = "offline"
        providers = ["hostile"]
        input = { do = "error", kind = "unavailable" }
        [[tests]]
        id = "judged"
        providers = ["hostile"]
        input = { do = "echo", value = "x" }
        expect = { graders = ["judge"] }
        [[tests]]
        id = "judged-once"
        providers = ["hostile"]
        input = { do = "echo", value = "x" }
        expect = { graders = ["once"] }
        "#
    ));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    for (test, attempts, outcome) in
        [("busy", 3, "passed"), ("off", 1, "error"), ("offline", 1, "error")]
    {
        let row = run.row(test);
        assert_eq!(row["attempt"], attempts, "{row}");
        assert_eq!(row["outcome"], outcome, "{row}");
    }
    for (test, calls, outcome) in [("judged", 3, "passed"), ("judged-once", 1, "error")] {
        let row = run.row(test);
        let grade = row["grades"].as_array().unwrap().last().unwrap();
        assert_eq!(grade.get("attempt").unwrap_or(&json!(1)), calls, "{row}");
        assert_eq!(row["outcome"], outcome, "{row}");
    }
    let rows = run.rows_of("busy");
    let started = |row: &Value| Time::parse(row["started_at"].as_str().unwrap()).unwrap();
    assert!(started(&rows[1]).as_millis() - started(&rows[0]).as_millis() >= 1000, "{rows:?}");
}

#[test]
fn retries_flag_replaces_only_max_of_the_default() {
    let (runner, server) = (Runner::new(&[]), busy_server());
    let test = "[[tests]]\nid = \"a\"\ninput = \"a\"\n";
    runner.scenario(&(chat("providers.chat", &server, "") + test));
    runner.exec(&["--retries", "1"]).expect(1);
    let rows = runner.only_run().rows_of("a");
    let classes: Vec<_> = rows.iter().map(|row| &row["error"]["class"]).collect();
    assert_eq!(classes, ["rate-limited", "unavailable"]);
}

#[test]
fn wrong_base_url_is_named() {
    let page = b"<!doctype html><title>Ollama</title>".to_vec();
    let missing = b"404 page not found".to_vec();
    let model = json!({"error": {"message": "model 'm' not found"}}).to_string().into_bytes();
    let answers = vec![(404, missing), (200, page), (404, model)];
    let (_runner, run) = run("", "", answers, "{ equals = \"42\" }");
    let message = |test: &str| run.row(test)["error"]["message"].as_str().unwrap().to_owned();
    for (test, words) in [
        ("t0", &["/v1/chat/completions: `404 page not found`; check `base_url`"][..]),
        ("t1", &["/v1/chat/completions is not a chat completion", "`<!doctype html>"]),
        ("t2", &["/v1/chat/completions: model 'm' not found"]),
    ] {
        let message = message(test);
        assert!(words.iter().all(|words| message.contains(words)), "{message}");
        assert!(message.contains("http://127.0.0.1:"), "{message}");
    }
    assert!(!message("t2").contains("base_url"));
}

#[test]
fn json_between_fences_is_the_output() {
    let value = json!({"a": 1});
    let texts = [
        ("{\"a\": 1}", true),
        ("\u{feff}{\"a\": 1}\n", true),
        ("```json\n{\"a\": 1}\n```", true),
        ("```JSON\r\n{\"a\": 1}\r\n```\r\n", true),
        ("```\n{\"a\": 1}\n```", true),
        ("````json\n{\"a\": 1}\n````", true),
        ("```json {\"a\": 1} ```", true),
        ("Sure! Here it is:\n\n```json\n{\n  \"a\": 1\n}\n```\n\nAnything else?", true),
        ("```json\n{\"a\": 2}\n```\nNo, better:\n```json\n{\"a\": 1}\n```", true),
        ("```python\nprint({})\n```\n```json\n{\"a\": 1}\n```", true),
        ("<think>{\"a\": 2}</think>\n```json\n{\"a\": 1}\n```", true),
        ("```json\n{\"a\": 1", false),
        ("It is {\"a\": 1}.", false),
        ("I do not know.", false),
    ];
    let content = "/choices/0/message/content";
    let answers = ok(texts.iter().map(|(text, _)| with(content, json!(text))));
    let config = ", output = \"json\", strip = \"think\"";
    let (_runner, run) = run(config, "", answers, "{ json = { a = 1 } }");
    for (at, (text, is_json)) in texts.iter().enumerate() {
        let row = run.row(&format!("t{at}"));
        let outcome = if *is_json { "passed" } else { "failed" };
        assert_eq!(row["outcome"], outcome, "{text}: {row}");
        assert_eq!(row["output"], if *is_json { value.clone() } else { json!(text) });
    }
}

#[test]
fn stripped_reasoning_stays_in_the_log() {
    let mut transcript = Transcript::default();
    let texts = [
        "<think>six times seven</think>\n\n42",
        "six times seven</think>42",
        "[THINK]six times seven[/THINK]42",
        "42",
    ];
    let content = "/choices/0/message/content";
    let answers = ok(texts.iter().map(|text| with(content, json!(text))));
    let config = ", strip = [\"think\", \"[THINK]*[/THINK]\"]";
    let (runner, run) = run(config, "", answers, "{ equals = \"42\" }");
    for (at, text) in texts.iter().enumerate() {
        let id = format!("t{at}");
        assert_eq!([&run.row(&id)["outcome"], &run.row(&id)["output"]], ["passed", "42"]);
        let log = runner.run(&["logs", run.id(), &format!("{id}@chat#1")]).expect(0).stdout;
        assert_eq!(log.contains("six times seven"), text.contains("six"), "{log}");
    }
    transcript.run(&runner, &["show", run.id(), "t0@chat#1"]).expect(0);

    let server = server(Vec::new());
    let test = "[[tests]]\nid = \"a\"\ninput = \"0\"\n";
    for wrong in ["\"think*\"", "[3]", "\"\""] {
        let config = format!(", strip = {wrong}");
        runner.scenario(&(chat("providers.chat", &server, &config) + test));
        transcript.run(&runner, &["validate", "scenario.toml"]).expect(2);
    }
    transcript.check("stripped_reasoning_stays_in_the_log");
}

#[test]
fn judge_without_input_is_found_by_validation() {
    let mut transcript = Transcript::default();
    let server = server(Vec::new());
    let runner = Runner::new(&[]);
    let scenario = |judge: &str| {
        runner.scenario(&format!(
            "[providers.echo]\nplugin = \"bundled:echo\"\n{judge}\n\
             [[tests]]\nid = \"a\"\ninput = \"x\"\nexpect = {{ graders = [\"judge\"] }}\n"
        ));
        runner.run(&["validate", "scenario.toml"])
    };
    let judge = |input: &str| scenario(&(chat("graders.judge", &server, "") + input));
    let missing = judge("").expect(2);
    snapshot(&missing);
    transcript.exec(&runner, &[]).expect(2);
    assert!(runner.runs().is_empty());
    transcript.add("judge", &judge("input = { promt = \"{{output}}\" }").expect(2));
    for input in [
        "input = \"{{output}}\"",
        "input = \"Judge {{output}}\"",
        "input = { prompt = \"{{output}}\", max_tokens = 9 }",
        "input = { prompt = \"{{output.text}}\" }",
        "input = { messages = \"{{output}}\" }",
        "input = { messages = [{ role = \"user\", content = \"{{output}}\" }] }",
    ] {
        judge(input).expect(0);
    }
    let http = "[graders.judge]\nplugin = \"bundled:http\"\n";
    transcript.add("scenario", &scenario(http).expect(2));
    scenario("[graders.judge]\nplugin = \"bundled:echo\"\n").expect(0);
    transcript.check("judge_without_input_is_found_by_validation");
}
