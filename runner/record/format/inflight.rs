//! [`InFlight`]: what is being executed, written down so that it is known after the process has died.

use std::{
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fs_err::{File, OpenOptions};
use jiff::Timestamp;

use super::mark::AttemptKey;
use crate::record::disk::{layout::RunDir, modes, regular};

/// Ordinal (8 bytes), attempt (4), session (4), little-endian; all zero while nothing is executed.
const KEY_BYTES: usize = 16;
/// A key, then when it began (8 bytes, milliseconds since 1970), then zeros. Who knows keys alone takes the second half for
/// one of session 0, which there is not; and where keys follow each other without times, none of them is taken for one.
const SLOT_BYTES: usize = 2 * KEY_BYTES;
/// The file is this large from the beginning. Emptying it first gives a session that ends on a full disk room for its last
/// manifest.
const RESERVE_BYTES: usize = 128 * 1024;

/// An attempt that was begun and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Underway {
    /// The trial's place in the plan, and which attempt.
    pub key: AttemptKey,
    /// When it began, if that was written down.
    pub begun_at: Option<Timestamp>,
}

/// Where executors note what they have begun; one slot each, rewritten in place and never synced.
#[derive(Clone, Debug)]
pub struct InFlight(Arc<InFlightFile>);

#[derive(Debug)]
struct InFlightFile {
    file: File,
    session: u32,
    is_broken: AtomicBool,
}

impl InFlight {
    /// Empties the file for a new session.
    pub(in crate::record) fn create(path: &Path, session: u32) -> io::Result<Self> {
        let mut file = emptied(path)?;
        io::Write::write_all(&mut file, &vec![0; RESERVE_BYTES])?;
        Ok(Self(Arc::new(InFlightFile {
            file,
            session,
            is_broken: AtomicBool::new(false),
        })))
    }

    /// Opens the file that the owner of the run in `run_dir` has made for `session`, to note in slots of its own what another
    /// process executes for it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be opened.
    pub fn join(run_dir: &Path, session: u32) -> io::Result<Self> {
        let path = RunDir::new(run_dir).inflight();
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        Ok(Self(Arc::new(InFlightFile {
            file: regular::open_with(&mut options, &path)?,
            session,
            is_broken: AtomicBool::new(false),
        })))
    }

    /// Notes that a slot's executor begins an attempt now.
    pub fn begin(&self, slot: usize, ordinal: u64, number: u32, now: Timestamp) {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&ordinal.to_le_bytes());
        bytes[8..12].copy_from_slice(&number.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.0.session.to_le_bytes());
        bytes[16..24].copy_from_slice(&now.as_millisecond().to_le_bytes());
        self.write(slot, &bytes);
    }

    /// Notes that a slot's executor is idle.
    pub fn end(&self, slot: usize) {
        self.write(slot, &[0; SLOT_BYTES]);
    }

    /// What a slot's executor has begun and not ended, as far as is noted.
    pub fn noted(&self, slot: usize) -> Option<AttemptKey> {
        let mut bytes = [0; KEY_BYTES];
        let at = (slot * SLOT_BYTES) as u64;
        self.0.file.file().read_exact_at(&mut bytes, at).ok()?;
        parse(&bytes, self.0.session)
    }

    /// Without these notes a run goes on: all that is lost is who was there when its process died.
    fn write(&self, slot: usize, bytes: &[u8; SLOT_BYTES]) {
        let at = (slot * SLOT_BYTES) as u64;
        let written = self.0.file.file().write_all_at(bytes, at);
        if let Err(error) = written
            && !self.0.is_broken.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("cannot note what is in flight: {error}");
        }
    }
}

/// What a session had in flight; nothing if the file is missing, damaged or of another session.
pub(in crate::record) fn read(path: &Path, session: u32) -> Vec<AttemptKey> {
    let underway = read_underway(path, session).into_iter();
    let mut keys: Vec<_> = underway.map(|underway| underway.key).collect();
    keys.dedup();
    keys
}

/// The same, with the times.
pub(in crate::record) fn read_underway(path: &Path, session: u32) -> Vec<Underway> {
    let bytes = regular::read(path).unwrap_or_default();
    let halves = bytes.as_chunks().0;
    let following = halves.iter().skip(1).map(Some).chain([None]);
    let mut underway: Vec<_> = halves
        .iter()
        .zip(following)
        .filter_map(|(half, next)| {
            Some(Underway {
                key: parse(half, session)?,
                begun_at: next.and_then(parse_time),
            })
        })
        .collect();
    underway.sort_unstable();
    underway
}

/// Forgets what was in flight.
pub(in crate::record) fn clear(path: &Path) -> io::Result<()> {
    emptied(path).map(drop)
}

fn emptied(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    regular::open_with(modes::set(&mut options, path), path)
}

fn parse_time(half: &[u8; KEY_BYTES]) -> Option<Timestamp> {
    let (time, rest) = half.split_first_chunk()?;
    let time = i64::from_le_bytes(*time);
    let is_time = time > 0 && rest.iter().all(|byte| *byte == 0);
    is_time.then(|| Timestamp::from_millisecond(time).ok())?
}

fn parse(slot: &[u8; KEY_BYTES], session: u32) -> Option<AttemptKey> {
    let (ordinal, rest) = slot.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (owner, _) = rest.split_first_chunk()?;
    (u32::from_le_bytes(*owner) == session).then_some(AttemptKey {
        ordinal: u64::from_le_bytes(*ordinal),
        number: u32::from_le_bytes(*number),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{InFlight, KEY_BYTES, Underway, clear, read, read_underway};
    use crate::record::AttemptKey;

    #[test]
    fn what_was_begun_and_not_ended_is_read_back_for_its_session_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inflight");
        assert_eq!(read(&path, 1), []);
        let inflight = InFlight::create(&path, 2).unwrap();
        let now: Timestamp = "2026-11-20T04:39:12.123Z".parse().unwrap();
        inflight.begin(3, 7, 1, now);
        inflight.begin(0, u64::MAX, u32::MAX, now);
        inflight.begin(1, 5, 2, now);
        inflight.end(1);
        let joined = InFlight::join(directory.path(), 2).unwrap();
        joined.begin(4, 9, 1, now);
        joined.end(4);
        assert_eq!(inflight.noted(4), None);

        let key = |ordinal, number| AttemptKey { ordinal, number };
        assert_eq!(read(&path, 2), [key(7, 1), key(u64::MAX, u32::MAX)]);
        assert_eq!(read(&path, 1), []);
        assert_eq!(inflight.noted(3), Some(key(7, 1)));
        assert_eq!((inflight.noted(1), inflight.noted(99_999)), (None, None));
        let underway = |key, begun_at| Underway { key, begun_at };
        assert_eq!(read_underway(&path, 2)[0], underway(key(7, 1), Some(now)));

        // Keys without times, as they were before: each is found, and none is taken for a time.
        let bytes = fs_err::read(&path).unwrap();
        let keys = [&bytes[..KEY_BYTES], &bytes[6 * KEY_BYTES..7 * KEY_BYTES]].concat();
        fs_err::write(&path, keys).unwrap();
        assert_eq!(
            read_underway(&path, 2),
            [
                underway(key(7, 1), None),
                underway(key(u64::MAX, u32::MAX), None)
            ]
        );
        clear(&path).unwrap();
        assert_eq!(read(&path, 2), []);
    }
}
