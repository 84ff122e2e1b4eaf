//! What authors do with a plugin, and how the plugins of a scenario are found: build, look into, list the tools of, create.

mod bench;
mod build;
mod create;
mod file;
mod inspect;
mod tools;

pub(super) use bench::Bench;
pub use bench::Interruptible;
pub use build::{Build, build_plugin};
pub(super) use build::{find, find_graders};
pub use create::{CreatePlugin, CreatedPlugin, create_plugin};
pub(super) use file::plugin_file;
pub use inspect::inspect_plugin;
pub use tools::list_tools;
