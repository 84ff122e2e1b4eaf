//! What stands around guests: what they are granted, and what code that got out of its sandbox finds closed.

#[cfg(debug_assertions)]
mod attacks;
mod compiling;
mod files;
mod judging;
mod kinds;
mod network;
mod secrets;
mod wall;
mod wasi;
