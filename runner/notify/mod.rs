//! Telling somebody outside of the program: a request to an address of HTTP, or a program that is started.
//!
//! Nothing here knows runs or files. What is told is bytes, whom it is told is plain values, and every attempt is bounded.

mod backoff;
mod delivery;
mod program;
mod signature;
mod telling;
mod webhook;

pub use delivery::Delivery;
pub use program::NotifiedProgram;
pub use telling::{Recipient, Telling, tell_all};
pub use webhook::{Address, Message};
