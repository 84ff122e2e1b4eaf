//! Messages of Anthropic's API: the system message is a field of the request, and calls and results are blocks of a message.

use serde_json::{Map, Value, json};

use crate::call::{Call, Ids, accepted_name, read_arguments};
use crate::content;
use crate::openai::retain;

/// Version of the API.
pub(crate) const VERSION: &str = "2023-06-01";
/// Models of Anthropic that refuse more than 4096 tokens in an answer.
const OLD: &[&str] =
    &["claude-3-haiku", "claude-3-opus", "claude-3-sonnet", "claude-2", "claude-instant"];

/// Returns the maximum length of an answer: the API has no default.
pub(crate) fn max_tokens(model: &str) -> u32 {
    if OLD.iter().any(|old| model.contains(old)) { 4096 } else { 8192 }
}

/// Returns a test's messages in this form, and the system message: all of them, because many models accept no later one.
pub(crate) fn given(messages: &[Value]) -> (Option<Value>, Vec<Value>) {
    let is_system =
        |message: &&Value| ["system", "developer"].iter().any(|role| message["role"] == *role);
    let (system, others): (Vec<_>, Vec<_>) = messages.iter().partition(is_system);
    let system = match &*system {
        [one] => one["content"].clone(),
        several => {
            let texts: Vec<_> = several.iter().filter_map(|one| content(&one["content"])).collect();
            texts.join("\n\n").into()
        }
    };
    let mut given = Vec::new();
    for message in others {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            add_block(&mut given, tool_result(&accepted_name(id), given_content(message)));
        } else {
            given.extend(given_message(message));
        }
    }
    ((!is_empty(&system)).then_some(system), given)
}

/// Returns a message with the keys that the server accepts. `None` if it is empty, which the server refuses.
fn given_message(message: &Value) -> Option<Value> {
    let mut content = given_content(message);
    let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| {
        let function = &call["function"];
        let [id, name] = [&call["id"], &function["name"]]
            .map(|name| accepted_name(name.as_str().unwrap_or_default()));
        let input = read_arguments(&function["arguments"]).unwrap_or_default();
        json!({"type": "tool_use", "id": id, "name": name, "input": input})
    });
    let calls: Vec<_> = calls.collect();
    if !calls.is_empty() {
        let mut blocks = match content {
            Value::Array(blocks) => blocks,
            content if is_empty(&content) => Vec::new(),
            content => vec![json!({"type": "text", "text": content})],
        };
        blocks.extend(calls);
        content = blocks.into();
    }
    (!is_empty(&content)).then(|| json!({"role": message["role"], "content": content}))
}

/// Returns the text of a message, or its blocks without those that are blank.
fn given_content(message: &Value) -> Value {
    match &message["content"] {
        Value::Null => message["refusal"].clone(),
        Value::Array(blocks) => blocks.iter().filter(|block| !is_blank(block)).cloned().collect(),
        content => content.clone(),
    }
}

/// Adds a block of a result to the last message, which has the results of one answer.
fn add_block(messages: &mut Vec<Value>, block: Value) {
    let is_result = |message: &&mut Value| message["content"][0]["type"] == "tool_result";
    let last = messages.last_mut().filter(is_result);
    if let Some(blocks) = last.and_then(|message| message["content"].as_array_mut()) {
        blocks.push(block);
    } else {
        messages.push(json!({"role": "user", "content": [block]}));
    }
}

/// Returns the calls of an answer.
pub(crate) fn calls(message: &Value, ids: &mut Ids) -> Vec<Call> {
    let mut calls = Vec::new();
    for raw in blocks(message).filter(|block| block["type"] == "tool_use") {
        calls.push(Call {
            id: ids.of(&raw["id"]),
            name: raw["name"].as_str().unwrap_or_default().to_owned(),
            arguments: read_arguments(&raw["input"]),
            written: raw["input"].clone(),
            raw: raw.clone(),
            is_function: false,
        });
    }
    calls
}

/// Returns the text of an answer. `None` if it has no block of text, such as an answer with nothing but reasoning.
pub(crate) fn text(message: &Value) -> Option<String> {
    let texts = blocks(message).filter(|block| block["type"] == "text");
    let texts: Vec<_> = texts.filter_map(|block| block["text"].as_str()).collect();
    (!texts.is_empty()).then(|| texts.concat())
}

