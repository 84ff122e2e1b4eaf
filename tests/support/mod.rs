//! What tests share.

pub(crate) mod endless;
pub(crate) mod fresh;
pub(crate) mod guests;
pub(crate) mod runner;
pub(crate) mod server;
pub(crate) mod spans;
pub(crate) mod truth;
