//! Checks a test without a call: whether its input is what the provider's plugin takes, and whether all can be filled in that
//! the provider is called with.

use runner_model::{ErrorClass, prepare::Problem, test::Test};
use runner_sandbox::AttachedFile;
use serde_json::Value;

use crate::{
    judge::{SharedSchema, most_tree, tree_bytes},
    provider::{Provider, problem},
};

/// Finds what is wrong with a test for a provider.
pub fn check(
    provider: &Provider,
    test: &Test<'_>,
    files: &[AttachedFile],
    schema: Option<&SharedSchema>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut find = |code: &str, message: String| {
        problems.push(problem(ErrorClass::InvalidInput, code, message));
    };
    if let Some(schema) = &provider.input_schema {
        let input = test.input.get();
        let fits = tree_bytes(input) <= most_tree(provider.settings.limits.reply);
        let input = fits
            .then(|| serde_json::from_str::<Value>(input).ok())
            .flatten();
        let mismatch = match &input {
            Some(input) => schema.mismatch(input),
            None => Some("it has too many values to be checked".into()),
        };
        if let Some(mismatch) = mismatch {
            find("input", format!("refuses the input: {mismatch}"));
        }
    }
    if let Err(error) = provider.fill(test.input, files) {
        find(&error.code, error.message.to_string());
    }
    if let Some(Err(reason)) = schema.map(|schema| &**schema) {
        find("schema", format!("the schema of `expect` {reason}"));
    }
    problems
}
