//! The sandbox from outside: grants, and the sandbox of workers against code that has escaped.

#[cfg(debug_assertions)]
mod attacks;
mod bounds;
mod compiling;
mod files;
mod guest_files;
mod judging;
mod kinds;
mod network;
mod secrets;
mod wall;
mod wasi;
