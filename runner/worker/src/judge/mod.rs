//! Judges the end of an attempt by the test's `expect`. Executes no foreign code.

mod cache;
mod checks;
mod diff;
mod json;
mod outcome;
mod rejudge;

pub use self::cache::{CompiledCache, SharedSchema};
pub use self::json::{max_tree_bytes, tree_bytes};
pub use self::{checks::Evidence, outcome::judge, rejudge::rejudge};

#[cfg(test)]
#[path = "../tests/judge.rs"]
mod tests;