/// Returns the reasoning of an answer, as far as the server shows it.
pub(crate) fn reasoning(message: &Value) -> String {
    blocks(message).filter_map(|block| block["thinking"].as_str()).collect()
}

/// Returns an answer's message for the next request: its blocks as they came, with their signatures. Calls get ids, names and inputs
/// that the server accepts, and blank texts, which it refuses, are left out. `None` if only reasoning is left: the server refuses
/// such a message, too.
pub(crate) fn repeated(message: &Value, calls: &[Call]) -> Option<Value> {
    let mut calls = calls.iter();
    let blocks = blocks(message).filter(|block| !is_blank(block)).map(|block| {
        let mut block = block.clone();
        if block["type"] == "tool_use"
            && let Some(call) = calls.next()
        {
            block["id"] = call.id.as_str().into();
            block["name"] = accepted_name(&call.name).into();
            block["input"] = call.arguments.clone().unwrap_or_else(|_| Map::new()).into();
        }
        block
    });
    let blocks: Vec<_> = blocks.collect();
    let is_reasoning = |block: &Value| {
        ["thinking", "redacted_thinking"].iter().any(|reasoning| block["type"] == *reasoning)
    };
    (!blocks.iter().all(is_reasoning)).then(|| json!({"role": "assistant", "content": blocks}))
}

/// Returns whether a block is a blank text.
fn is_blank(block: &Value) -> bool {
    block["type"] == "text" && is_empty(&block["text"])
}

fn is_empty(content: &Value) -> bool {
    match content {
        Value::String(text) => text.trim().is_empty(),
        Value::Array(blocks) => blocks.is_empty(),
        content => content.is_null(),
    }
}

/// Returns the block with a result. The server refuses blank texts, and accepts a result without content.
fn tool_result(id: &str, content: Value) -> Value {
    let mut block = json!({"type": "tool_result", "tool_use_id": id});
    if !is_empty(&content) {
        block["content"] = content;
    }
    block
}

/// Adds the result of a call to the messages.
pub(crate) fn add_result(messages: &mut Vec<Value>, call: &Call, content: &str, is_error: bool) {
    let mut block = tool_result(&call.id, content.into());
    if is_error {
        block["is_error"] = true.into();
    }
    add_block(messages, block);
}

/// Removes the keys of blocks that are not in Anthropic's API.
pub(crate) fn remove_other_keys(message: &mut Value) {
    for block in message["content"].as_array_mut().into_iter().flatten() {
        match block["type"].as_str() {
            Some("text") => retain(block, &["type", "text"]),
            Some("tool_use") => retain(block, &["type", "id", "name", "input"]),
            _ => {}
        }
    }
}

