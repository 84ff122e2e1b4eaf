//! Preview 1's files with everything that is written counted: wasmtime's own functions, behind checks of ours.

use wasmtime::{AsContextMut as _, Caller, Extern, Linker};
use wasmtime_wasi::p1::{
    types::{Errno, Fd, Filestat, Filetype, Lookupflags, Oflags},
    wasi_snapshot_preview1::{self as original, WasiSnapshotPreview1 as _},
};
use wiggle::{GuestMemory, GuestPtr};

use super::quota::{ENTRY, Quota, cost};
use crate::plugin::sandbox::Sandbox;

const MODULE: &str = "wasi_snapshot_preview1";

/// Puts a function that first takes what it costs in the place of wasmtime's of the same name.
macro_rules! counted {
    ($linker:ident, $name:ident($($argument:ident: $type:ty),*), |$guest:ident| $charge:expr) => {
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            |mut caller: Caller<'_, Sandbox>, ($($argument,)*): ($($type,)*)| {
                Box::new(async move {
                    let mut $guest = Guest::of(&mut caller)?;
                    let charge: Result<Charge, Errno> = $charge;
                    let charge = match charge {
                        Ok(charge) => charge,
                        Err(errno) => return Ok(errno as i32),
                    };
                    $guest.refuel();
                    let (wasi, memory) = (&mut $guest.sandbox.wasi, &mut $guest.memory);
                    let errno = original::$name(wasi, memory, $($argument),*).await?;
                    $guest.settle(charge, errno);
                    Ok(errno)
                })
            },
        )?;
    };
}

/// Puts the counting functions in the place of wasmtime's.
///
/// `fd_allocate` needs none: wasmtime does not support it.
pub(super) fn shadow(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    counted!(linker, fd_write(fd: i32, iovs: i32, count: i32, out: i32), |guest| {
        let offset = guest.position(fd);
        guest.charge_write(fd, (iovs, count), offset).await
    });
    counted!(linker, fd_pwrite(fd: i32, iovs: i32, count: i32, offset: i64, out: i32), |guest| {
        guest.charge_write(fd, (iovs, count), offset.cast_unsigned()).await
    });
    counted!(linker, fd_filestat_set_size(fd: i32, size: i64), |guest| {
        guest.charge_size(fd, size.cast_unsigned()).await
    });
    counted!(
        linker,
        path_open(
            fd: i32, lookup: i32, path: i32, length: i32, open: i32,
            rights: i64, inheriting: i64, flags: i32, out: i32
        ),
        |guest| guest.charge_open(fd, lookup, (path, length), open).await
    );
    counted!(linker, path_create_directory(fd: i32, path: i32, length: i32), |guest| {
        guest.charge(ENTRY, 0)
    });
    counted!(
        linker,
        path_link(
            fd: i32, lookup: i32, path: i32, length: i32,
            new_fd: i32, new_path: i32, new_length: i32
        ),
        |guest| guest.charge(ENTRY, 0)
    );
    counted!(
        linker,
        path_symlink(target: i32, target_length: i32, fd: i32, path: i32, length: i32),
        |guest| guest.charge(ENTRY, 0)
    );
    linker.allow_shadowing(false);
    Ok(())
}

/// A guest that has called, as wasmtime's functions want to see it.
struct Guest<'a> {
    memory: GuestMemory<'a>,
    sandbox: &'a mut Sandbox,
    /// Bytes that one call may copy.
    fuel: usize,
}

/// What was taken from a quota for a call.
#[derive(Clone, Copy)]
struct Charge {
    cost: u64,
    bytes: u64,
}

