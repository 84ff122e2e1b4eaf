//! Hidden children that call no plugin.

pub mod compile;
pub mod post;
