//! Calls of guests from end to end: compiled, loaded from a cache, called.

mod calls;
mod support;
