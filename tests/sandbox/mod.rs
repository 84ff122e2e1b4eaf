//! What guests are granted in runs, and what bounds them.

mod files;
mod network;
