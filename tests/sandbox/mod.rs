//! What guests are granted in runs, and what bounds them.

mod files;
mod folders;
mod grants;
#[cfg(target_os = "linux")]
mod host_bounds;
mod network;
mod plugin_bombs;
mod plugin_schemas;
mod secrets;
