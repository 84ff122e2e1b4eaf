//! [`Guest`]: the checks and charges of a guest's calls of preview 1.

use wasmtime::{AsContextMut as _, Caller, Extern, component::Resource};
use wasmtime_wasi::{
    WasiView as _,
    p1::{
        types::{Errno, Fd, Filestat, Filetype, Fstflags, Oflags, Rights},
        wasi_snapshot_preview1::WasiSnapshotPreview1 as _,
    },
    p2::{
        FsError, FsResult,
        bindings::filesystem::types::{HostDescriptor as _, NewTimestamp, PathFlags},
    },
};
use wiggle::{GuestMemory, GuestPtr};

use super::counted::{Counted, Handle, datetime};
use super::descriptors::{Link, Times};
use super::quota::{
    ENTRY, MAX_PATH_BYTES, Quota, cost, is_full, outside_folder, special_file, too_many_files,
};
use super::system::EntryKind;
use super::workspace::attempt::BaseAttributes;
use crate::store::Sandbox;

/// The flag of look-ups that follows a symbolic link at the end of a path.
const FOLLOW: i32 = 1;

/// Refuses a path that is longer than paths can be, before it is copied.
pub(super) fn fits(length: i32) -> Result<(), Errno> {
    match usize::try_from(length) {
        Ok(length) if length <= MAX_PATH_BYTES => Ok(()),
        _ => Err(Errno::Nametoolong),
    }
}

pub(super) fn pointer(start: i32, length: i32) -> GuestPtr<str> {
    GuestPtr::new((start.cast_unsigned(), length.cast_unsigned()))
}

/// A calling guest, in the form that wasmtime's functions need.
pub(super) struct Guest<'a> {
    pub(super) memory: GuestMemory<'a>,
    pub(super) sandbox: &'a mut Sandbox,
    /// Bytes that one call may copy.
    fuel: usize,
}

/// The amount charged for one call, and the correction after its result.
#[derive(Default)]
pub(super) struct Charge {
    cost: u64,
    bytes: u64,
    effect: Effect,
    /// The path that the call opens for reading.
    reads: Option<String>,
    /// The address to which the call writes attributes of a file of the workspace's base.
    base: Option<(i32, BaseAttributes)>,
}

/// A change that counts if the call succeeds.
#[derive(Default)]
pub(super) enum Effect {
    #[default]
    None,
    /// Charged before the call.
    CreateFolder,
    RemoveFolder,
    /// The call writes the new number to this address.
    Open {
        out: i32,
    },
    Close {
        fd: i32,
    },
    Renumber {
        fd: i32,
        to: i32,
    },
    /// The call writes attributes to this address, with the times of a link.
    ShowTimes {
        out: i32,
    },
    /// The call of a deterministic guest writes attributes to this address.
    Show {
        out: i32,
        time: u64,
        identity: u64,
    },
}

