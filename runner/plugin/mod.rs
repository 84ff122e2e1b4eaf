//! Plugins: from a `.wasm` file to calls in a sandbox. The only room that knows wasmtime.
//!
//! [`PluginFile::read`] looks at a file, [`Engine::link`] compiles it (in a child process, once) and checks that
//! everything it imports is there, [`Plugin::run`] runs one attempt in a fresh store, and [`Plugin::run_in`] in one that
//! served attempts before. Whatever a guest does is an [`Ending`], never an `Err` and never a panic.

mod access;
mod activity;
mod budget;
mod call;
pub mod child;
pub mod clock;
mod code;
mod contract;
mod denied;
mod engine;
mod failure;
mod fs;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod host_fault;
mod interrupt;
mod link;
mod linked;
mod listener;
mod memory;
mod net;
mod redact;
mod sandbox;
mod secrets;

pub use access::Access;
pub use activity::{Activity, Doing};
pub use budget::{MemoryBudget, MemoryLease};
pub use call::{
    description::Description,
    ended::{Ended, Ending, Reply},
    instance::{Instance, TEARDOWN_TIME},
    request::{AttachmentSource, Call, CommandProtocol, Invocation, StdoutForm},
};
pub use clock::Moment;
pub use code::{
    compile::{COMPILE_ARGUMENT, CompileError, LOAD_ARGUMENT, compile_child, load_child},
    file::{PluginContent, PluginFile, PluginFileError},
    pool::SandboxPool,
    sniff::{CommandForm, Kind},
    sniff_error::SniffError,
    surface::{Import, Surface},
    version::ContractVersion,
};
pub use engine::{ENGINE, Engine, EngineError, EngineOptions};
pub use fs::{
    descriptors::raise_open_files,
    folder::{is_private_folder, sweep_folders},
    mount::Mount,
    way::Way,
};
pub use host_fault::{fault_error, fault_of};
pub use interrupt::{Guard, Interrupt};
pub use link::LinkError;
pub use linked::{Compiled, Plugin};
pub use listener::{Heard, Listener};
pub use memory::most_of_the_memory;
pub use net::network::Network;
pub use sandbox::{
    artifacts::unkept,
    contain::panic_text,
    spool::{Extents, Spool, Spooled},
};
pub use secrets::Secrets;
