//! The transcript of an attempt: its messages and calls in their order. The runner adds the calls of [tools](crate::tools) itself.
//!
//! ```
//! use runner_sdk::serde_json::json;
//! use runner_sdk::testing::Host;
//! use runner_sdk::{NoConfig, Provider, Reply, Result, Test, transcript};
//!
//! struct Greeter;
//!
//! impl Provider for Greeter {
//!     type Input = String;
//!     type Config = NoConfig;
//!
//!     fn run(test: Test<Self>) -> Result<Reply> {
//!         transcript::append(&json!({ "source": "user", "message": test.input }))?;
//!         let answer = "hello yourself";
//!         transcript::append(&json!({ "source": "agent", "message": answer }))?;
//!         Reply::new(answer)
//!     }
//! }
//!
//! let (_, calls) = Host::new().run_recorded::<Greeter>(json!("hello"), json!({}));
//! assert_eq!(calls.steps[1]["source"], "agent");
//! ```

use serde::Serialize;

use crate::host;

/// Reason of a refused step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// The step is not an object with a `source` and a `message`.
    #[error("a step of a transcript is not an object with a `source` and a `message`")]
    Invalid,
    /// The attempt's transcript would exceed its limit of bytes.
    #[error("the transcript is too large")]
    TooLarge,
}

/// Appends a step of the Agent Trajectory Interchange Format, ATIF 1.7, without `step_id`: an object with a `source`, which is
/// `system`, `user` or `agent`, a `message`, which is a text or a list of parts, and other keys of the format.
pub fn append(step: &(impl Serialize + ?Sized)) -> Result<(), TranscriptError> {
    let step = serde_json::to_string(step).map_err(|_| TranscriptError::Invalid)?;
    host::append_step(&step)
}