impl<'a> Guest<'a> {
    fn of(caller: &'a mut Caller<'_, Sandbox>) -> wasmtime::Result<Self> {
        let fuel = caller.as_context_mut().hostcall_fuel();
        // The host knows no shared memories.
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
            wasmtime::bail!("missing required memory export");
        };
        let (memory, sandbox) = memory.data_and_store_mut(caller);
        let mut guest = Self {
            memory: GuestMemory::Unshared(memory),
            sandbox,
            fuel,
        };
        guest.refuel();
        Ok(guest)
    }

    /// What a call may copy is counted anew for each.
    fn refuel(&mut self) {
        self.sandbox.wasi.set_hostcall_fuel(self.fuel);
    }

    fn quota(&self) -> Option<&Quota> {
        self.sandbox.quota.as_ref()
    }

    fn charge(&self, cost: u64, bytes: u64) -> Result<Charge, Errno> {
        match self.quota() {
            Some(quota) if !quota.charge(cost) => Err(Errno::Nospc),
            _ => Ok(Charge { cost, bytes }),
        }
    }

    fn settle(&self, charge: Charge, errno: i32) {
        let Some(quota) = self.quota() else {
            return;
        };
        match errno == Errno::Success as i32 {
            true => quota.wrote(charge.bytes),
            false => quota.refund(charge.cost),
        }
    }

    async fn charge_write(
        &mut self,
        fd: i32,
        iovs: (i32, i32),
        offset: u64,
    ) -> Result<Charge, Errno> {
        let bytes = self.first_buffer(iovs);
        match self.file(fd).await {
            // Where the file is in append mode, this is never less than the bytes.
            Some(file) => self.charge(cost(bytes, offset, file.size), bytes),
            None => self.charge(0, 0),
        }
    }

    async fn charge_size(&mut self, fd: i32, size: u64) -> Result<Charge, Errno> {
        let file = self.file(fd).await;
        let growth = file.map_or(0, |file| size.saturating_sub(file.size));
        self.charge(growth, 0)
    }

    async fn charge_open(
        &mut self,
        fd: i32,
        lookup: i32,
        path: (i32, i32),
        open: i32,
    ) -> Result<Charge, Errno> {
        match self.stat(fd, lookup, path).await {
            Some(found) => match found.filetype {
                Filetype::RegularFile | Filetype::Directory | Filetype::SymbolicLink => {
                    self.charge(0, 0)
                }
                // Opening a pipe waits for whoever has its other end, on a thread that nothing can call back.
                _ => Err(Errno::Perm),
            },
            None if open & i32::from(Oflags::CREAT.bits()) != 0 => self.charge(ENTRY, 0),
            None => self.charge(0, 0),
        }
    }

    /// How many bytes a write takes: it writes the first buffer that is not empty.
    ///
    /// What cannot be read here cannot be read by the write either, which then ends the guest.
    fn first_buffer(&self, (start, count): (i32, i32)) -> u64 {
        let start = u64::from(start.cast_unsigned());
        let lengths = (0..u64::from(count.cast_unsigned())).map_while(|index| {
            let address = u32::try_from(start + index * 8 + 4).ok()?;
            self.memory.read(GuestPtr::<u32>::new(address)).ok()
        });
        let first = lengths.into_iter().find(|length| *length > 0);
        u64::from(first.unwrap_or(0))
    }

    /// Where the next byte goes; what has no place has none.
    fn position(&mut self, fd: i32) -> u64 {
        let (wasi, memory) = (&mut self.sandbox.wasi, &mut self.memory);
        wasi.fd_tell(memory, Fd::from(fd)).unwrap_or(0)
    }

    /// The file `fd`, if it is one whose bytes count.
    async fn file(&mut self, fd: i32) -> Option<Filestat> {
        self.quota()?;
        let (wasi, memory) = (&mut self.sandbox.wasi, &mut self.memory);
        let stat = wasi.fd_filestat_get(memory, Fd::from(fd)).await.ok()?;
        // Standard output and error have limits of their own.
        (stat.dev != 0).then_some(stat)
    }

    async fn stat(&mut self, fd: i32, lookup: i32, path: (i32, i32)) -> Option<Filestat> {
        let path = (path.0.cast_unsigned(), path.1.cast_unsigned());
        let lookup = Lookupflags::try_from(lookup).ok()?;
        let (wasi, memory) = (&mut self.sandbox.wasi, &mut self.memory);
        let stat = wasi.path_filestat_get(memory, Fd::from(fd), lookup, GuestPtr::new(path));
        stat.await.ok()
    }
}