impl<'a> Guest<'a> {
    pub(super) fn from_caller(caller: &'a mut Caller<'_, Sandbox>) -> wasmtime::Result<Self> {
        let fuel = caller.as_context_mut().hostcall_fuel();
        // Only plain memories: shared ones need threads, which the engine does not have.
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
            wasmtime::bail!("missing required memory export");
        };
        let (memory, sandbox) = memory.data_and_store_mut(caller);
        let mut guest = Self { memory: GuestMemory::Unshared(memory), sandbox, fuel };
        guest.refuel();
        Ok(guest)
    }

    /// Resets the bytes that one call may copy.
    pub(super) fn refuel(&mut self) {
        self.sandbox.wasi.set_hostcall_fuel(self.fuel);
    }

    fn quota(&self) -> Option<&Quota> {
        self.sandbox.quota.as_ref()
    }

    pub(super) fn charge(&self, cost: u64) -> Result<Charge, Errno> {
        match self.quota() {
            Some(quota) if !quota.charge(cost) => Err(Errno::Nospc),
            _ => Ok(Charge { cost, ..Charge::default() }),
        }
    }

    pub(super) fn charge_folder(&self) -> Result<Charge, Errno> {
        match self.quota() {
            Some(quota) if !quota.charge_folder() => Err(Errno::Nospc),
            _ => Ok(Charge { effect: Effect::CreateFolder, ..Charge::default() }),
        }
    }

    /// Returns a charge of nothing, with an effect on `fd` or in it.
    pub(super) fn effect(&mut self, fd: i32, effect: Effect) -> Result<Charge, Errno> {
        // Now, because afterwards wasmtime has closed or moved the descriptor, and its file is unknown.
        self.counted(fd);
        Ok(Charge { effect, ..Charge::default() })
    }

    pub(super) fn settle(&mut self, charge: &Charge, errno: i32) {
        if errno == Errno::Success as i32 {
            if let Some(quota) = self.quota() {
                quota.add_written(charge.bytes);
            }
            if let Some((out, base)) = &charge.base {
                self.show_base(*out, base);
            }
            return self.apply(&charge.effect);
        }
        if let Some(path) = &charge.reads
            && errno == Errno::Perm as i32
        {
            self.sandbox.host.deny(outside_folder(path), None);
        }
        if let Some(quota) = self.quota() {
            quota.refund(charge.cost);
            if matches!(charge.effect, Effect::CreateFolder) {
                quota.remove_folder();
            }
            if [Errno::Nospc as i32, Errno::Fbig as i32].contains(&errno) {
                quota.set_disk_full();
            }
        }
    }

    fn apply(&mut self, effect: &Effect) {
        let Sandbox { wasi, descriptors, quota, .. } = &mut *self.sandbox;
        match *effect {
            Effect::None | Effect::CreateFolder => {}
            Effect::RemoveFolder => quota.iter().for_each(Quota::remove_folder),
            Effect::Open { out } => {
                if let Ok(number) = self.memory.read(GuestPtr::<u32>::new(out.cast_unsigned())) {
                    descriptors.add(wasi, number);
                }
            }
            Effect::Close { fd } => descriptors.remove(wasi, fd),
            Effect::Renumber { fd, to } => descriptors.renumber(wasi, fd, to),
            Effect::ShowTimes { out } => self.show_link_times(out),
            Effect::Show { out, time, identity } => self.show(out, time, identity),
        }
    }

    /// Returns a file or folder, and the checks of WASI 0.2 for it.
    fn counted(&mut self, fd: i32) -> Option<(Counted<'_>, Handle)> {
        let handle = self.sandbox.descriptors.get(&mut self.sandbox.wasi, fd)?;
        Some((Counted::of(self.sandbox), Resource::new_borrow(handle)))
    }

    /// Prepares for the attributes of `fd`, or of a path below it.
    pub(super) fn attributes(
        &mut self,
        fd: i32,
        below: Option<(i32, GuestPtr<str>)>,
        out: i32,
    ) -> Result<Charge, Errno> {
        let below = match below {
            None => None,
            Some((lookup, path)) => {
                fits(path.len().cast_signed())?;
                Some((self.text(path), path_flags(lookup)))
            }
        };
        let below = below.as_ref().map(|(path, flags)| (path.as_str(), *flags));
        let mut charge = Charge { effect: Effect::ShowTimes { out }, ..Charge::default() };
        let Some((counted, handle)) = self.counted(fd) else { return Ok(charge) };
        charge.base = counted.base_attributes(&handle, below).map(|base| (out, base));
        if let Some(time) = counted.fixed_time(&handle) {
            let identity = counted.identity(&handle, below).unwrap_or_default();
            let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            charge.effect = Effect::Show { out, time, identity };
        }
        Ok(charge)
    }

    /// Refuses a change at a path in a read-only folder.
    pub(super) fn change(&mut self, fd: i32, path: GuestPtr<str>) -> Result<(), Errno> {
        fits(path.len().cast_signed())?;
        let path = self.text(path);
        self.change_named(fd, &path)
    }

    /// Refuses a change of an open file or folder if it is read-only.
    pub(super) fn change_open(&mut self, fd: i32) -> Result<(), Errno> {
        self.change_named(fd, "")
    }

    fn change_named(&mut self, fd: i32, path: &str) -> Result<(), Errno> {
        match self.counted(fd) {
            Some((mut counted, handle)) => counted.change(&handle, path).map_err(errno),
            None => Ok(()),
        }
    }

    /// Charges a write at `offset`, or at the file's position.
    pub(super) fn charge_write(
        &mut self,
        fd: i32,
        iovs: i32,
        count: i32,
        offset: Option<u64>,
    ) -> Result<Charge, Errno> {
        let Some(size) = self.size(fd) else {
            return Ok(Charge::default());
        };
        let bytes = self.first_buffer(iovs, count);
        let offset = offset.unwrap_or_else(|| self.position(fd));
        // In append mode this is never less than the bytes.
        let charge = self.charge(cost(bytes, offset, size))?;
        Ok(Charge { bytes, ..charge })
    }

    pub(super) fn charge_size(&mut self, fd: i32, size: u64) -> Result<Charge, Errno> {
        self.change_open(fd)?;
        let growth = self.size(fd).map_or(0, |before| size.saturating_sub(before));
        self.charge(growth)
    }

    pub(super) async fn charge_open(
        &mut self,
        fd: i32,
        lookup: i32,
        path: GuestPtr<str>,
        open: i32,
        rights: i64,
        out: i32,
    ) -> Result<Charge, Errno> {
        fits(path.len().cast_signed())?;
        let has = |flag: Oflags| open & i32::from(flag.bits()) != 0;
        let is_creating = has(Oflags::CREAT);
        let is_changing = is_creating
            || has(Oflags::TRUNC)
            || rights.cast_unsigned() & Rights::FD_WRITE.bits() != 0;
        if is_changing {
            self.change(fd, path)?;
        }
        if is_full(self.sandbox.wasi.ctx().table) {
            self.sandbox.host.meet_limit(too_many_files());
            return Err(Errno::Mfile);
        }
        let text = self.text(path);
        let kind = match self.counted(fd) {
            Some((mut counted, handle)) => {
                let kind = counted.look_up(&handle, path_flags(lookup), &text).await;
                kind.unwrap_or(EntryKind::Nothing)
            }
            None => EntryKind::Nothing,
        };
        if kind == EntryKind::Special {
            self.sandbox.host.deny(special_file(&text), None);
            return Err(Errno::Perm);
        }
        if is_changing
            && !(is_creating && has(Oflags::EXCL))
            && let Some((mut counted, handle)) = self.counted(fd)
        {
            let follows = lookup & FOLLOW != 0;
            counted.break_link_at(&handle, &text, follows).await.map_err(errno)?;
        }
        let mut charge = Charge::default();
        if kind == EntryKind::Nothing && is_creating {
            charge = self.charge(ENTRY)?;
        } else if kind == EntryKind::Nothing && !is_changing {
            // A path that was found is inside the folder.
            charge.reads = Some(text);
        }
        Ok(Charge { effect: Effect::Open { out }, ..charge })
    }

    // The following functions do all of a call as WASI 0.2 does, so that nothing is left to charge or
    // to call.

    pub(super) async fn rename(
        &mut self,
        fd: i32,
        path: GuestPtr<str>,
        new_fd: i32,
        new_path: GuestPtr<str>,
    ) -> Result<Charge, Errno> {
        let (path, new_path) = (self.path(path)?, self.path(new_path)?);
        let (_, new) = self.counted(new_fd).ok_or(Errno::Badf)?;
        let (mut counted, handle) = self.counted(fd).ok_or(Errno::Badf)?;
        done(counted.rename_at(handle, path, new, new_path).await)
    }

    pub(super) async fn link(
        &mut self,
        fd: i32,
        lookup: i32,
        path: GuestPtr<str>,
        new_fd: i32,
        new_path: GuestPtr<str>,
    ) -> Result<Charge, Errno> {
        let (path, new_path) = (self.path(path)?, self.path(new_path)?);
        let (_, new) = self.counted(new_fd).ok_or(Errno::Badf)?;
        let (mut counted, handle) = self.counted(fd).ok_or(Errno::Badf)?;
        done(counted.link_at(handle, path_flags(lookup), path, new, new_path).await)
    }

    pub(super) async fn unlink(&mut self, fd: i32, path: GuestPtr<str>) -> Result<Charge, Errno> {
        let path = self.path(path)?;
        let (mut counted, handle) = self.counted(fd).ok_or(Errno::Badf)?;
        done(counted.unlink_file_at(handle, path).await)
    }

    pub(super) async fn set_open_times(
        &mut self,
        fd: i32,
        accessed: i64,
        modified: i64,
        flags: i32,
    ) -> Result<Charge, Errno> {
        let (accessed, modified) = new_times(accessed, modified, flags)?;
        let (mut counted, handle) = self.counted(fd).ok_or(Errno::Badf)?;
        done(counted.set_times(handle, accessed, modified).await)
    }

    pub(super) async fn set_times(
        &mut self,
        fd: i32,
        lookup: i32,
        path: GuestPtr<str>,
        accessed: i64,
        modified: i64,
        flags: i32,
    ) -> Result<Charge, Errno> {
        let path = self.path(path)?;
        let (accessed, modified) = new_times(accessed, modified, flags)?;
        let (mut counted, handle) = self.counted(fd).ok_or(Errno::Badf)?;
        done(counted.set_times_at(handle, path_flags(lookup), path, accessed, modified).await)
    }

    /// Shows the times that the guest has set, if its call has found a symbolic link.
    fn show_link_times(&mut self, out: i32) {
        let out = GuestPtr::<Filestat>::new(out.cast_unsigned());
        let links = &self.sandbox.link_times;
        if !links.is_empty()
            && let Ok(mut stat) = self.memory.read(out)
            && stat.filetype == Filetype::SymbolicLink
        {
            let times = Times { accessed: stat.atim, modified: stat.mtim };
            let times = links.of(&Link { inode: stat.ino, changed: stat.ctim, times });
            (stat.atim, stat.mtim) = (times.accessed, times.modified);
            // The same place was just read, so it can be written.
            let _ = self.memory.write(out, stat);
        }
    }

    /// Replaces the attributes of a file of the workspace's base.
    fn show_base(&mut self, out: i32, base: &BaseAttributes) {
        let out = GuestPtr::<Filestat>::new(out.cast_unsigned());
        let Ok(mut stat) = self.memory.read(out) else { return };
        // The file is a link to the worker's copy, and must look like a plain copy.
        stat.ino = base.identity;
        if let Some(links) = base.links {
            (stat.nlink, stat.atim, stat.mtim) = (links, base.time, base.time);
        }
        if stat.ctim != 0 {
            stat.ctim = base.time;
        }
        // The same place was just read, so it can be written.
        let _ = self.memory.write(out, stat);
    }

    /// Replaces the attributes that depend on the machine.
    fn show(&mut self, out: i32, time: u64, identity: u64) {
        let out = GuestPtr::<Filestat>::new(out.cast_unsigned());
        let Ok(mut stat) = self.memory.read(out) else { return };
        stat.ino = identity;
        (stat.atim, stat.mtim, stat.ctim) = (time, time, time);
        if stat.filetype == Filetype::Directory {
            stat.size = 0;
        }
        if stat.filetype == Filetype::Directory || time == 0 {
            stat.nlink = 1;
        }
        // The same place was just read, so it can be written.
        let _ = self.memory.write(out, stat);
    }

    /// Returns the bytes of a write: wasmtime writes only the first buffer that is not empty.
    ///
    /// If the buffer is unreadable here, the write fails too, and ends the guest.
    fn first_buffer(&self, iovs: i32, count: i32) -> u64 {
        let start = u64::from(iovs.cast_unsigned());
        let lengths = (0..u64::from(count.cast_unsigned())).map_while(|index| {
            let address = u32::try_from(start + index * 8 + 4).ok()?;
            self.memory.read(GuestPtr::<u32>::new(address)).ok()
        });
        u64::from(lengths.into_iter().find(|length| *length > 0).unwrap_or(0))
    }

    /// Returns the position of the next write, or 0 if `fd` has none.
    fn position(&mut self, fd: i32) -> u64 {
        let wasi = &mut self.sandbox.wasi;
        let memory = &mut self.memory;
        wasi.fd_tell(memory, Fd::from(fd)).unwrap_or(0)
    }

    /// Returns the size of the file `fd`, if its bytes are counted.
    fn size(&mut self, fd: i32) -> Option<u64> {
        let (counted, handle) = self.counted(fd)?;
        counted.quota_for(&handle)?;
        counted.size(&handle).ok()
    }

    /// Reads a path that must be valid.
    fn path(&self, path: GuestPtr<str>) -> Result<String, Errno> {
        fits(path.len().cast_signed())?;
        Ok(self.memory.as_cow_str(path).map_err(|_| Errno::Ilseq)?.into_owned())
    }

    /// Reads a path from the guest's memory.
    fn text(&self, path: GuestPtr<str>) -> String {
        self.memory.as_cow_str(path).unwrap_or_default().into_owned()
    }
}

