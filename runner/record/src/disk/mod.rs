//! Paths, files and locks. Nothing here knows a run.

pub(crate) mod beneath;
pub(crate) mod checked_file;
pub(crate) mod content_store;
pub(crate) mod durable;
pub(crate) mod error;
pub(crate) mod fault;
pub(crate) mod layout;
pub(crate) mod lock;
pub(crate) mod owner;
pub(crate) mod permissions;
pub(crate) mod plugin_cache;
pub(crate) mod removal;
pub(crate) mod scratch;
