//! Undisturbed runs: their records and their output.

mod attachments;
mod basic;
mod commands;
mod expectations;
mod files;
mod filters;
mod flags;
mod gate;
mod grade_attacks;
mod graders;
mod graders_bounds;
mod grants;
mod matrix;
mod outcomes;
mod rescore;
mod retries;
mod reuse;
mod selection;
mod vars;
