//! Files of guests. [`AttemptFiles`] mounts granted folders and the attempt's private folder;
//! `preview1` and `preview2` count every write against a [`Quota`](quota::Quota).

mod attempt_files;
mod folders;
mod leftovers;
mod listing;
pub(crate) mod preview1;
pub(crate) mod preview2;
pub(crate) mod quota;
mod readdir;
mod removal;
mod streams;
mod system;

pub(crate) use self::{attempt_files::AttemptFiles, folders::Role};
