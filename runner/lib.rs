//! Runs lists of tests against sandboxed WASM providers.

pub mod cli;
pub mod commands;
pub mod model;
pub mod scenario;
pub mod plugin;
pub mod run;
pub mod record;
pub mod output;
pub mod error;
