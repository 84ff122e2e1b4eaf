//! The use cases: what can be done with scenarios and runs, for any program that asks for it.
//!
//! Requests are plain values, and so are answers. What happens on the way goes to an observer. Nothing here prints, reads a
//! command line or sleeps in a loop of its own: `commands` is one face of it, and a server or a program that embeds the
//! runner can be another, with the same calls and the same results.

mod asking;
mod cancel;
mod choose;
mod host;
mod notice;
mod observe;
mod stop;
#[cfg(test)]
mod testing;
mod wait;
mod waiting;

pub use cancel::{Cancel, Cancelling, cancel};
pub use choose::{only_incomplete, only_running};
pub use host::Host;
pub use notice::Notice;
pub use observe::Observe;
pub use stop::{Stop, StopAnswer, Stopped, Stopping, stop};
pub use wait::Wait;
pub use waiting::{POLL_EVERY, Waiting, block_on};
