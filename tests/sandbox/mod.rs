//! The sandbox from outside: grants, and the sandbox of workers against code that has escaped.

#[cfg(debug_assertions)]
mod attacks;
mod compiling;
mod expected_workspaces;
mod files;
mod graded_workspaces;
mod judging;
mod network;
mod partial_grades;
mod secrets;
mod tools;
mod usage;
mod wall;
mod wasi;
mod wasi_0_3;
mod workspace_changes;
pub(crate) mod workspaces;
