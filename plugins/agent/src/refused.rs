//! Steps of the transcript for calls that do not reach a tool. The runner adds all others.

use chat_model::{Call, shown, steps};
use runner_sdk::tools::ToolError;
use serde_json::{Value, json};

/// Adds a call and the reason why it did not reach a tool.
pub(crate) fn add_step(call: &Call, error: &ToolError) {
    let arguments: Value = match &call.arguments {
        Ok(arguments) => json!(arguments),
        Err(_) => json!({ "input": call.written }),
    };
    // The host bounds the bytes of a step.
    let text = arguments.to_string();
    let shortened = steps::shortened(&text);
    let arguments =
        if shortened.len() < text.len() { json!({ "input": shortened }) } else { arguments };
    steps::add(&json!({
        "source": "agent",
        "message": "",
        "tool_calls": [
            {"tool_call_id": call.id, "function_name": shown(&call.name), "arguments": arguments}
        ],
        "observation": {"results": [{"source_call_id": call.id, "content": error.message}]},
        "llm_call_count": 0,
        "extra": {"error": error.kind.as_str(), "refused": true},
    }));
}
