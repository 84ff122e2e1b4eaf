//! Files of preview 1: wasmtime's functions, with checks and a count of all writes before them.

use wasmtime::{Caller, Linker};
use wasmtime_wasi::p1::{types::Errno, wasi_snapshot_preview1 as original};

use super::guest::{Charge, Effect, Guest, fits, pointer};
use super::{quota::ENTRY, readdir};
use crate::store::Sandbox;

const MODULE: &str = "wasi_snapshot_preview1";

/// Replaces a function of wasmtime, after charging its cost.
macro_rules! counted {
    ($linker:ident, $name:ident($($argument:ident: $type:ty),*), |$guest:ident| $charge:expr) => {
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, Sandbox>, ($($argument,)*): ($($type,)*)| {
                Box::new(async move {
                    let mut $guest = Guest::from_caller(&mut caller)?;
                    let charge: Result<Charge, Errno> = $charge;
                    let charge = match charge {
                        Ok(charge) => charge,
                        Err(errno) => return Ok(errno as i32),
                    };
                    $guest.refuel();
                    let wasi = &mut $guest.sandbox.wasi;
                    let memory = &mut $guest.memory;
                    let errno = original::$name(wasi, memory, $($argument),*).await?;
                    $guest.settle(&charge, errno);
                    Ok(errno)
                })
            },
        )?;
    };
}

/// Replaces wasmtime's functions, which must be in the linker already, by counting ones.
///
/// `fd_allocate` needs no counting, because wasmtime does not support it.
pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    counted!(linker, fd_write(fd: i32, iovs: i32, count: i32, out: i32), |guest| {
        guest.charge_write(fd, iovs, count, None)
    });
    counted!(linker, fd_pwrite(fd: i32, iovs: i32, count: i32, offset: i64, out: i32), |guest| {
        guest.charge_write(fd, iovs, count, Some(offset.cast_unsigned()))
    });
    counted!(linker, fd_filestat_get(fd: i32, out: i32), |guest| guest.attributes(fd, None, out));
    counted!(linker, fd_filestat_set_size(fd: i32, size: i64), |guest| {
        guest.charge_size(fd, size.cast_unsigned())
    });
    counted!(linker, fd_filestat_set_times(fd: i32, at: i64, mt: i64, flags: i32), |guest| {
        guest.set_open_times(fd, at, mt, flags).await
    });
    counted!(linker, fd_close(fd: i32), |guest| guest.effect(fd, Effect::Close { fd }));
    counted!(linker, fd_renumber(fd: i32, to: i32), |guest| {
        guest.effect(fd, Effect::Renumber { fd, to })
    });
    counted!(
        linker,
        path_open(
            fd: i32, lookup: i32, path: i32, length: i32, open: i32,
            rights: i64, inheriting: i64, flags: i32, out: i32
        ),
        |guest| guest.charge_open(fd, lookup, pointer(path, length), open, rights, out).await
    );
    counted!(linker, path_create_directory(fd: i32, path: i32, length: i32), |guest| {
        guest.change(fd, pointer(path, length)).and_then(|()| guest.charge_folder())
    });
    counted!(linker, path_remove_directory(fd: i32, path: i32, length: i32), |guest| {
        guest.change(fd, pointer(path, length)).and_then(|()| guest.effect(fd, Effect::RemoveFolder))
    });
    counted!(linker, path_unlink_file(fd: i32, path: i32, length: i32), |guest| {
        guest.unlink(fd, pointer(path, length)).await
    });
    counted!(
        linker,
        path_rename(
            fd: i32, path: i32, length: i32, new_fd: i32, new_path: i32, new_length: i32
        ),
        |guest| {
            guest.rename(fd, pointer(path, length), new_fd, pointer(new_path, new_length)).await
        }
    );
    counted!(
        linker,
        path_link(
            fd: i32, lookup: i32, path: i32, length: i32,
            new_fd: i32, new_path: i32, new_length: i32
        ),
        |guest| {
            let (path, new_path) = (pointer(path, length), pointer(new_path, new_length));
            guest.link(fd, lookup, path, new_fd, new_path).await
        }
    );
    counted!(
        linker,
        path_symlink(target: i32, target_length: i32, fd: i32, path: i32, length: i32),
        |guest| {
            fits(target_length)
                .and_then(|()| guest.change(fd, pointer(path, length)))
                .and_then(|()| guest.charge(ENTRY))
        }
    );
    counted!(
        linker,
        path_filestat_get(fd: i32, lookup: i32, path: i32, length: i32, out: i32),
        |guest| guest.attributes(fd, Some((lookup, pointer(path, length))), out)
    );
    counted!(
        linker,
        path_filestat_set_times(
            fd: i32, lookup: i32, path: i32, length: i32, at: i64, mt: i64, flags: i32
        ),
        |guest| guest.set_times(fd, lookup, pointer(path, length), at, mt, flags).await
    );
    linker.func_wrap_async(
        MODULE,
        "fd_readdir",
        |mut caller: Caller<'_, Sandbox>,
         (fd, buffer, length, cookie, out): (i32, i32, i32, i64, i32)| {
            Box::new(async move {
                let guest = Guest::from_caller(&mut caller)?;
                let Guest { mut memory, sandbox, .. } = guest;
                match readdir::fill(sandbox, &mut memory, fd, buffer, length, cookie, out).await? {
                    Some(errno) => Ok(errno),
                    // wasmtime returns the right error for a number that is not a folder.
                    None => {
                        let wasi = &mut sandbox.wasi;
                        original::fd_readdir(wasi, &mut memory, fd, buffer, length, cookie, out)
                            .await
                    }
                }
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
