//! Files of WASI 0.3: the calls of WASI 0.2, with their checks and counts, under other signatures.
//!
//! A call is complete before the guest continues, as in a deterministic call of 0.2: other tasks of the guest cannot see it
//! half done, and its position among their calls does not depend on the machine.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::{io, os::unix::fs::FileExt as _, thread};

use tokio::sync::oneshot;
use tokio::task::unconstrained;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Access, Accessor, Destination, FutureReader, HasData, Linker, Source, StreamConsumer,
    StreamProducer, StreamReader, StreamResult, VecBuffer,
};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{self as old, Host as _, HostDescriptor as _};
use wasmtime_wasi::p2::{FsResult, StreamError};
use wasmtime_wasi::p3::bindings::clocks::system_clock::Instant;
use wasmtime_wasi::p3::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
    Filesize, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p3::filesystem::{FilesystemError, FilesystemResult};

use super::counted::{Counted, Handle, borrow};
use super::listing::{FolderEntry, Listing};
use super::preview2::descriptor_type;
use super::quota::{MAX_STREAMS, is_full, too_many_files};
use super::streams::{CountedStream, MAX_READ, MAX_WRITE};
use super::system::blocking;
use super::workspace::attempt::SharedFile;
use crate::store::Sandbox;

/// Bytes of a read without a buffer of the guest, such as one of a file that goes straight to standard output.
const READ_AHEAD: usize = 8 * 1024;
/// Entries of a folder that one read returns.
const MAX_ENTRIES: usize = 64;

type Ended = Result<(), ErrorCode>;
type EndSender = oneshot::Sender<Ended>;

/// Replaces wasmtime's functions, which must be in the linker already, by counting ones.
pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<_, CountedFiles>(linker, |sandbox| Counted::of(sandbox))?;
    linker.allow_shadowing(false);
    Ok(())
}

struct CountedFiles;

impl HasData for CountedFiles {
    type Data<'a> = Counted<'a>;
}

/// Wakes the thread that waits in [`complete`].
struct ThreadWaker(thread::Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs work on files to its end, and blocks this thread meanwhile. Without tokio's budget: it is not refilled in here, and
/// once it is used up, a thread that has finished looks as if it had not.
fn complete<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(unconstrained(work));
    let waker = Waker::from(Arc::new(ThreadWaker(thread::current())));
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        thread::park();
    }
}

impl Counted<'_> {
    /// Completes a call of WASI 0.2.
    fn done<T>(&mut self, call: impl AsyncFnOnce(&mut Self) -> FsResult<T>) -> FilesystemResult<T> {
        complete(call(self)).map_err(|error| match self.convert_error_code(error) {
            Ok(code) => code_of(code).into(),
            Err(trap) => FilesystemError::trap(trap),
        })
    }

    /// Like [`Self::done`], for a call whose error ends a stream.
    fn opened<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Self) -> FsResult<T>,
    ) -> wasmtime::Result<Result<T, ErrorCode>> {
        match self.done(call) {
            Ok(opened) => Ok(Ok(opened)),
            Err(error) => error.downcast().map(Err),
        }
    }

    /// Checks that the guest may open another stream. Its file or folder stays open with it.
    fn check_streams(&mut self) -> FsResult<()> {
        if Arc::strong_count(self.streams) > MAX_STREAMS || is_full(self.files.table) {
            self.host.meet_limit(too_many_files());
            return Err(old::ErrorCode::InsufficientMemory.into());
        }
        Ok(())
    }

    fn reader(&mut self, fd: &Handle) -> FsResult<SharedFile> {
        self.check_streams()?;
        // Only for its checks of the file and its permissions.
        let checked = self.files.read_via_stream(borrow(fd), 0)?;
        self.files.table.delete(checked)?;
        let Descriptor::File(file) = self.files.table.get(fd)? else {
            return Err(old::ErrorCode::IsDirectory.into());
        };
        let file = Arc::clone(&file.file);
        Ok(self.share(file))
    }

    fn writer(&mut self, fd: &Handle, position: Option<u64>) -> FsResult<CountedStream> {
        self.check_streams()?;
        let checked = self.files.append_via_stream(borrow(fd))?;
        self.files.table.delete(checked)?;
        let quota = self.quota_for(fd).ok_or(old::ErrorCode::NotPermitted)?;
        let Descriptor::File(file) = self.files.table.get(fd)? else {
            return Err(old::ErrorCode::BadDescriptor.into());
        };
        Ok(CountedStream::new(None, Arc::clone(&file.file), position, quota))
    }
}

