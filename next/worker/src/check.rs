//! Checks a test without a call: its input against the plugin's schema, the templates that the input fills, and the schema
//! of `expect`.

use runner_model::{ErrorClass, prepare::Problem, test::Test};
use runner_sandbox::AttachedFile;

use crate::provider::{LoadedProvider, problem};
use crate::schema::Schema;

/// Returns the problems of a test for a provider.
pub fn check(
    provider: &LoadedProvider,
    test: &Test<'_>,
    files: &[AttachedFile],
    schema: Option<&Result<Schema, String>>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |code: &str, message: String| {
        problems.push(problem(ErrorClass::InvalidInput, code, message));
    };
    if let Some(schema) = &provider.input_schema {
        let mismatch = match serde_json::from_str(test.input.get()) {
            Ok(input) => schema.mismatch(input),
            Err(error) => Some(error.to_string()),
        };
        if let Some(mismatch) = mismatch {
            add("input", format!("refuses the input: {mismatch}"));
        }
    }
    if let Err(error) = provider.fill(test.input, files, |_| Ok(Vec::new())) {
        add(&error.code, error.message.to_string());
    }
    if let Some(code) = test.expect.exit_code
        && let Some(reason) = provider.never_exits_with(code)
    {
        add("exit-code", format!("`exit_code` {code} of `expect` can never hold: {reason}"));
    }
    if let Some(Err(reason)) = schema {
        add("schema", format!("the schema of `expect` {reason}"));
    }
    problems
}
