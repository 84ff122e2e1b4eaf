//! Runs that nothing disturbs: what they record, and what is said of them.

mod attachments;
mod basic;
mod commands;
mod expectations;
mod files;
mod grants;
mod matrix;
mod outcomes;
mod retries;
mod reuse;
mod selection;
