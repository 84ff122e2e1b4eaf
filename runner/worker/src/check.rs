//! Checks a test without a call: its input against the plugin's schema, the templates that the input fills, and the schema
//! of `expect`.

use runner_model::prepare::{Problem, RefusedPart};
use runner_model::{ErrorClass, TrialId, test::Test};
use runner_sandbox::AttachedFile;

use crate::provider::{LoadedProvider, problem};
use crate::schema::{Refusal, Schema};

/// Returns the problems of a test for a provider.
pub fn check(
    provider: &LoadedProvider,
    trial: &TrialId,
    test: &Test<'_>,
    files: &[AttachedFile],
    schema: Option<&Result<Schema, String>>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |code: &str, message: String, refused: RefusedPart| {
        let problem = problem(ErrorClass::InvalidInput, code, message);
        problems.push(Problem { refused, ..problem });
    };
    if let Some(schema) = &provider.input_schema {
        let refusal = match serde_json::from_str(test.input.get()) {
            Ok(input) => schema.refusal(input),
            Err(error) => Some(Refusal::new(error.to_string())),
        };
        if let Some(Refusal { reasons, part }) = refusal {
            add("input", format!("refuses the input: {reasons}"), part);
        }
    }
    if let Err(error) = provider.fill(test.input, trial, files, |_| Ok(Vec::new())) {
        add(&error.code, error.message.to_string(), RefusedPart::default());
    }
    if let Some(code) = test.expect.exit_code
        && let Some(reason) = provider.never_exits_with(code)
    {
        let message = format!("`exit_code` {code} of `expect` can never hold: {reason}");
        add("exit-code", message, RefusedPart::default());
    }
    if let Some(Err(reason)) = schema {
        add("schema", format!("the schema of `expect` {reason}"), RefusedPart::default());
    }
    problems
}