fn errno(error: FsError) -> Errno {
    error.downcast().map_or(Errno::Io, Errno::from)
}

fn path_flags(lookup: i32) -> PathFlags {
    if lookup & FOLLOW != 0 { PathFlags::SYMLINK_FOLLOW } else { PathFlags::empty() }
}

/// Returns the result of a call that is done.
fn done(result: FsResult<()>) -> Result<Charge, Errno> {
    Err(result.map_or_else(errno, |()| Errno::Success))
}

/// Returns the times of access and modification that flags set.
fn new_times(
    accessed: i64,
    modified: i64,
    flags: i32,
) -> Result<(NewTimestamp, NewTimestamp), Errno> {
    let flags = Fstflags::try_from(flags).map_err(|_| Errno::Inval)?;
    let accessed = new_time(flags, Fstflags::ATIM, Fstflags::ATIM_NOW, accessed)?;
    Ok((accessed, new_time(flags, Fstflags::MTIM, Fstflags::MTIM_NOW, modified)?))
}

/// Returns the time that flags set.
fn new_time(
    flags: Fstflags,
    given: Fstflags,
    now: Fstflags,
    nanos: i64,
) -> Result<NewTimestamp, Errno> {
    match (flags.contains(given), flags.contains(now)) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(NewTimestamp::Timestamp(datetime(nanos.cast_unsigned()))),
        (false, true) => Ok(NewTimestamp::Now),
        (false, false) => Ok(NewTimestamp::NoChange),
    }
}
