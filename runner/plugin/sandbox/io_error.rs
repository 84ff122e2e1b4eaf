//! What a guest is told of an error of `wasi:io`: the message, and nothing of how the host came to it.

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::WasiView as _;

use super::store::Sandbox;
use crate::model::BoundedText;

/// The interface, in the version that wasmtime's own function has.
const ERROR: &str = "wasi:io/error@0.2.12";
/// Bytes of a message.
const MAX_BYTES: usize = 1024;

/// Puts a function that tells the message in the place of wasmtime's, which tells a backtrace of this process as well where
/// the environment asks for backtraces.
pub(in crate::plugin) fn shadow(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(ERROR)?.func_wrap(
        "[method]error.to-debug-string",
        |mut store: StoreContextMut<'_, Sandbox>, (error,): (Resource<wasmtime::Error>,)| {
            let error = store.data_mut().wasi.ctx().table.get(&error)?;
            Ok((BoundedText::of(MAX_BYTES, format_args!("{error:#}")),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
