//! Plugins: from a `.wasm` file to calls in a sandbox. The only room that knows wasmtime.
//!
//! [`PluginFile::read`] looks at a file, [`Engine::link`] compiles it (in a child process, once) and checks that
//! everything it imports is there, [`Plugin::run`] runs one attempt in a fresh store, and [`Plugin::run_in`] in one that
//! served attempts before. Whatever a guest does is an
//! [`Ending`], never an `Err` and never a panic.

mod access;
mod artifacts;
mod bounds;
mod cache;
mod call;
pub mod child;
mod classify;
pub mod clock;
mod command;
mod compile;
mod component;
mod contract;
mod description;
mod engine;
mod file;
mod footprint;
mod fs;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod host;
mod instance;
mod interrupt;
mod io_error;
mod json_cost;
mod lacking;
mod lifecycle;
mod limits;
mod link;
mod listener;
mod memory;
mod net;
mod private;
mod protocol;
mod redact;
mod sandbox;
mod secrets;
mod sniff;
mod spool;
mod stdio;
mod surface;
mod symbol;
mod trap_code;
mod way;

pub use access::{Access, Mount};
pub use call::{
    AttachmentSource, Call, CommandProtocol, Description, Ended, Ending, Invocation, Reply,
    StdoutForm,
};
pub use clock::Moment;
pub use compile::{COMPILE_ARGUMENT, CompileError, LOAD_ARGUMENT, compile_child, load_child};
pub use engine::{ENGINE, Engine, EngineError, EngineOptions};
pub use file::{PluginContent, PluginFile, PluginFileError};
pub use fs::{is_private_folder, raise_open_files, sweep_folders};
pub use instance::{Instance, TEARDOWN_TIME};
pub use interrupt::{Guard, Interrupt};
pub use lacking::{fault_of, lacking};
pub use link::{Compiled, LinkError, Plugin};
pub use listener::{Heard, Listener};
pub use memory::most_of_the_memory;
pub use net::Network;
pub use sandbox::panic_text;
pub use secrets::Secrets;
pub use sniff::{CommandForm, ContractVersion, Kind, SniffError};
pub use surface::{Import, Surface};
pub use way::Way;