type Files<'a> = Access<'a, Sandbox, CountedFiles>;
type Calls = Accessor<Sandbox, CountedFiles>;

/// Completes a call of WASI 0.2 on behalf of a call of 0.3.
fn call<T>(
    store: &Calls,
    call: impl AsyncFnOnce(&mut Counted<'_>) -> FsResult<T>,
) -> FilesystemResult<T> {
    store.with(|mut store| store.get().done(call))
}

/// Waits for the disk, on another thread: that can take seconds, and the result depends on nothing else of the guest.
async fn sync(store: &Calls, fd: &Handle) -> FilesystemResult<()> {
    let file = store.with(|mut store| match store.get().files.table.get(fd) {
        Ok(Descriptor::File(file)) => Ok(Arc::clone(&file.file)),
        Ok(Descriptor::Dir(folder)) => Ok(Arc::clone(&folder.dir)),
        Err(error) => Err(FilesystemError::trap(error)),
    })?;
    Ok(blocking(move || file.sync_all()).await?)
}

/// Writes a stream of the guest to a file.
fn pipe(
    mut store: Files<'_>,
    fd: &Handle,
    mut data: StreamReader<u8>,
    position: Option<u64>,
) -> wasmtime::Result<FutureReader<Ended>> {
    let (end, ended) = oneshot::channel();
    let (opened, open) = {
        let mut files = store.get();
        let opened = files.opened(async |files| files.writer(fd, position))?;
        (opened, Arc::clone(files.streams))
    };
    match opened {
        Ok(stream) => data.pipe(&mut store, FileWriter { stream, end: Some(end), _open: open })?,
        Err(code) => {
            data.close(&mut store)?;
            let _ = end.send(Err(code));
        }
    }
    FutureReader::new(&mut store, ended)
}

impl types::Host for Counted<'_> {
    fn convert_error_code(&mut self, error: FilesystemError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl types::HostDescriptor for Counted<'_> {
    fn drop(&mut self, fd: Handle) -> wasmtime::Result<()> {
        old::HostDescriptor::drop(self, fd)
    }
}

impl types::HostDescriptorWithStore<Sandbox> for CountedFiles {
    fn read_via_stream(
        mut store: Files<'_>,
        fd: Handle,
        position: Filesize,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Ended>)> {
        let (end, ended) = oneshot::channel();
        let (opened, open) = {
            let mut files = store.get();
            let opened = files.opened(async |files| files.reader(&fd))?;
            (opened, Arc::clone(files.streams))
        };
        let stream = match opened {
            Ok(file) => {
                let end = Some(end);
                let reader = FileReader { file, position, has_paused: false, end, _open: open };
                StreamReader::new(&mut store, reader)?
            }
            Err(code) => {
                let _ = end.send(Err(code));
                StreamReader::new(&mut store, Vec::new())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, ended)?))
    }

    fn write_via_stream(
        store: Files<'_>,
        fd: Handle,
        data: StreamReader<u8>,
        position: Filesize,
    ) -> wasmtime::Result<FutureReader<Ended>> {
        pipe(store, &fd, data, Some(position))
    }

    fn append_via_stream(
        store: Files<'_>,
        fd: Handle,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<Ended>> {
        pipe(store, &fd, data, None)
    }

    fn read_directory(
        mut store: Files<'_>,
        fd: Handle,
    ) -> wasmtime::Result<(StreamReader<DirectoryEntry>, FutureReader<Ended>)> {
        let (end, ended) = oneshot::channel();
        let (opened, open) = {
            let mut files = store.get();
            let opened = files.opened(async |files| {
                files.check_streams()?;
                Ok(Listing::open(&files.folder(&fd)?, false).await?)
            })?;
            (opened, Arc::clone(files.streams))
        };
        let stream = match opened {
            Ok(listing) => StreamReader::new(
                &mut store,
                FolderReader { listing, end: Some(end), _open: open },
            )?,
            Err(code) => {
                let _ = end.send(Err(code));
                StreamReader::new(&mut store, Vec::new())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, ended)?))
    }

    async fn advise(
        store: &Calls,
        fd: Handle,
        offset: Filesize,
        length: Filesize,
        advice: Advice,
    ) -> FilesystemResult<()> {
        let advice = match advice {
            Advice::Normal => old::Advice::Normal,
            Advice::Sequential => old::Advice::Sequential,
            Advice::Random => old::Advice::Random,
            Advice::WillNeed => old::Advice::WillNeed,
            Advice::DontNeed => old::Advice::DontNeed,
            Advice::NoReuse => old::Advice::NoReuse,
        };
        call(store, async |files| files.advise(fd, offset, length, advice).await)
    }

    async fn sync_data(store: &Calls, fd: Handle) -> FilesystemResult<()> {
        sync(store, &fd).await
    }

    async fn sync(store: &Calls, fd: Handle) -> FilesystemResult<()> {
        sync(store, &fd).await
    }

    async fn get_flags(store: &Calls, fd: Handle) -> FilesystemResult<DescriptorFlags> {
        let flags = call(store, async |files| files.get_flags(fd).await)?;
        let known = FLAGS.into_iter().filter(|(_, flag)| flags.contains(*flag));
        Ok(known.fold(DescriptorFlags::empty(), |all, (flag, _)| all | flag))
    }

    async fn get_type(store: &Calls, fd: Handle) -> FilesystemResult<DescriptorType> {
        call(store, async |files| files.get_type(fd).await).map(type_of)
    }

    async fn set_size(store: &Calls, fd: Handle, size: Filesize) -> FilesystemResult<()> {
        call(store, async |files| files.set_size(fd, size).await)
    }

    async fn set_times(
        store: &Calls,
        fd: Handle,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FilesystemResult<()> {
        let [accessed, modified] = [new_time(accessed)?, new_time(modified)?];
        call(store, async |files| files.set_times(fd, accessed, modified).await)
    }

    async fn create_directory_at(store: &Calls, fd: Handle, path: String) -> FilesystemResult<()> {
        call(store, async |files| files.create_directory_at(fd, path).await)
    }

    async fn stat(store: &Calls, fd: Handle) -> FilesystemResult<DescriptorStat> {
        call(store, async |files| files.stat(fd).await).map(stat_of)
    }

    async fn stat_at(
        store: &Calls,
        fd: Handle,
        flags: PathFlags,
        path: String,
    ) -> FilesystemResult<DescriptorStat> {
        call(store, async |files| files.stat_at(fd, path_flags(flags), path).await).map(stat_of)
    }

    async fn set_times_at(
        store: &Calls,
        fd: Handle,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FilesystemResult<()> {
        let [accessed, modified] = [new_time(accessed)?, new_time(modified)?];
        call(store, async |files| {
            files.set_times_at(fd, path_flags(flags), path, accessed, modified).await
        })
    }

    async fn link_at(
        store: &Calls,
        fd: Handle,
        flags: PathFlags,
        path: String,
        new_fd: Handle,
        new_path: String,
    ) -> FilesystemResult<()> {
        call(store, async |files| {
            files.link_at(fd, path_flags(flags), path, new_fd, new_path).await
        })
    }

    async fn open_at(
        store: &Calls,
        fd: Handle,
        at: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FilesystemResult<Handle> {
        let known = OPEN.into_iter().filter(|(flag, _)| how.contains(*flag));
        let how = known.fold(old::OpenFlags::empty(), |all, (_, flag)| all | flag);
        let known = FLAGS.into_iter().filter(|(flag, _)| flags.contains(*flag));
        let flags = known.fold(old::DescriptorFlags::empty(), |all, (_, flag)| all | flag);
        call(store, async |files| files.open_at(fd, path_flags(at), path, how, flags).await)
    }

    async fn readlink_at(store: &Calls, fd: Handle, path: String) -> FilesystemResult<String> {
        call(store, async |files| files.readlink_at(fd, path).await)
    }

    async fn remove_directory_at(store: &Calls, fd: Handle, path: String) -> FilesystemResult<()> {
        call(store, async |files| files.remove_directory_at(fd, path).await)
    }

    async fn rename_at(
        store: &Calls,
        fd: Handle,
        path: String,
        new_fd: Handle,
        new_path: String,
    ) -> FilesystemResult<()> {
        call(store, async |files| files.rename_at(fd, path, new_fd, new_path).await)
    }

    async fn symlink_at(
        store: &Calls,
        fd: Handle,
        target: String,
        path: String,
    ) -> FilesystemResult<()> {
        call(store, async |files| files.symlink_at(fd, target, path).await)
    }

    async fn unlink_file_at(store: &Calls, fd: Handle, path: String) -> FilesystemResult<()> {
        call(store, async |files| files.unlink_file_at(fd, path).await)
    }

    async fn is_same_object(store: &Calls, fd: Handle, other: Handle) -> wasmtime::Result<bool> {
        store.with(|mut store| complete(store.get().is_same_object(fd, other)))
    }

    async fn metadata_hash(store: &Calls, fd: Handle) -> FilesystemResult<MetadataHashValue> {
        call(store, async |files| files.metadata_hash(fd).await).map(hash_of)
    }

    async fn metadata_hash_at(
        store: &Calls,
        fd: Handle,
        flags: PathFlags,
        path: String,
    ) -> FilesystemResult<MetadataHashValue> {
        call(store, async |files| files.metadata_hash_at(fd, path_flags(flags), path).await)
            .map(hash_of)
    }
}

/// A stream from a file.
struct FileReader {
    file: SharedFile,
    position: u64,
    /// Whether other work has had its turn since the last read.
    has_paused: bool,
    /// Sender of the stream's result. `None` after it was sent.
    end: Option<EndSender>,
    _open: Arc<()>,
}

impl<T> StreamProducer<T> for FileReader {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        to: Destination<'a, u8, VecBuffer<u8>>,
        is_cancelled: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        match to.remaining(&mut store) {
            // A read of no bytes, by which a guest waits until there are some.
            Some(0) => return Poll::Ready(Ok(StreamResult::Completed)),
            // A guest may connect the stream to its standard output, or to the end of the same file, and then no code of it
            // runs that could be interrupted.
            None if !self.has_paused && !is_cancelled => {
                self.has_paused = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ => self.has_paused = false,
        }
        let mut to = to.as_direct(store, READ_AHEAD);
        let bytes = to.remaining();
        let length = bytes.len().min(MAX_READ);
        let file = Arc::clone(&self.file.lock().unwrap_or_else(PoisonError::into_inner));
        let read = file.read_at(&mut bytes[..length], self.position);
        let end = match read {
            Ok(read @ 1..) => {
                self.position += read as u64;
                to.mark_written(read);
                return Poll::Ready(Ok(StreamResult::Completed));
            }
            Ok(0) => Ok(()),
            Err(error) => Err(error.into()),
        };
        close(&mut self.end, end);
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl Drop for FileReader {
    fn drop(&mut self) {
        close(&mut self.end, Ok(()));
    }
}

/// A stream to a file.
struct FileWriter {
    stream: CountedStream,
    end: Option<EndSender>,
    _open: Arc<()>,
}

impl<T> StreamConsumer<T> for FileWriter {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, T>,
        from: Source<'_, u8>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut from = from.as_direct(store);
        let bytes = from.remaining();
        let length = bytes.len().min(MAX_WRITE);
        if length == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let written = self.stream.write_now(&bytes[..length]);
        match written {
            Ok(()) => {
                from.mark_read(length);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(StreamError::Trap(trap)) => Poll::Ready(Err(trap)),
            Err(error) => {
                let code = match error {
                    StreamError::LastOperationFailed(error) => {
                        error.downcast_ref::<io::Error>().map_or(ErrorCode::Io, ErrorCode::from)
                    }
                    _ => ErrorCode::Io,
                };
                close(&mut self.end, Err(code));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
        }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        close(&mut self.end, Ok(()));
    }
}

/// A stream of the entries of a folder.
struct FolderReader {
    listing: Listing,
    end: Option<EndSender>,
    _open: Arc<()>,
}

impl<T> StreamProducer<T> for FolderReader {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        mut to: Destination<'a, DirectoryEntry, VecBuffer<DirectoryEntry>>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let limit = to.remaining(&mut store).unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
        let mut entries = Vec::new();
        let mut result = StreamResult::Completed;
        while entries.len() < limit {
            let end = match complete(self.listing.next()) {
                Some(Ok(entry)) if entry.is_relative() => continue,
                Some(Ok(entry)) => match shown(entry) {
                    Ok(entry) => {
                        entries.push(entry);
                        continue;
                    }
                    Err(code) => Err(code),
                },
                Some(Err(error)) => Err(error.into()),
                None => Ok(()),
            };
            close(&mut self.end, end);
            result = StreamResult::Dropped;
            break;
        }
        to.set_buffer(entries.into());
        Poll::Ready(Ok(result))
    }
}

impl Drop for FolderReader {
    fn drop(&mut self) {
        close(&mut self.end, Ok(()));
    }
}

fn close(end: &mut Option<EndSender>, result: Ended) {
    if let Some(end) = end.take() {
        // The guest may have dropped its future.
        let _ = end.send(result);
    }
}

fn shown(entry: FolderEntry) -> Result<DirectoryEntry, ErrorCode> {
    let name = String::from_utf8(entry.name).map_err(|_| ErrorCode::IllegalByteSequence)?;
    Ok(DirectoryEntry { type_: type_of(descriptor_type(entry.kind)), name })
}

const FLAGS: [(DescriptorFlags, old::DescriptorFlags); 6] = [
    (DescriptorFlags::READ, old::DescriptorFlags::READ),
    (DescriptorFlags::WRITE, old::DescriptorFlags::WRITE),
    (DescriptorFlags::FILE_INTEGRITY_SYNC, old::DescriptorFlags::FILE_INTEGRITY_SYNC),
    (DescriptorFlags::DATA_INTEGRITY_SYNC, old::DescriptorFlags::DATA_INTEGRITY_SYNC),
    (DescriptorFlags::REQUESTED_WRITE_SYNC, old::DescriptorFlags::REQUESTED_WRITE_SYNC),
    (DescriptorFlags::MUTATE_DIRECTORY, old::DescriptorFlags::MUTATE_DIRECTORY),
];

const OPEN: [(OpenFlags, old::OpenFlags); 4] = [
    (OpenFlags::CREATE, old::OpenFlags::CREATE),
    (OpenFlags::DIRECTORY, old::OpenFlags::DIRECTORY),
    (OpenFlags::EXCLUSIVE, old::OpenFlags::EXCLUSIVE),
    (OpenFlags::TRUNCATE, old::OpenFlags::TRUNCATE),
];

fn path_flags(flags: PathFlags) -> old::PathFlags {
    if flags.contains(PathFlags::SYMLINK_FOLLOW) {
        old::PathFlags::SYMLINK_FOLLOW
    } else {
        old::PathFlags::empty()
    }
}

fn new_time(time: NewTimestamp) -> FilesystemResult<old::NewTimestamp> {
    Ok(match time {
        NewTimestamp::NoChange => old::NewTimestamp::NoChange,
        NewTimestamp::Now => old::NewTimestamp::Now,
        NewTimestamp::Timestamp(Instant { seconds, nanoseconds }) => {
            // WASI 0.2 has no times before 1970.
            let seconds = u64::try_from(seconds).map_err(|_| ErrorCode::Overflow)?;
            old::NewTimestamp::Timestamp(Datetime { seconds, nanoseconds })
        }
    })
}

fn instant(time: Datetime) -> Instant {
    let seconds = i64::try_from(time.seconds).unwrap_or(i64::MAX);
    Instant { seconds, nanoseconds: time.nanoseconds }
}

fn stat_of(found: old::DescriptorStat) -> DescriptorStat {
    DescriptorStat {
        type_: type_of(found.type_),
        link_count: found.link_count,
        size: found.size,
        data_access_timestamp: found.data_access_timestamp.map(instant),
        data_modification_timestamp: found.data_modification_timestamp.map(instant),
        status_change_timestamp: found.status_change_timestamp.map(instant),
    }
}

fn hash_of(hash: old::MetadataHashValue) -> MetadataHashValue {
    MetadataHashValue { lower: hash.lower, upper: hash.upper }
}

fn type_of(kind: old::DescriptorType) -> DescriptorType {
    match kind {
        old::DescriptorType::Unknown => DescriptorType::Other(None),
        old::DescriptorType::BlockDevice => DescriptorType::BlockDevice,
        old::DescriptorType::CharacterDevice => DescriptorType::CharacterDevice,
        old::DescriptorType::Directory => DescriptorType::Directory,
        old::DescriptorType::Fifo => DescriptorType::Fifo,
        old::DescriptorType::SymbolicLink => DescriptorType::SymbolicLink,
        old::DescriptorType::RegularFile => DescriptorType::RegularFile,
        old::DescriptorType::Socket => DescriptorType::Socket,
    }
}

/// Defines a function from the codes of WASI 0.2 to those of 0.3, which have the same names.
macro_rules! same_codes {
    ($($name:ident)*) => {
        fn code_of(code: old::ErrorCode) -> ErrorCode {
            match code {
                old::ErrorCode::WouldBlock => ErrorCode::Other(Some("would block".to_owned())),
                $(old::ErrorCode::$name => ErrorCode::$name,)*
            }
        }
    };
}

same_codes! {
    Access Already BadDescriptor Busy Deadlock Quota Exist FileTooLarge IllegalByteSequence InProgress Interrupted Invalid Io
    IsDirectory Loop TooManyLinks MessageSize NameTooLong NoDevice NoEntry NoLock InsufficientMemory InsufficientSpace
    NotDirectory NotEmpty NotRecoverable Unsupported NoTty NoSuchDevice Overflow NotPermitted Pipe ReadOnly InvalidSeek
    TextFileBusy CrossDevice
}
