//! The use cases: what can be done with scenarios and runs, for any program that asks for it.
//!
//! Requests are plain values, and so are answers. What happens on the way goes to an observer. Nothing here prints, reads a
//! command line or sleeps in a loop of its own: `commands` is one face of it, and a server or a program that embeds the
//! runner can be another, with the same calls and the same results.

mod host;

pub use host::Host;
