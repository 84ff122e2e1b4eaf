//! Calls of guests from end to end: compiled, loaded from a cache, called.

mod bounds;
mod calls;
mod components;
mod contracts;
mod deterministic;
mod ends;
mod entries;
mod files;
mod fresh;
mod kept;
mod limits;
pub(crate) mod random;
mod support;
mod tool_time;
mod tools;
