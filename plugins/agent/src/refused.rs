//! Steps of the transcript for calls that do not reach a tool. The runner adds all others.

use chat_model::steps;
use runner_sdk::tools::ToolError;
use serde_json::{Value, json};

use crate::calls::Call;

/// Adds a call and the reason why it did not reach a tool.
pub(crate) fn add_step(call: &Call, error: &ToolError) {
    let arguments = match &call.arguments {
        Ok(object @ Value::Object(_)) => object.clone(),
        Ok(input) => json!({ "input": input }),
        Err(_) => json!({ "input": call.written }),
    };
    steps::add(&json!({
        "source": "agent",
        "message": "",
        "tool_calls": [
            {"tool_call_id": call.id, "function_name": call.name, "arguments": arguments}
        ],
        "observation": {"results": [{"source_call_id": call.id, "content": error.message}]},
        "llm_call_count": 0,
        "extra": {"error": error.kind.as_str(), "refused": true},
    }));
}
