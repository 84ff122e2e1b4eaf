//! To be filled.

pub mod source;
