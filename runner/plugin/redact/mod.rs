//! Takes the values of secrets out of what a guest has said, at the end of each call and before anybody else sees it.
//!
//! Expectations judge what is left, and that is what is stored and shown: what leaves `plugin` has no value of a secret in it.
//!
//! This is for accidents: a request that is logged, a header in an error. A guest that wants to tell a secret can always
//! write it in a form that nobody looks for.

mod artifacts;
pub(super) mod ended;
mod forms;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod listener;
mod names;
pub(super) mod redactor;
mod rests;
pub(super) mod stream;
mod values;

#[cfg(test)]
mod tests;
