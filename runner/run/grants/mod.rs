//! What a scenario grants becomes what attempts get, and folders that would give a guest more than that are refused.

mod access;
mod filesystems;
mod folders;
mod locations;

pub(super) use self::access::{idle, stored_mounts};
pub use self::{
    access::{Environment, mounts, secret_names, secrets},
    folders::{FolderError, Protected, check_folders},
};
