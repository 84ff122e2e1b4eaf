//! Bounds on the texts of `wasi:http`'s requests: the host keeps them until the guest sends or drops the request, of which it
//! may have hundreds, and none of them is looked at by the policy before.

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{
    WasiHttpView as _,
    p2::{
        bindings::http::types::{HostOutgoingRequest as _, Method},
        types::HostOutgoingRequest as Request,
    },
};

use super::outbound::MAX_METHOD_BYTES;
use crate::plugin::sandbox::store::Sandbox;

/// The interface, in the version that wasmtime's own functions have.
const TYPES: &str = "wasi:http/types@0.2.12";
/// Bytes of a host and a port, with room for what the policy refuses with a reason.
const MAX_AUTHORITY_BYTES: usize = 1024;
/// Bytes of a path and a query. Servers take 8 KiB.
const MAX_PATH_BYTES: usize = 8 * 1024;

type Set = Result<(), ()>;
type StoreMut<'a> = StoreContextMut<'a, Sandbox>;

/// Puts functions that refuse what is too long in the place of wasmtime's. A scheme has 64 bytes at most as it is.
pub(in crate::plugin) fn shadow(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreMut<'_>, (request, method): (Resource<Request>, Method)| {
            let set: Set = match &method {
                Method::Other(text) if text.len() > MAX_METHOD_BYTES => Err(()),
                _ => store.data_mut().http().set_method(request, method)?,
            };
            Ok((set,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreMut<'_>, (request, authority): (Resource<Request>, Option<String>)| {
            let set: Set = if is_longer(&authority, MAX_AUTHORITY_BYTES) {
                Err(())
            } else {
                store.data_mut().http().set_authority(request, authority)?
            };
            Ok((set,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreMut<'_>, (request, path): (Resource<Request>, Option<String>)| {
            let set: Set = if is_longer(&path, MAX_PATH_BYTES) {
                Err(())
            } else {
                store.data_mut().http().set_path_with_query(request, path)?
            };
            Ok((set,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn is_longer(text: &Option<String>, most: usize) -> bool {
    text.as_ref().is_some_and(|text| text.len() > most)
}
