//! Helpers of the tests. They do not use the program's own code, so they cannot repeat its mistakes.

pub(crate) mod cases;
mod contract;
pub(crate) mod guests;
pub(crate) mod http;
pub(crate) mod processes;
mod progress;
pub(crate) mod random;
pub(crate) mod run;
pub(crate) mod runner;
pub(crate) mod running;
pub(crate) mod server;
pub(crate) mod truth;
pub(crate) mod wait;
pub(crate) mod web;
