//! The sandbox from outside: grants, and the sandbox of workers against code that has escaped.

#[cfg(debug_assertions)]
mod attacks;
mod compiling;
mod files;
mod judging;
mod network;
mod secrets;
mod wall;
mod wasi;
mod workspaces;
