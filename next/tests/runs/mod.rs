//! Undisturbed runs: their records and their output.

mod attachments;
mod basic;
mod commands;
mod expectations;
mod files;
mod flags;
mod grade_attacks;
mod graders;
mod grants;
mod graders_bounds;
mod matrix;
mod outcomes;
mod rescore;
mod retries;
mod reuse;
mod selection;
