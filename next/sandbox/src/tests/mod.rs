//! Calls of guests from end to end: compiled, loaded from a cache, called.

mod bounds;
mod calls;
mod ends;
mod entries;
mod files;
mod fresh;
mod limits;
mod support;
