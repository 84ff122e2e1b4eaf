//! Plugins called by the engine in this process, without the program around them.

mod calls;
mod filesystem;
mod network;
