//! Bad input in every place: the message, the exit code, and that no run is left.

mod folders;
mod list_plugins;
mod lists;
mod numbers;
mod plugins;
mod project;
mod scenarios;
mod secrets;
mod tools;
mod validate;
mod workspaces;
