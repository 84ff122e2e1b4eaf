//! What tests share.

#[expect(dead_code, reason = "the benchmark of hostile plugins needs the rest")]
pub(crate) mod bombs;
pub(crate) mod endless;
pub(crate) mod engine;
pub(crate) mod files;
pub(crate) mod fresh;
pub(crate) mod guests;
pub(crate) mod masks;
pub(crate) mod pages;
pub(crate) mod peak;
#[cfg(debug_assertions)]
pub(crate) mod power;
pub(crate) mod processes;
pub(crate) mod random;
pub(crate) mod rows;
pub(crate) mod runner;
pub(crate) mod server;
pub(crate) mod spans;
pub(crate) mod terminal;
pub(crate) mod truth;
pub(crate) mod wait;
pub(crate) mod web;
