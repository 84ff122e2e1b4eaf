//! From a plugin's file to code that can be instantiated: what the file is and holds is told before anything else is done
//! with it, a child process compiles it, and a cache keeps what comes of that.

pub(super) mod artefact;
pub(super) mod bounds;
mod bundled;
pub(super) mod cache;
pub(super) mod compile;
pub(super) mod config;
pub(super) mod file;
pub(super) mod footprint;
pub(super) mod offered;
pub(super) mod pool;
mod private;
pub(super) mod sniff;
pub(super) mod sniff_error;
pub(super) mod surface;
pub(super) mod version;
