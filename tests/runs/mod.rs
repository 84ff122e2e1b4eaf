//! Undisturbed runs: their records and their output.

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
mod ids;
mod matrix;
mod matrix_files;
mod outcomes;
mod rescore;
mod reuse;
mod selection;
mod vars;
