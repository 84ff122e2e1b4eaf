//! Runs lists of tests against sandboxed WASM providers.
#![doc = ""]
#![doc = include_str!("ARCHITECTURE.md")]

pub mod cli;
pub mod commands;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod judge;
pub mod model;
pub mod output;
pub mod plugin;
pub mod record;
pub mod run;
pub mod scenario;
pub mod session;
pub mod toolchain;
pub mod view;
