//! One call of a plugin: what goes into it, how a component or a command is called, and what came of that.

pub(super) mod classify;
mod collect;
pub(super) mod command;
pub(super) mod component;
pub(super) mod description;
pub(super) mod ended;
pub(super) mod instance;
pub(super) mod json_cost;
pub(super) mod lifecycle;
pub(super) mod protocol;
mod reply;
pub(super) mod request;
pub(super) mod symbol;
pub(super) mod trap_code;
