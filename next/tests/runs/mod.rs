//! Runs that nothing disturbs: what they record, and what is said of them.

mod basic;
mod commands;
mod outcomes;
mod retries;
mod selection;
