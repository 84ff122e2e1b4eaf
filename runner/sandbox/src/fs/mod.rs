//! Files of guests. [`AttemptFiles`] mounts granted folders and the attempt's private folder;
//! `preview1` and `preview2` count every write against a [`Quota`](quota::Quota).

mod attempt_files;
mod counted;
mod descriptors;
mod folders;
mod guest;
mod leftovers;
mod link_times;
mod listing;
pub(crate) mod preview1;
pub(crate) mod preview2;
pub(crate) mod quota;
mod readdir;
mod removal;
mod streams;
mod system;

pub(crate) use self::attempt_files::AttemptFiles;
pub(crate) use self::{descriptors::Descriptors, folders::Role, link_times::LinkTimes};
