//! Runs lists of tests against sandboxed WASM providers.

pub mod model;
pub mod plugin;
pub mod record;
pub mod run;
pub mod scenario;
