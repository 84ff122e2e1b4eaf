//! Hidden children that call no plugin.

pub mod command;
pub mod compile;
pub mod post;
