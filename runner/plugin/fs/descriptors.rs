//! How many files guests, and the runner for them, may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{
    filesystem::Descriptor,
    p2::{DynInputStream, DynOutputStream},
};

use super::{listing::Listing, refused::denied};
use crate::model::Denied;

/// Files and folders that one guest may have open at once, those included that it is granted and that it reads names of. A process has a
/// thousand or a few for all of its attempts.
const MAX_OPEN: usize = 128;
/// Streams beside them, each of which may be all that keeps a file open.
const MAX_STREAMS: usize = 128;

/// Lets this process open as many files as it may, which is often many times what it starts with: every attempt that
/// runs holds some. Where that fails, it stays as it is.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("cannot open more than {:?} files: {error}", limit.current);
    }
}

/// Tells whether a guest has as many files open as it may.
pub(super) fn is_full(table: &mut ResourceTable) -> bool {
    let (mut open, mut streams) = (0, 0);
    for entry in table.iter_mut() {
        if entry.is::<Descriptor>() || entry.is::<Listing>() {
            open += 1;
        } else if entry.is::<DynInputStream>() || entry.is::<DynOutputStream>() {
            streams += 1;
        }
    }
    open >= MAX_OPEN || streams >= MAX_STREAMS
}

/// What a guest tried that has everything open that it may.
pub(super) fn too_many() -> Denied {
    denied(format!("having more than {MAX_OPEN} files open at once"))
}