fn blocks(message: &Value) -> impl Iterator<Item = &Value> {
    message["content"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use runner_sdk::http::{Request, Response};
    use runner_sdk::testing::{Calls, Host};
    use runner_sdk::{ErrorKind, Reply, Result};
    use serde_json::{Value, json};

    use crate::Chat;

    fn run(input: Value, more: &Value) -> (Result<Reply>, Calls) {
        let usage = json!({
            "input_tokens": 100, "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 600, "output_tokens": 50
        });
        let content =
            json!([{"type": "thinking", "thinking": "6 × 7"}, {"type": "text", "text": "42"}]);
        let answer = json!({"content": content, "stop_reason": "end_turn", "usage": usage});
        let host = Host::new().secret("ANTHROPIC_API_KEY", "k");
        let host = host.responses([Ok(Response::new(200).with_json(&answer).unwrap())]);
        let mut config = json!({"api": "anthropic", "model": "m"});
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        host.run_recorded::<Chat>(input, config)
    }

    fn body(request: &Request) -> Value {
        serde_json::from_slice(request.body.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn question_has_the_form_of_the_messages_api() {
        let price = json!({"input": 1, "cached": 0.1, "output": 10});
        let (reply, calls) =
            run(json!("6 times 7?"), &json!({"system": "be brief", "price": price}));
        let reply = reply.unwrap();
        assert_eq!(reply.output().unwrap(), "42");
        let request = &calls.requests[0];
        assert_eq!(request.url, "https://api.anthropic.com/v1/messages");
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert!(headers.contains(&("x-api-key", "{{secret.ANTHROPIC_API_KEY}}")), "{headers:?}");
        assert!(headers.contains(&("anthropic-version", "2023-06-01")), "{headers:?}");
        let messages = json!([{"role": "user", "content": "6 times 7?"}]);
        assert_eq!(
            body(request),
            json!({"model": "m", "max_tokens": 8192, "system": "be brief", "messages": messages})
        );
        let metrics: Vec<_> =
            calls.usage.iter().map(|metric| (metric.name.as_str(), metric.value)).collect();
        assert_eq!(
            metrics[1..],
            [
                ("prompt_tokens", 1000.0),
                ("completion_tokens", 50.0),
                ("total_tokens", 1050.0),
                ("cached_tokens", 600.0),
                ("uncached_tokens", 400.0),
                ("cost_usd", 960e-6),
            ]
        );
        // The test's own messages, and the answer.
        assert_eq!(calls.steps[0], json!({"source": "system", "message": "be brief"}));
        assert_eq!(calls.steps[2]["reasoning_content"], "6 × 7");
    }

    #[test]
    fn settings_and_given_calls_are_sent() {
        let call = json!({"id": "c", "function": {"name": "add", "arguments": "{\"a\": 1}"}});
        let input = json!({"messages": [
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": "be right"},
            {"role": "user", "content": "add"},
            {"role": "assistant", "content": "I add.", "tool_calls": [call, call]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
            {"role": "tool", "tool_call_id": "d", "content": "2"},
            {"role": "user", "content": "and?"},
            {"role": "system", "content": "be kind"},
        ]});
        let more = json!({
            "max_tokens": 10, "headers": {"Anthropic-Version": "2026-01-01"},
            "extra": {"thinking": {"type": "disabled"}}
        });
        let (_, calls) = run(input, &more);
        let versions = calls.requests[0].headers.iter();
        let versions = versions.filter(|(name, _)| name.eq_ignore_ascii_case("anthropic-version"));
        assert_eq!(versions.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["2026-01-01"]);
        let sent = body(&calls.requests[0]);
        assert_eq!(sent["max_tokens"], 10);
        assert_eq!(sent["thinking"]["type"], "disabled");
        assert_eq!(sent["system"], "be brief\n\nbe right\n\nbe kind");
        let used = json!({"type": "tool_use", "id": "c", "name": "add", "input": {"a": 1}});
        let result = |id: &str, content: &str| json!({"type": "tool_result", "tool_use_id": id, "content": content});
        assert_eq!(
            sent["messages"],
            json!([
                {"role": "user", "content": "add"},
                {"role": "assistant", "content": [{"type": "text", "text": "I add."}, used, used]},
                {"role": "user", "content": [result("c", "1"), result("d", "2")]},
                {"role": "user", "content": "and?"},
            ])
        );
    }

    #[test]
    fn default_length_is_accepted_by_old_models() {
        for (model, tokens) in [
            ("claude-3-haiku-20240307", 4096),
            ("anthropic.claude-3-opus-20240229-v1:0", 4096),
            ("claude-3-5-haiku-latest", 8192),
        ] {
            let (_, calls) = run(json!({"prompt": "hi", "model": model}), &json!({}));
            assert_eq!(body(&calls.requests[0])["max_tokens"], tokens, "{model}");
        }
    }

    #[test]
    fn seeds_are_refused() {
        let (reply, calls) = run(json!("hi"), &json!({"seed": true}));
        assert_eq!((reply.unwrap_err().kind, calls.requests.len()), (ErrorKind::InvalidConfig, 0));
        let (reply, _) = run(json!({"prompt": "hi", "seed": 3}), &json!({}));
        assert_eq!(reply.unwrap_err().kind, ErrorKind::InvalidInput);
    }

    #[test]
    fn answer_of_another_api_is_named() {
        let answer = json!({"choices": [{"message": {"content": "42"}}]});
        let host = Host::new().responses([Ok(Response::new(200).with_json(&answer).unwrap())]);
        let config = json!({"api": "anthropic", "model": "m", "api_key_secret": ""});
        let error = host.run::<Chat>(json!("hi"), config).unwrap_err();
        let start = "the answer of https://api.anthropic.com/v1/messages is not a message of Anthropic's API: it has no `content`";
        assert!(error.message.starts_with(start), "{error}");
    }
}
