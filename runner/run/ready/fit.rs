//! What a plugin says of itself, and whether a configuration and an input fit that.

use std::time::Duration;

use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::runtime::Handle;

use super::schema::{Broken, SchemaCheck};
use crate::{
    model::{Limits, ShownDuration},
    plugin::{
        Activity, CommandProtocol, Description, Guard, Interrupt, Moment, Plugin, child::Helper,
    },
    run::stop::unanswered,
};

/// How long a plugin may take to describe itself, its start function included.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// What schemas are for.
pub(super) const CONFIGURATION: &str = "configuration";
pub(super) const INPUT: &str = "input";

/// Why a plugin cannot be called as it is to be; completes the sentence "plugin … cannot be used".
#[derive(Debug, Error)]
pub enum UnfitError {
    /// It does not say what it is.
    #[error(
        "its `describe` gave no answer within {}",
        ShownDuration(DESCRIBE_TIMEOUT)
    )]
    Silent,
    /// It cannot say what it is.
    #[error("its `describe` failed: {0}")]
    Describe(String),
    /// What it says of configurations or inputs cannot be understood.
    #[error("its schema of the {what} is not a valid JSON Schema: {reason}")]
    Schema {
        /// What the schema is for.
        what: &'static str,
        /// Why it is none.
        reason: String,
    },
    /// What it says of configurations or inputs explodes when it is evaluated.
    #[error("its schema of the {what} {reason}")]
    Costly {
        /// What the schema is for.
        what: &'static str,
        /// What it takes, as the end of a sentence.
        reason: String,
    },
    /// The process that evaluates schemas cannot be run.
    #[error("the {what} cannot be checked against its schema: {reason}")]
    Unchecked {
        /// What the schema is for.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// A stop came first.
    #[error("it was stopped")]
    Stopped,
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
    protocol: CommandProtocol,
    limits: Limits,
    guests: &Handle,
    interrupt: &Interrupt,
) -> Result<Option<Description>, UnfitError> {
    let guard = Guard {
        deadline: Moment::now() + DESCRIBE_TIMEOUT,
        interrupt: interrupt.clone(),
        memory: None,
        activity: Activity::default(),
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
///
/// # Errors
///
/// Fails if it does not fit the plugin's schema, or if that is of no use.
pub async fn check_config(
    description: &Description,
    config: &Value,
    helper: &Helper,
    interrupt: &Interrupt,
) -> Result<(), UnfitError> {
    let schema = description.config_schema.as_ref();
    let errors = check_one(CONFIGURATION, schema, config, helper, interrupt).await?;
    errors.map_or(Ok(()), |errors| Err(UnfitError::Config(errors)))
}

/// Checks a single input.
///
/// # Errors
///
/// Fails if it does not fit the plugin's schema, or if that is of no use.
pub async fn check_input(
    description: &Description,
    input: &Value,
    helper: &Helper,
    interrupt: &Interrupt,
) -> Result<(), UnfitError> {
    let schema = description.input_schema.as_ref();
    let errors = check_one(INPUT, schema, input, helper, interrupt).await?;
    errors.map_or(Ok(()), |errors| Err(UnfitError::Input(errors)))
}

async fn check_one(
    what: &'static str,
    schema: Option<&Value>,
    value: &Value,
    helper: &Helper,
    interrupt: &Interrupt,
) -> Result<Option<String>, UnfitError> {
    let Some(schema) = schema else {
        return Ok(None);
    };
    if is_empty(value) && allows_no_key(schema) {
        return Ok(None);
    }
    let unfit = |broken| UnfitError::of(what, broken);
    let mut check = SchemaCheck::new(schema).map_err(unfit)?;
    check.add(what, &value.to_string()).map_err(unfit)?;
    let wrong = check.finish(helper, interrupt).await.map_err(unfit)?;
    Ok(wrong.named.into_iter().next().map(|(_, errors)| errors))
}

/// Tells whether a schema is that of providers without a configuration, as the SDK writes it. Most of them are called with
/// none, and to learn that it fits would take an evaluator, whose first use costs a millisecond.
fn allows_no_key(schema: &Value) -> bool {
    *schema == json!({"type": "object", "additionalProperties": false})
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

impl UnfitError {
    pub(super) fn of(what: &'static str, broken: Broken) -> Self {
        match broken {
            Broken::Invalid(reason) => Self::Schema { what, reason },
            Broken::Costly(reason) => Self::Costly { what, reason },
            Broken::Unchecked(reason) => Self::Unchecked { what, reason },
            Broken::Stopped => Self::Stopped,
        }
    }
}
