//! [`write_transcript`]: the transcript of an attempt.

use std::io::Write as _;

use runner_model::row::Raw;
use runner_model::transcript::{ATIF, MAX_HEAD, TRANSCRIPT};
use runner_sandbox::{LeftContent, LeftFile, ListedTool};
use serde_json::{Value, json};

/// Returns a transcript, with a line for each step. `agent` is the name of the provider.
pub fn write_transcript(
    session: &str,
    agent: &str,
    tools: &[ListedTool],
    steps: &[Raw<'_>],
) -> Vec<u8> {
    let define = |tool: &ListedTool| {
        let schema = tool.input_schema.as_deref();
        let parameters = schema.and_then(|schema| serde_json::from_str::<Value>(schema).ok());
        let mut function = json!({ "name": tool.name, "description": tool.description });
        if let Some(parameters) = parameters {
            function["parameters"] = parameters;
        }
        json!({ "type": "function", "function": function })
    };
    let mut definitions: Vec<_> = tools.iter().map(define).collect();
    if json!(definitions).to_string().len() as u64 > MAX_HEAD / 2 {
        let name =
            |tool: &ListedTool| json!({ "type": "function", "function": { "name": tool.name } });
        definitions = tools.iter().map(name).collect();
    }
    let version = env!("CARGO_PKG_VERSION");
    let mut agent = json!({ "name": agent, "version": version });
    if !definitions.is_empty() {
        agent["tool_definitions"] = definitions.into();
    }
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = write!(
        text,
        "{{\"schema_version\":\"{ATIF}\",\"session_id\":{},\"agent\":{agent},\"steps\":[",
        json!(session)
    );
    for (number, step) in (1_u64..).zip(steps) {
        let comma = if number > 1 { "," } else { "" };
        let rest = step.get().strip_prefix('{').unwrap_or("}");
        let separator = if rest == "}" { "" } else { "," };
        let _ = write!(text, "{comma}\n{{\"step_id\":{number}{separator}{rest}");
    }
    text.extend_from_slice(b"\n]}\n");
    text
}

/// Returns the file that becomes an artifact.
pub fn transcript_file(text: Vec<u8>) -> LeftFile {
    LeftFile {
        name: TRANSCRIPT.into(),
        media_type: "application/json".into(),
        bytes: text.len() as u64,
        content: LeftContent::Memory(text),
    }
}
