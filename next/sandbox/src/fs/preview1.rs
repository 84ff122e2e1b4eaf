//! Files of preview 1: wasmtime's functions, with checks and a count of all writes before them.

use wasmtime::{AsContextMut as _, Caller, Extern, Linker};
use wasmtime_wasi::{
    WasiView as _,
    p1::{
        types::{Errno, Fd, Filestat, Filetype, Lookupflags, Oflags, Rights},
        wasi_snapshot_preview1::{self as original, WasiSnapshotPreview1 as _},
    },
};
use wiggle::{GuestMemory, GuestPtr};

use super::quota::{
    ENTRY, MAX_PATH_BYTES, Quota, cost, is_full, outside_folder, special_file, too_many_files,
};
use super::readdir;
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
                    let (wasi, memory) = (&mut $guest.sandbox.wasi, &mut $guest.memory);
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
        guest.charge_write(fd, iovs, count, None).await
    });
    counted!(linker, fd_pwrite(fd: i32, iovs: i32, count: i32, offset: i64, out: i32), |guest| {
        guest.charge_write(fd, iovs, count, Some(offset.cast_unsigned())).await
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
        |guest| match fits(length) {
            Ok(_) => guest.charge_open(fd, lookup, pointer(path, length), open, rights).await,
            refused => refused,
        }
    );
    counted!(linker, path_create_directory(fd: i32, path: i32, length: i32), |guest| {
        fits(length).and_then(|_| guest.charge_folder())
    });
    counted!(
        linker,
        path_link(
            fd: i32, lookup: i32, path: i32, length: i32,
            new_fd: i32, new_path: i32, new_length: i32
        ),
        |guest| fits(length.max(new_length)).and_then(|_| guest.charge(ENTRY))
    );
    counted!(
        linker,
        path_symlink(target: i32, target_length: i32, fd: i32, path: i32, length: i32),
        |guest| fits(length.max(target_length)).and_then(|_| guest.charge(ENTRY))
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
                    // wasmtime returns the right error for a number that is no folder.
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

/// Refuses a path that is longer than any, before it is copied.
fn fits(length: i32) -> Result<Charge, Errno> {
    match usize::try_from(length) {
        Ok(length) if length <= MAX_PATH_BYTES => Ok(Charge::default()),
        _ => Err(Errno::Nametoolong),
    }
}

fn pointer(start: i32, length: i32) -> GuestPtr<str> {
    GuestPtr::new((start.cast_unsigned(), length.cast_unsigned()))
}

/// A calling guest, in the form that wasmtime's functions need.
struct Guest<'a> {
    memory: GuestMemory<'a>,
    sandbox: &'a mut Sandbox,
    /// Bytes that one call may copy.
    fuel: usize,
}

/// The amount charged for one call.
#[derive(Default)]
struct Charge {
    cost: u64,
    bytes: u64,
    /// Whether a folder was charged, too.
    is_folder: bool,
    /// The path that the call opens for reading.
    reads: Option<String>,
}

impl<'a> Guest<'a> {
    fn from_caller(caller: &'a mut Caller<'_, Sandbox>) -> wasmtime::Result<Self> {
        let fuel = caller.as_context_mut().hostcall_fuel();
        // The host offers no shared memories.
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
            wasmtime::bail!("missing required memory export");
        };
        let (memory, sandbox) = memory.data_and_store_mut(caller);
        let mut guest = Self { memory: GuestMemory::Unshared(memory), sandbox, fuel };
        guest.refuel();
        Ok(guest)
    }

    /// Resets the bytes that one call may copy.
    fn refuel(&mut self) {
        self.sandbox.wasi.set_hostcall_fuel(self.fuel);
    }

    fn quota(&self) -> Option<&Quota> {
        self.sandbox.quota.as_ref()
    }

    fn charge(&self, cost: u64) -> Result<Charge, Errno> {
        match self.quota() {
            Some(quota) if !quota.charge(cost) => Err(Errno::Nospc),
            _ => Ok(Charge { cost, ..Charge::default() }),
        }
    }

    fn charge_folder(&self) -> Result<Charge, Errno> {
        match self.quota() {
            Some(quota) if !quota.charge_folder() => Err(Errno::Nospc),
            _ => Ok(Charge { is_folder: true, ..Charge::default() }),
        }
    }

    fn settle(&mut self, charge: &Charge, errno: i32) {
        match (&charge.reads, self.quota()) {
            (Some(path), _) if errno == Errno::Perm as i32 => {
                self.sandbox.host.deny(outside_folder(path), None);
            }
            (_, Some(quota)) if errno == Errno::Success as i32 => quota.add_written(charge.bytes),
            (_, Some(quota)) => {
                quota.refund(charge.cost);
                if charge.is_folder {
                    quota.refund_folder();
                }
                if errno == Errno::Nospc as i32 {
                    quota.set_disk_full();
                }
            }
            (_, None) => {}
        }
    }

    /// Charges a write at `offset`, or at the file's position.
    async fn charge_write(
        &mut self,
        fd: i32,
        iovs: i32,
        count: i32,
        offset: Option<u64>,
    ) -> Result<Charge, Errno> {
        let Some(file) = self.file(fd).await else {
            return Ok(Charge::default());
        };
        let bytes = self.first_buffer(iovs, count);
        let offset = offset.unwrap_or_else(|| self.position(fd));
        // In append mode this is never less than the bytes.
        let charge = self.charge(cost(bytes, offset, file.size))?;
        Ok(Charge { bytes, ..charge })
    }

    async fn charge_size(&mut self, fd: i32, size: u64) -> Result<Charge, Errno> {
        let file = self.file(fd).await;
        let growth = file.map_or(0, |file| size.saturating_sub(file.size));
        self.charge(growth)
    }

    async fn charge_open(
        &mut self,
        fd: i32,
        lookup: i32,
        path: GuestPtr<str>,
        open: i32,
        rights: i64,
    ) -> Result<Charge, Errno> {
        if is_full(self.sandbox.wasi.ctx().table) {
            self.sandbox.host.deny(too_many_files(), None);
            return Err(Errno::Mfile);
        }
        let found = self.stat(fd, lookup, path).await;
        let is_special = found.as_ref().is_some_and(|found| {
            !matches!(
                found.filetype,
                Filetype::RegularFile | Filetype::Directory | Filetype::SymbolicLink
            )
        });
        if is_special {
            let path = self.text(path);
            self.sandbox.host.deny(special_file(&path), None);
            return Err(Errno::Perm);
        }
        let is_creating = open & i32::from(Oflags::CREAT.bits()) != 0;
        if is_creating && found.is_none() {
            return self.charge(ENTRY);
        }
        let is_reading = open & !i32::from(Oflags::DIRECTORY.bits()) == 0
            && rights.cast_unsigned() & Rights::FD_WRITE.bits() == 0;
        // A path that was found is inside the folder.
        let reads = (is_reading && found.is_none()).then(|| self.text(path));
        Ok(Charge { reads, ..Charge::default() })
    }

    /// Returns the bytes of a write: wasmtime writes only the first buffer that is not empty.
    ///
    /// If it is unreadable here, it is for the write as well, which then ends the guest.
    fn first_buffer(&self, iovs: i32, count: i32) -> u64 {
        let start = u64::from(iovs.cast_unsigned());
        let lengths = (0..u64::from(count.cast_unsigned())).map_while(|index| {
            let address = u32::try_from(start + index * 8 + 4).ok()?;
            self.memory.read(GuestPtr::<u32>::new(address)).ok()
        });
        let first = lengths.into_iter().find(|length| *length > 0);
        u64::from(first.unwrap_or(0))
    }

    /// Returns the position of the next write, or 0 if `fd` has none.
    fn position(&mut self, fd: i32) -> u64 {
        let (wasi, memory) = (&mut self.sandbox.wasi, &mut self.memory);
        wasi.fd_tell(memory, Fd::from(fd)).unwrap_or(0)
    }

    /// Returns the file `fd`, if its bytes are counted.
    async fn file(&mut self, fd: i32) -> Option<Filestat> {
        self.quota()?;
        let (wasi, memory) = (&mut self.sandbox.wasi, &mut self.memory);
        let stat = wasi.fd_filestat_get(memory, Fd::from(fd)).await.ok()?;
        // Standard output and error have their own limits.
        (stat.dev != 0).then_some(stat)
    }

    /// Reads a path from the guest's memory.
    fn text(&self, path: GuestPtr<str>) -> String {
        self.memory.as_cow_str(path).unwrap_or_default().into_owned()
    }

    async fn stat(&mut self, fd: i32, lookup: i32, path: GuestPtr<str>) -> Option<Filestat> {
        let lookup = Lookupflags::try_from(lookup).ok()?;
        let (wasi, memory) = (&mut self.sandbox.wasi, &mut self.memory);
        let stat = wasi.path_filestat_get(memory, Fd::from(fd), lookup, path);
        stat.await.ok()
    }
}
