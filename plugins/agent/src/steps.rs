//! Steps of the transcript, in the Agent Trajectory Interchange Format. The runner adds the calls that it sees.

use chat_model::{Reader, Usage, content};
use runner_sdk::tools::ToolError;
use runner_sdk::transcript;
use serde_json::{Map, Value, json};

use crate::calls::Call;

/// Adds the messages of a test.
pub(crate) fn add_given(messages: &[Value]) {
    for message in messages {
        let (source, is_copied) = match message["role"].as_str() {
            Some("user") => ("user", false),
            Some("assistant") => ("agent", true),
            // The format has no source for the results of tools.
            Some("tool") => ("system", true),
            _ => ("system", false),
        };
        let text = content(&message["content"]).unwrap_or_default();
        let mut step = json!({"source": source, "message": text});
        if is_copied {
            step["is_copied_context"] = true.into();
        }
        add(&step);
    }
}

/// Adds an answer of the model.
pub(crate) fn add_answer(
    model: &str,
    message: &Value,
    text: Option<&str>,
    usage: &Usage,
    reader: &Reader,
) {
    let mut step = json!({
        "source": "agent",
        "model_name": model,
        "message": text.unwrap_or_default(),
        "llm_call_count": 1,
    });
    let reasoning = ["reasoning_content", "reasoning"].into_iter();
    let reasoning = reasoning.filter_map(|key| message[key].as_str()).find(|text| !text.is_empty());
    if let Some(reasoning) = reasoning {
        step["reasoning_content"] = reasoning.into();
    }
    let known = ["prompt_tokens", "completion_tokens", "cached_tokens"];
    let counts = usage.counts().filter(|(name, _)| known.contains(name));
    // Counts are whole numbers in the format.
    let mut metrics: Map<_, _> =
        counts.map(|(name, count)| (name.to_owned(), Value::from(count as u64))).collect();
    if let Some(cost) = reader.price.and_then(|price| usage.cost(price)) {
        metrics.insert("cost_usd".to_owned(), cost.into());
    }
    if !metrics.is_empty() {
        step["metrics"] = metrics.into();
    }
    add(&step);
}

/// Adds a call that did not reach a tool.
pub(crate) fn add_refused(call: &Call, error: &ToolError) {
    let arguments = match &call.arguments {
        Ok(object @ Value::Object(_)) => object.clone(),
        Ok(input) => json!({ "input": input }),
        Err(_) => json!({ "input": call.written }),
    };
    add(&json!({
        "source": "agent",
        "message": "",
        "tool_calls": [
            {"tool_call_id": call.id, "function_name": call.name, "arguments": arguments}
        ],
        "observation": {"results": [{"source_call_id": call.id, "content": error.message}]},
        "llm_call_count": 0,
        "extra": {"error": error.kind.as_str()},
    }));
}

/// Adds a step. The runner counts those that do not fit.
fn add(step: &Value) {
    let _ = transcript::append(step);
}
