//! Messages of OpenAI's chat completions, as servers send them and accept them.

use serde_json::{Map, Value, json};

use crate::call::{Call, Ids, accepted_name, read_arguments};

/// Returns the calls of a message: `tool_calls`, or the `function_call` of older servers.
pub(crate) fn calls(message: &Value, ids: &mut Ids) -> Vec<Call> {
    let tool_calls = message["tool_calls"].as_array().into_iter().flatten();
    let mut calls = Vec::new();
    for raw in tool_calls.filter(|call| call.is_object()) {
        let (id, function) = (ids.of(&raw["id"]), &raw["function"]);
        calls.push(call(id, raw, function, false));
    }
    let function = &message["function_call"];
    // Some servers send an empty one in each answer.
    let is_empty = is_blank(&function["name"])
        && read_arguments(&function["arguments"]).is_ok_and(|arguments| arguments.is_empty());
    if calls.is_empty() && !is_empty {
        calls.push(call(ids.of(&Value::Null), function, function, true));
    }
    calls
}

fn call(id: String, raw: &Value, function: &Value, is_function: bool) -> Call {
    let written = function["arguments"].clone();
    Call {
        id,
        name: function["name"].as_str().unwrap_or_default().to_owned(),
        arguments: read_arguments(&written),
        written,
        raw: raw.clone(),
        is_function,
    }
}

/// Returns an answer's message for the next request: as it came, with all keys, but with ids, names and arguments that servers
/// accept.
pub(crate) fn repeated(message: &Value, calls: &[Call]) -> Value {
    let mut repeated = message.as_object().cloned().unwrap_or_default();
    // Servers refuse some of the empty keys that they send themselves.
    repeated.retain(|key, value| key == "content" || !value.is_null());
    repeated.entry("content").or_insert(Value::Null);
    repeated.insert("role".to_owned(), "assistant".into());
    repeated.remove("tool_calls");
    repeated.remove("function_call");
    if let [call] = calls
        && call.is_function
    {
        repeated.insert("function_call".to_owned(), function(&call.raw, call));
    } else if !calls.is_empty() {
        let calls = calls.iter().map(|call| {
            let mut raw = call.raw.clone();
            raw["id"] = call.id.as_str().into();
            if raw["type"].as_str().is_none_or(str::is_empty) {
                raw["type"] = "function".into();
            }
            raw["function"] = function(&call.raw["function"], call);
            raw
        });
        repeated.insert("tool_calls".to_owned(), calls.collect());
    }
    repeated.into()
}

/// Removes the keys of a message that are not in OpenAI's API, such as `reasoning`.
pub(crate) fn remove_other_keys(message: &mut Value) {
    retain(message, &["role", "content", "name", "tool_calls", "tool_call_id", "function_call"]);
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        retain(call, &["id", "type", "function"]);
        retain(&mut call["function"], &["name", "arguments"]);
    }
}

/// Removes all other keys of an object.
pub(crate) fn retain(object: &mut Value, known: &[&str]) {
    if let Some(object) = object.as_object_mut() {
        object.retain(|key, _| known.contains(&key.as_str()));
    }
}

/// Returns the name and the arguments of a call. Servers that parse arguments refuse the whole request for those that are not an
/// object as text, so these become `{}`. The error of the call has them.
fn function(raw: &Value, call: &Call) -> Value {
    let mut function = raw.as_object().cloned().unwrap_or_default();
    function.insert("name".to_owned(), accepted_name(&call.name).into());
    let is_object = |text: &&str| serde_json::from_str::<Map<String, Value>>(text).is_ok();
    if call.written.as_str().filter(is_object).is_none() {
        let arguments = call.arguments.clone().unwrap_or_default();
        function.insert("arguments".to_owned(), Value::from(arguments).to_string().into());
    }
    function.into()
}

fn is_blank(name: &Value) -> bool {
    name.as_str().is_none_or(|name| name.trim().is_empty())
}

/// Returns the message with the result of a call.
pub(crate) fn result(call: &Call, content: &str) -> Value {
    if call.is_function {
        json!({"role": "function", "name": accepted_name(&call.name), "content": content})
    } else {
        json!({"role": "tool", "tool_call_id": call.id, "content": content})
    }
}
