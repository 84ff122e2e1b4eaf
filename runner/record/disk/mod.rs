//! The names of all files, and how one is opened, locked, replaced and made to survive a loss of power.

pub(super) mod durable;
pub(super) mod layout;
pub(super) mod lock;
pub(super) mod machine;
pub(super) mod modes;
pub(crate) mod regular;
pub(super) mod stamp;
