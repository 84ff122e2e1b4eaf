//! Runs that nothing disturbs: what they record, and what is said of them.

mod basic;
mod commands;
mod matrix;
mod outcomes;
mod retries;
mod selection;
