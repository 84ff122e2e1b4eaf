//! One run: its manifest, its owner, and requests to the owner.

pub(crate) mod control;
pub(crate) mod folder;
pub(crate) mod labels;
pub(crate) mod live;
pub(crate) mod manifest;
pub(crate) mod merge;
pub(crate) mod new_run;
pub(crate) mod notifications;
pub(crate) mod owned;
pub(crate) mod requests;
pub(crate) mod run_dir;
pub(crate) mod run_head;
pub(crate) mod truth;
pub(crate) mod verify;
