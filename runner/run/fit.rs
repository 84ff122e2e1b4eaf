//! What a plugin says of itself, and whether a configuration and an input fit that.

use std::time::Duration;

use jsonschema::Validator;
use serde_json::Value;
use thiserror::Error;
use tokio::runtime::Handle;

use super::stop::unanswered;
use crate::{
    model::Limits,
    plugin::{Description, Guard, Interrupt, Moment, Plugin, Protocol},
};

/// How long a plugin may take to describe itself, its start function included.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a plugin cannot be called as it is to be; completes the sentence "plugin … cannot be used".
#[derive(Debug, Error)]
pub enum UnfitError {
    /// It does not say what it is.
    #[error("its `describe` gave no answer within {DESCRIBE_TIMEOUT:?}")]
    Silent,
    /// It cannot say what it is.
    #[error("its `describe` failed: {0}")]
    Describe(String),
    /// What it says of configurations or inputs cannot be understood.
    #[error("its schema of the {what} is no JSON Schema: {reason}")]
    Schema {
        /// What the schema is for.
        what: &'static str,
        /// Why it is none.
        reason: String,
    },
    /// The configuration is not what it asks for.
    #[error("its `config` does not fit: {0}")]
    Config(String),
    /// The input is not what it asks for.
    #[error("the input does not fit its schema: {0}")]
    Input(String),
}

/// Asks a plugin what it is, grants it nothing meanwhile, and waits no longer than five seconds.
///
/// `None` for a command that is called by the plain protocol: it cannot be asked.
pub async fn describe(
    plugin: &Plugin,
    protocol: Protocol,
    limits: Limits,
    guests: &Handle,
    interrupt: &Interrupt,
) -> Result<Option<Description>, UnfitError> {
    let guard = Guard {
        deadline: Moment::now() + DESCRIBE_TIMEOUT,
        interrupt: interrupt.clone(),
    };
    let plugin = plugin.clone();
    let described = guests.spawn(async move { plugin.describe(protocol, &limits, &guard).await });
    let described = tokio::select! {
        biased;
        described = described => described.expect("describing catches panics"),
        () = unanswered(interrupt) => return Err(UnfitError::Silent),
    };
    described.map_err(|error| match error.code.as_str() {
        "timeout" => UnfitError::Silent,
        _ => UnfitError::Describe(error.message),
    })
}

/// Checks a configuration.
pub fn check_config(description: &Description, config: &Value) -> Result<(), UnfitError> {
    let Some(schema) = &description.config_schema else {
        return Ok(());
    };
    let schema = compile("configuration", schema)?;
    errors(&schema, config).map_or(Ok(()), |errors| Err(UnfitError::Config(errors)))
}

/// Returns the schema that inputs are checked against.
pub fn input_schema(description: &Description) -> Result<Option<Validator>, UnfitError> {
    let schema = description.input_schema.as_ref();
    schema.map(|schema| compile("input", schema)).transpose()
}

/// Checks an input.
pub fn check_input(schema: &Validator, input: &Value) -> Result<(), UnfitError> {
    errors(schema, input).map_or(Ok(()), |errors| Err(UnfitError::Input(errors)))
}

fn compile(what: &'static str, schema: &Value) -> Result<Validator, UnfitError> {
    jsonschema::validator_for(schema).map_err(|error| UnfitError::Schema {
        what,
        reason: error.to_string(),
    })
}

/// Everything that is wrong with a value, and where.
pub(super) fn errors(schema: &Validator, value: &Value) -> Option<String> {
    let errors: Vec<_> = schema
        .iter_errors(value)
        .map(|error| {
            let path = error.instance_path().to_string();
            let place = if path.is_empty() { "/" } else { &path };
            format!("{error} (at `{place}`)")
        })
        .collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}
