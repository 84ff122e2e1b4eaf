//! Providers are made ready: plugins are linked, asked what they are, and checked against configurations and inputs.

mod error;
mod fit;
mod link;
mod requests;
pub(super) mod schema;
pub(super) mod schema_cost;

pub(super) use self::link::ReadyPlugins;
pub use self::{
    error::ReadyError,
    fit::{UnfitError, check_config, check_input, describe},
    requests::not_granted,
    schema::{SCHEMA_ARGUMENT, schema_child},
};
