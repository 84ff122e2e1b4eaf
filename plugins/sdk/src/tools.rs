//! Tools: plugins that the scenario lets the provider call. Each call runs in a sandbox of its own, in the provider's
//! workspace, and counts against the provider's deadline.
//!
//! A program's result is `{"exit_code": 0, "stdout": "…", "stderr": "…"}`, that of a provider is its output.
//!
//! ```
//! use runner_sdk::serde_json::json;
//! use runner_sdk::testing::Host;
//! use runner_sdk::{NoConfig, Provider, Reply, Result, Test, tools};
//!
//! struct Sum;
//!
//! impl Provider for Sum {
//!     type Input = Vec<i64>;
//!     type Config = NoConfig;
//!
//!     fn run(test: Test<Self>) -> Result<Reply> {
//!         let code = format!("print(sum({:?}))", test.input);
//!         let result = tools::call("python", &json!({ "code": code }))?;
//!         Reply::new(result["stdout"].as_str().map(str::trim))
//!     }
//! }
//!
//! // Outside of WASM, a test sets the tools and inspects the calls.
//! let host = Host::new().tool("python", "Runs Python code", |input| {
//!     assert_eq!(input["code"], "print(sum([1, 2]))");
//!     Ok(json!({ "exit_code": 0, "stdout": "3\n", "stderr": "" }))
//! });
//! let (reply, calls) = host.run_recorded::<Sum>(json!([1, 2]), json!({}));
//! assert_eq!(reply?.output()?, "3");
//! assert_eq!(calls.tools[0].0, "python");
//! # Ok::<(), runner_sdk::Error>(())
//! ```

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::host;

/// A tool that the provider may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Name in the scenario.
    pub name: String,
    /// Purpose of the tool, for models.
    pub description: String,
    /// JSON Schema of the input. `None` if the tool has no schema.
    pub input_schema: Option<Value>,
}

/// A failed call. It is data for the provider, such as for a model that may call the tool in another way. With `?` it ends
/// the test.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ToolError {
    /// Kind of the failure.
    pub kind: ToolErrorKind,
    /// Reason, as a sentence for people.
    pub message: String,
    /// Further data, such as the error's own details, or the tool's standard error.
    pub details: Option<Value>,
}

/// Kind of a [`ToolError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolErrorKind {
    /// The scenario does not grant the tool, or the tool lacks a grant.
    Denied,
    /// The tool refuses the input.
    InvalidInput,
    /// The tool took longer than its limit.
    Timeout,
    /// The tool crashed.
    Trap,
    /// The tool exceeded a limit, or the provider called too many tools.
    Limit,
    /// The runner stops.
    Stopped,
    /// The tool returned an error of its own.
    Failed,
}

impl ToolError {
    /// Creates an error without details.
    pub fn new(kind: ToolErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), details: None }
    }
}

impl ToolErrorKind {
    /// Returns the name in the contract, such as `invalid-input`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::InvalidInput => "invalid-input",
            Self::Timeout => "timeout",
            Self::Trap => "trap",
            Self::Limit => "limit",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for ToolErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Lists the tools, in the order of the provider's grants.
pub fn list() -> Vec<Tool> {
    host::tools()
}

/// Calls a tool and waits for its result.
///
/// # Errors
///
/// An input that cannot be written as JSON is [`InvalidInput`](ToolErrorKind::InvalidInput).
pub fn call(name: &str, input: &(impl Serialize + ?Sized)) -> Result<Value, ToolError> {
    let input = serde_json::to_string(input)
        .map_err(|error| ToolError::new(ToolErrorKind::InvalidInput, error.to_string()))?;
    let output = host::call_tool(name, &input)?;
    serde_json::from_str(&output)
        .map_err(|error| ToolError::new(ToolErrorKind::Failed, error.to_string()))
}
