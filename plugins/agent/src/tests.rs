use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use runner_sdk::http::{HttpError, Request, Response};
use runner_sdk::testing::{Calls, Host, schemas};
use runner_sdk::tools::{Tool, ToolError, ToolErrorKind};
use runner_sdk::{ErrorKind, Reply, Result, Verdict};
use serde_json::{Value, json};

use super::Agent;

mod bounds;
mod forms;

fn config() -> Value {
    json!({"model": "m", "api_key_secret": ""})
}

fn answer(message: &Value) -> Response {
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 2});
    let body = json!({"choices": [{"message": message}], "usage": usage});
    let mut response = Response::new(200).with_json(&body).unwrap();
    response.duration = Duration::from_millis(100);
    response
}

fn text(text: &str) -> Response {
    answer(&json!({"role": "assistant", "content": text}))
}

/// An answer with calls, each a name and its arguments as text.
fn calling(calls: &[(&str, &str)]) -> Response {
    let calls = calls.iter().enumerate().map(|(index, (name, arguments))| {
        let function = json!({"name": name, "arguments": arguments});
        json!({"id": format!("c{index}"), "type": "function", "function": function})
    });
    let calls: Value = calls.collect();
    answer(&json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": calls}))
}

fn host(answers: Vec<Response>) -> Host {
    Host::new().responses(answers.into_iter().map(Ok))
}

/// Grants a tool that returns its input.
fn with_echo(host: Host) -> Host {
    host.tool("echo", "Returns its input", Ok)
}

fn run(host: Host) -> (Result<Reply>, Calls) {
    host.run_recorded::<Agent>(json!("hi"), config())
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(request.body.as_ref().unwrap()).unwrap()
}

/// Returns the contents of the messages with results of tools in the last request.
fn results(calls: &Calls) -> Vec<String> {
    let body = body(calls.requests.last().unwrap());
    let messages = body["messages"].as_array().unwrap().iter();
    let results = messages.filter(|message| message["role"] == "tool");
    results.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

/// Returns the metrics of a reply, and the sums of those that were reported before.
fn metrics(reply: &Reply, calls: &Calls) -> Value {
    let mut sums = Vec::<(&str, f64)>::new();
    for metric in reply.metrics().iter().chain(&calls.usage) {
        match sums.iter_mut().find(|(name, _)| *name == metric.name) {
            Some((_, sum)) => *sum += metric.value,
            None => sums.push((&metric.name, metric.value)),
        }
    }
    json!(sums)
}

#[test]
fn model_calls_tools_until_it_answers() {
    let (reply, calls) = run(with_echo(host(vec![
        calling(&[("echo", r#"{"a": 1}"#), ("echo", r#"{"b": [2.50]}"#)]),
        text("done"),
    ])));
    let reply = reply.unwrap();
    assert_eq!(reply.output().unwrap(), "done");
    let named = |input: Value| ("echo".to_owned(), input);
    assert_eq!(calls.tools, [named(json!({"a": 1})), named(json!({"b": [2.5]}))]);
    assert_eq!(calls.progress, [(None, "turn 1".to_owned()), (None, "turn 2".to_owned())]);

    let function = json!({
        "name": "echo", "description": "Returns its input",
        "parameters": {"type": "object", "properties": {}}
    });
    let first = body(&calls.requests[0]);
    assert_eq!(first["tools"], json!([{"type": "function", "function": function}]));
    assert_eq!(first["messages"], json!([{"role": "user", "content": "hi"}]));
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "echo", "arguments": arguments}});
    let made = json!([call("c0", r#"{"a": 1}"#), call("c1", r#"{"b": [2.50]}"#)]);
    assert_eq!(
        body(&calls.requests[1])["messages"],
        json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": null, "tool_calls": made},
            {"role": "tool", "tool_call_id": "c0", "content": r#"{"a":1}"#},
            {"role": "tool", "tool_call_id": "c1", "content": r#"{"b":[2.5]}"#},
        ])
    );
    assert_eq!(
        metrics(&reply, &calls),
        json!([
            ["turns", 2.0],
            ["tool_calls", 2.0],
            ["response_time", 200.0],
            ["prompt_tokens", 20.0],
            ["completion_tokens", 4.0],
            ["total_tokens", 24.0],
            ["uncached_tokens", 20.0],
        ])
    );
}

#[test]
fn agent_without_tools_is_a_question() {
    let (reply, calls) = run(host(vec![text("42")]));
    assert_eq!(reply.unwrap().output().unwrap(), "42");
    assert_eq!(calls.requests.len(), 1);
    assert_eq!(body(&calls.requests[0]).get("tools"), None);
}

#[test]
fn errors_of_calls_go_to_the_model() {
    let failing = |_| {
        let details = Some(json!({"stderr": "no such file"}));
        Err(ToolError { details, ..ToolError::new(ToolErrorKind::Trap, "it crashed") })
    };
    let host = with_echo(host(vec![
        calling(&[("fail", "{}"), ("fly", "{}"), ("echo", "{\"a\": ")]),
        text("done"),
    ]));
    let (reply, calls) = run(host.tool("fail", "Fails", failing));
    assert_eq!(reply.unwrap().output().unwrap(), "done");
    let read = |text: &String| serde_json::from_str::<Value>(text).unwrap();
    let results: Vec<_> = results(&calls).iter().map(read).collect();
    let details = json!({"stderr": "no such file"});
    assert_eq!(results[0], json!({"error": "trap", "message": "it crashed", "details": details}));
    let message = "there is no tool `fly`; tools: `echo`, `fail`";
    assert_eq!(results[1], json!({"error": "denied", "message": message}));
    assert_eq!(results[2]["error"], "invalid-input");
    let message = results[2]["message"].as_str().unwrap();
    assert!(message.starts_with("the arguments `{\"a\": ` are not JSON: EOF"), "{message}");

    // The runner sees the first call alone.
    assert_eq!(calls.tools.len(), 1);
    // Servers refuse a request with arguments that are not JSON.
    let sent = body(&calls.requests[1]);
    assert_eq!(sent["messages"][1]["tool_calls"][2]["function"]["arguments"], "{}");
}

#[test]
fn names_are_mapped_both_ways() {
    let long = "x".repeat(70);
    let host = host(vec![
        calling(&[("fs_read", "{}"), ("fs_read_2", "{}"), ("fs.read", "{}"), (&long[..64], "{}")]),
        text("done"),
    ]);
    let host = ["fs.read", "fs/read", &long].into_iter().fold(host, |host, name| {
        let output = name.to_owned();
        host.tool(name, "Reads", move |_| Ok(json!(output)))
    });
    let (reply, calls) = run(host);
    reply.unwrap();
    assert_eq!(results(&calls), ["fs.read", "fs/read", "fs.read", &long]);
    let tools = body(&calls.requests[0])["tools"].clone();
    let names = tools.as_array().unwrap().iter().map(|tool| tool["function"]["name"].clone());
    assert_eq!(names.collect::<Value>(), json!(["fs_read", "fs_read_2", &long[..64]]));
}

#[test]
fn schemas_of_tools_become_objects() {
    let tool = |name: &str, input_schema: Value| Tool {
        name: name.to_owned(),
        description: String::new(),
        input_schema: Some(input_schema),
    };
    let object = json!({"$schema": "s", "type": "object", "required": ["a"]});
    let any = json!({"$defs": {"A": {"type": "string"}}, "$ref": "#/$defs/A"});
    let tree = json!({
        "type": "array", "items": {"$ref": "#"},
        "$defs": {"A": {"anyOf": [{"$ref": "#/items"}, {"$ref": "#/$defs/A"}, {"$ref": "#name"}]}}
    });
    let either = json!({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]});
    let host = host(vec![
        calling(&[("object", r#"{"a": 1}"#), ("any", r#"{"input": "x"}"#), ("any", r#""y""#)]),
        text("done"),
    ]);
    let host = host.listed_tool(tool("object", object), Ok).listed_tool(tool("any", any), Ok);
    let host = host.listed_tool(tool("either", either.clone()), Ok);
    let (reply, calls) = run(host.listed_tool(tool("tree", tree), Ok));
    reply.unwrap();
    let inputs: Vec<_> = calls.tools.iter().map(|(_, input)| input.clone()).collect();
    assert_eq!(inputs, [json!({"a": 1}), json!("x")]);
    // A text is sent without quotes.
    assert_eq!(results(&calls)[..2], [r#"{"a":1}"#, "x"]);
    assert!(results(&calls)[2].contains("are a text: they must be an object"));
    let tools = body(&calls.requests[0])["tools"].clone();
    let parameters = |index: usize| tools[index]["function"]["parameters"].clone();
    // OpenAI refuses an object without `properties`, and combinations at the root.
    assert_eq!(parameters(0), json!({"type": "object", "required": ["a"], "properties": {}}));
    assert_eq!(parameters(2)["properties"], json!({"input": either}));
    let (root, items) = ("#/properties/input", "#/properties/input/items");
    assert_eq!(parameters(3)["properties"]["input"]["items"], json!({"$ref": root}));
    let moved = json!([{"$ref": items}, {"$ref": "#/$defs/A"}, {"$ref": "#name"}]);
    assert_eq!(parameters(3)["$defs"]["A"]["anyOf"], moved);
    assert_eq!(
        parameters(1),
        json!({
            "type": "object", "required": ["input"],
            "$defs": {"A": {"type": "string"}}, "properties": {"input": {"$ref": "#/$defs/A"}}
        })
    );
}

#[test]
fn model_that_never_answers_ends_with_its_costs() {
    let run = |turns: u32| -> (Reply, Calls) {
        let answers = (0..turns).map(|_| calling(&[("echo", "{}")])).collect();
        let config = json!({
            "model": "m", "api_key_secret": "", "max_turns": turns,
            "price": {"input": 1, "output": 10}
        });
        let (reply, calls) = with_echo(host(answers)).run_recorded::<Agent>(json!("hi"), config);
        (reply.unwrap(), calls)
    };
    let (reply, calls) = run(3);
    assert_eq!(reply.output().unwrap(), json!(""));
    assert_eq!(calls.steps.last().unwrap()["extra"], json!({"ended": "turns"}));
    let metrics = metrics(&reply, &calls);
    for metric in [json!(["turns", 3.0]), json!(["tool_calls", 2.0]), json!(["cost_usd", 90e-6])] {
        assert!(metrics.as_array().unwrap().contains(&metric), "{metrics}");
    }
    assert_eq!((calls.requests.len(), calls.tools.len()), (3, 2));
    let (_, calls) = run(1);
    assert_eq!(calls.steps.last().unwrap()["extra"], json!({"ended": "turns"}));

    let turns = with_echo(host((0..30).map(|_| calling(&[("echo", "{}")])).collect()));
    assert_eq!(self::run(turns).1.steps.last().unwrap()["extra"], json!({"ended": "turns"}));
    let none = json!({"model": "m", "max_turns": 0});
    let refused = Host::new().run::<Agent>(json!("hi"), none).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidConfig);
}

#[test]
fn transcript_has_messages_and_metrics_but_no_calls_of_the_runner() {
    let mut thinking = json!({"content": "", "reasoning_content": "I need the tool."});
    thinking["tool_calls"] = json!([
        {"id": "a", "function": {"name": "echo", "arguments": "{}"}},
        {"id": "b", "function": {"name": "fly", "arguments": "[]"}},
        {"id": "c", "function": {"name": "echo", "arguments": "{"}},
    ]);
    let config = json!({
        "model": "m", "api_key_secret": "", "system": "be brief",
        "price": {"input": 1, "output": 10}
    });
    let host = with_echo(host(vec![answer(&thinking), text("done")]));
    let (reply, calls) = host.run_recorded::<Agent>(json!("hi"), config);
    reply.unwrap();
    let metrics = json!({"prompt_tokens": 10, "completion_tokens": 2, "cost_usd": 30e-6});
    let refused = |id: &str, name: &str, arguments: Value, error: &str, message: &str| {
        json!({
            "source": "agent",
            "message": "",
            "tool_calls": [{"tool_call_id": id, "function_name": name, "arguments": arguments}],
            "observation": {"results": [{"source_call_id": id, "content": message}]},
            "llm_call_count": 0,
            "extra": {"error": error, "refused": true},
        })
    };
    assert_eq!(calls.steps.len(), 6, "{:#?}", calls.steps);
    assert_eq!(calls.steps[0], json!({"source": "system", "message": "be brief"}));
    assert_eq!(calls.steps[1], json!({"source": "user", "message": "hi"}));
    assert_eq!(
        calls.steps[2],
        json!({
            "source": "agent", "model_name": "m", "message": "", "llm_call_count": 1,
            "reasoning_content": "I need the tool.", "metrics": metrics
        })
    );
    let unknown = "there is no tool `fly`; tools: `echo`";
    assert_eq!(calls.steps[3], refused("b", "fly", json!({"input": "[]"}), "denied", unknown));
    let message = calls.steps[4]["observation"]["results"][0]["content"].clone();
    let expected =
        refused("c", "echo", json!({"input": "{"}), "invalid-input", message.as_str().unwrap());
    assert_eq!(calls.steps[4], expected);
    assert_eq!(calls.steps[5]["message"], "done");
    assert_eq!(calls.steps[5]["extra"], json!({"ended": "done"}));
}

#[test]
fn given_conversation_is_in_the_transcript() {
    let messages = json!([
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "bye"},
    ]);
    let host = host(vec![text("bye")]);
    let (reply, calls) = host.run_recorded::<Agent>(json!({"messages": messages}), config());
    reply.unwrap();
    assert_eq!(calls.steps[0], json!({"source": "user", "message": "hi"}));
    let copied = json!({"source": "agent", "message": "hello", "is_copied_context": true});
    assert_eq!(calls.steps[1], copied);
}

#[test]
fn last_text_is_read_as_for_chat() {
    let config = json!({"model": "m", "api_key_secret": "", "output": "json", "strip": "think"});
    let answers = || vec![calling(&[("echo", "{}")]), text("<think>…</think>{\"a\": 1}")];
    let reply = with_echo(host(answers())).run::<Agent>(json!("hi"), config.clone()).unwrap();
    assert_eq!(reply.output().unwrap(), json!({"a": 1}));
    let reply = host(vec![text("Sure!")]).run::<Agent>(json!("hi"), config).unwrap();
    assert_eq!(reply.checks()[0].verdict, Verdict::Fail);

    let (error, _) = run(host(vec![answer(&json!({"content": null}))]));
    assert_eq!(error.unwrap_err().code, "malformed-answer");
    let refused = vec![calling(&[("echo", "{}")]), Response::new(401)];
    assert_eq!(run(with_echo(host(refused))).0.unwrap_err().kind, ErrorKind::InvalidConfig);
}

#[test]
fn stop_ends_the_agent_before_the_next_request() {
    let (reply, calls) = run(with_echo(host(vec![])).stop_requested());
    assert_eq!(reply.unwrap_err().kind, ErrorKind::Stopped);
    assert_eq!(calls.requests, []);
}

#[test]
fn configuration_is_that_of_chat_with_bounds() {
    let (_, config) = schemas::<Agent>();
    let schema: Value = serde_json::from_str(&config.unwrap()).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(properties["max_turns"]["minimum"], 1);
    assert_eq!(properties["max_turns"]["default"], 30);
    assert_eq!(properties["api"]["default"], "openai");
    assert_eq!(properties["max_result"]["default"], "16KiB");
    assert_eq!(properties["context"]["default"], "400KiB");
    assert_eq!(properties.len(), 17);
    assert_eq!(schema["additionalProperties"], json!(false), "{schema:#}");
    assert_eq!(schema["required"], json!(["model"]));

    for (config, names) in [
        (json!({"model": "m", "max_turn": 1}), "`max_turn`"),
        (json!({}), "`model`"),
        (json!({"model": "m", "extra": {"stream": true}}), "`extra.stream`"),
        (json!({"model": "m", "context": "9MiB"}), "`9MiB` is not a size from 4KiB to 4MiB"),
        (json!({"model": "m", "max_result": 1}), "`1` is not a size from 256 to 4MiB"),
        (json!({"model": "m", "api": "anthropic", "seed": true}), "has no seeds"),
    ] {
        let error = Host::new().run::<Agent>(json!("hi"), config).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidConfig, "{error}");
        assert!(error.message.contains(names), "{error}");
    }
}

#[test]
fn blank_result_goes_to_anthropic_without_content() {
    let used = json!({"type": "tool_use", "id": "t", "name": "blank", "input": {}});
    let said = json!({"type": "text", "text": "done"});
    let answers = [used, said].map(|block| {
        Ok(Response::new(200)
            .with_json(&json!({"content": [block], "stop_reason": "end_turn"}))
            .unwrap())
    });
    let host = Host::new().responses(answers).tool("blank", "Prints a line", |_| Ok(json!("\n")));
    let config = json!({"api": "anthropic", "model": "m", "api_key_secret": ""});
    let (reply, calls) = host.run_recorded::<Agent>(json!("hi"), config);
    assert_eq!(reply.unwrap().output().unwrap(), "done");
    let result = json!({"type": "tool_result", "tool_use_id": "t"});
    assert_eq!(body(&calls.requests[1])["messages"][2]["content"], json!([result]));
}

#[test]
fn whole_conversation_is_sent_in_each_turn() {
    let lengths = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&lengths);
    let host = with_echo(Host::new().respond(move |request| {
        let count = body(&request)["messages"].as_array().unwrap().len();
        seen.borrow_mut().push(count);
        Ok(if count < 5 { calling(&[("echo", "{}")]) } else { text("done") })
    }));
    run(host).0.unwrap();
    assert_eq!(*lengths.borrow(), [1, 3, 5]);
}

#[test]
fn busy_server_is_asked_again_after_the_first_turn() {
    let busy = || Response::new(429).with_header("retry-after-ms", "1");
    let echo = || calling(&[("echo", "{}")]);
    let (reply, calls) = run(with_echo(host(vec![echo(), busy(), busy(), text("done")])));
    assert_eq!(reply.unwrap().output().unwrap(), "done");
    assert_eq!((calls.requests.len(), calls.tools.len()), (4, 1));
    assert!(calls.log[0].1.starts_with("turn 2 is sent again after 1ms"), "{:?}", calls.log);
    // A retry of the runner costs nothing here, and is seen.
    let (first, calls) = run(with_echo(host(vec![busy()])));
    assert_eq!((first.unwrap_err().kind, calls.requests.len()), (ErrorKind::RateLimited, 1));
    let (last, _) = run(with_echo(host(vec![echo(), busy(), busy(), busy(), busy()])));
    assert_eq!(last.unwrap_err().kind, ErrorKind::RateLimited);
    // An answer that comes too late is paid for each time.
    let late = || Response::new(504).with_header("retry-after-ms", "1");
    let (last, calls) = run(with_echo(host(vec![echo(), late(), late()])));
    assert_eq!((last.unwrap_err().kind, calls.requests.len()), (ErrorKind::Unavailable, 3));
    let short = host(vec![echo(), busy()]).remaining(Duration::ZERO);
    assert_eq!(run(with_echo(short)).0.unwrap_err().kind, ErrorKind::RateLimited);
}

#[test]
fn agent_ends_when_a_limit_is_used_up() {
    let used_up =
        || with_echo(host(vec![calling(&[("echo", "{}")])])).used_up_after(0, "total_tokens");
    let (reply, calls) = run(used_up());
    assert_eq!(reply.unwrap().output().unwrap(), "");
    assert_eq!((calls.requests.len(), calls.tools.len()), (1, 0));
    assert_eq!(calls.steps.last().unwrap()["extra"]["ended"], "limit");
    // Its text is not read as JSON.
    let json_config = json!({"model": "m", "api_key_secret": "", "output": "json"});
    let (reply, _) = used_up().run_recorded::<Agent>(json!("hi"), json_config);
    assert_eq!(reply.unwrap().checks(), []);
    // An answer that needs no further request is whole.
    let (_, calls) = run(with_echo(host(vec![text("42")])).used_up_after(0, "total_tokens"));
    assert_eq!(calls.steps.last().unwrap()["extra"]["ended"], "done");
}

#[test]
fn refused_request_of_a_used_up_attempt_ends_the_agent() {
    let refused = || Err(HttpError::Other("`limits.http_requests`".to_owned()));
    let responses = [Ok(calling(&[("echo", "{}")])), refused()];
    let host = with_echo(Host::new().responses(responses)).used_up_after(1, "http_requests");
    let (reply, calls) = run(host);
    assert_eq!((reply.is_ok(), calls.requests.len()), (true, 2));
    assert_eq!(calls.steps.last().unwrap()["extra"]["ended"], "limit");
    // Without an answer, there is nothing to judge.
    let (reply, _) = run(Host::new().responses([refused()]).used_up_after(0, "http_requests"));
    assert!(reply.is_err());
}
