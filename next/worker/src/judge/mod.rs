//! Judges how an attempt ended by the test's `expect`. Executes no foreign code.

mod cache;
mod checks;
mod diff;
mod json;
mod outcome;
mod rejudge;

pub use self::{
    cache::{CompiledCache, SharedSchema},
    checks::Evidence,
    json::{max_tree_bytes, tree_bytes},
    outcome::judge,
    rejudge::rejudge,
};

#[cfg(test)]
#[path = "../tests/judge.rs"]
mod tests;
