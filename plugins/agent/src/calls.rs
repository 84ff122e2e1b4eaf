//! [`Call`], a call of a tool in an answer.

use serde_json::{Value, json};

/// A call as the model wrote it.
pub(crate) struct Call {
    pub(crate) id: String,
    /// Name of the tool for the model.
    pub(crate) name: String,
    /// The arguments, or the reason if they are not JSON.
    pub(crate) arguments: Result<Value, String>,
    /// The arguments as the model wrote them.
    pub(crate) written: Value,
}

/// Returns the calls of a message. Servers leave out ids and empty arguments.
pub(crate) fn of(message: &Value, turn: u32) -> Vec<Call> {
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let read = |(index, call): (usize, &Value)| {
        let (function, id) = (&call["function"], call["id"].as_str());
        let written = function["arguments"].clone();
        let arguments = match &written {
            Value::Null => Ok(json!({})),
            Value::String(text) if text.trim().is_empty() => Ok(json!({})),
            Value::String(text) => serde_json::from_str(text).map_err(|error| error.to_string()),
            value => Ok(value.clone()),
        };
        Call {
            id: id.map_or_else(|| format!("call-{turn}-{}", index + 1), str::to_owned),
            name: function["name"].as_str().unwrap_or_default().to_owned(),
            arguments,
            written,
        }
    };
    calls.enumerate().map(read).collect()
}

/// Returns an answer's message for the next request, in the form that servers expect.
pub(crate) fn repeated(message: &Value, calls: &[Call]) -> Value {
    let mut repeated = message.clone();
    if let Some(message) = repeated.as_object_mut() {
        // Servers refuse some of the empty keys that they send themselves.
        message.retain(|key, value| key == "content" || !value.is_null());
        message.entry("content").or_insert(Value::Null);
    }
    repeated["role"] = "assistant".into();
    let calls = calls.iter().map(|call| {
        // Servers that parse arguments refuse the whole request for those that are not JSON. The error of the call has them.
        let arguments = call.arguments.as_ref().map_or_else(|_| "{}".to_owned(), Value::to_string);
        json!({
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        })
    });
    repeated["tool_calls"] = calls.collect();
    repeated
}
