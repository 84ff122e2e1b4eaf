//! [`InFlight`]: what is being executed, written down so that it is known after the process has died.

use std::{
    cell::LazyCell,
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

use super::{
    mark::AttemptKey,
    phases::{
        self, AttemptPhase, MAX_SLOTS, PHASE_BYTES, PHASES_AT, WAITS_AT, WAITS_BYTES, WaitingTrials,
    },
};
use crate::record::disk::{layout::RunDir, modes, regular};

/// Ordinal (8 bytes), attempt (4), session (4), little-endian; all zero while nothing is executed.
const KEY_BYTES: usize = 16;
/// A key, then when it began (8 bytes, milliseconds since 1970), then zeros. Who knows keys alone takes the second half for
/// one of session 0, which there is not; and where keys follow each other without times, none of them is taken for one.
const SLOT_BYTES: usize = 2 * KEY_BYTES;
/// This much of the file has blocks from the beginning. Emptying it first gives a session that ends on a full disk room for
/// its last manifest. What attempts are doing stands behind it, where there is nothing until somebody waits.
const RESERVE_BYTES: usize = MAX_SLOTS * SLOT_BYTES;
const _: () = assert!(RESERVE_BYTES as u64 == PHASES_AT);
/// Behind all of that, the number of the session whose trials run (4 bytes, little-endian).
const RUNNING_AT: u64 = WAITS_AT + WAITS_BYTES as u64;

/// An attempt that was begun and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underway {
    /// The trial's place in the plan, and which attempt.
    pub key: AttemptKey,
    /// When it began, if that was written down.
    pub begun_at: Option<Timestamp>,
    /// What it is doing; absent where its runner does not say, or was about to when the file was read.
    pub phase: Option<AttemptPhase>,
    /// The place of the grader in the scenario, where it is one of a grader, which judges what the trial has put out.
    pub grader: Option<u32>,
}

/// Set in the session of what graders have begun: whoever looks for attempts of trials takes it for another session's.
const GRADING: u32 = 1 << 31;

/// Where executors note what they have begun; one slot each, rewritten in place and never synced.
#[derive(Clone, Debug)]
pub struct InFlight {
    file: Arc<InFlightFile>,
    /// The slot that is called 0 here.
    first: usize,
    is_of_graders: bool,
}

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
        // Says that phases are noted.
        let nothing = phases::encode_waits(session, &WaitingTrials::default());
        file.file().write_all_at(&nothing, WAITS_AT)?;
        Ok(Self::of(file, session))
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
        Ok(Self::of(
            regular::open_to_write(&mut options, &path)?,
            session,
        ))
    }

    fn of(file: File, session: u32) -> Self {
        Self {
            file: Arc::new(InFlightFile {
                file,
                session,
                is_broken: AtomicBool::new(false),
            }),
            first: 0,
            is_of_graders: false,
        }
    }

    /// The same file for what grades, with the slots from `first` on. What is noted there is a trial and, in place of an
    /// attempt's number, the grader's place in the scenario. Where all slots are others', nothing is noted.
    pub fn for_graders(&self, first: usize) -> Self {
        Self {
            file: Arc::clone(&self.file),
            first,
            is_of_graders: true,
        }
    }

    /// Tells whether it is for what grades.
    pub fn is_of_graders(&self) -> bool {
        self.is_of_graders
    }

    /// Notes that a slot's executor begins an attempt now.
    pub fn begin(&self, slot: usize, ordinal: u64, number: u32, now: Timestamp) {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&ordinal.to_le_bytes());
        bytes[8..12].copy_from_slice(&number.to_le_bytes());
        let grading = if self.is_of_graders { GRADING } else { 0 };
        bytes[12..16].copy_from_slice(&(self.file.session | grading).to_le_bytes());
        bytes[16..24].copy_from_slice(&now.as_millisecond().to_le_bytes());
        self.write(slot, &bytes);
    }

    /// Notes what the attempt in a slot waits for in the host, and since when; without a text, since when it computes.
    pub fn note_phase(&self, slot: usize, key: AttemptKey, text: Option<&str>, since: Timestamp) {
        let slot = self.first + slot;
        if slot < MAX_SLOTS {
            let bytes = phases::encode(key, self.file.session, text, since);
            self.write_at(&bytes, PHASES_AT + (slot * PHASE_BYTES) as u64);
        }
    }

    /// Notes what trials wait for.
    pub fn note_waits(&self, waits: &WaitingTrials) {
        self.write_at(&phases::encode_waits(self.file.session, waits), WAITS_AT);
    }

    /// Notes that the session's trials run from now on.
    pub(in crate::record) fn note_running(&self) {
        self.write_at(&self.file.session.to_le_bytes(), RUNNING_AT);
    }

    /// Notes that a slot's executor is idle.
    pub fn end(&self, slot: usize) {
        self.write(slot, &[0; SLOT_BYTES]);
    }

    /// What a slot's executor has begun and not ended, as far as is noted.
    pub fn noted(&self, slot: usize) -> Option<AttemptKey> {
        let mut bytes = [0; KEY_BYTES];
        let at = (slot * SLOT_BYTES) as u64;
        self.file.file.file().read_exact_at(&mut bytes, at).ok()?;
        parse(&bytes, self.file.session)
    }

    /// Without these notes a run goes on: all that is lost is who was there when its process died.
    fn write(&self, slot: usize, bytes: &[u8; SLOT_BYTES]) {
        let slot = self.first + slot;
        if slot < MAX_SLOTS {
            self.write_at(bytes, (slot * SLOT_BYTES) as u64);
        }
    }

    fn write_at(&self, bytes: &[u8], at: u64) {
        let written = self.file.file.file().write_all_at(bytes, at);
        if let Err(error) = written
            && !self.file.is_broken.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("cannot note what is in flight: {error}");
        }
    }
}

/// What a session had in flight; nothing if the file is missing, damaged or of another session.
pub(in crate::record) fn read(path: &Path, session: u32) -> Vec<AttemptKey> {
    let bytes = regular::read(path).unwrap_or_default();
    let underway = underway(&bytes, session).into_iter();
    let mut keys: Vec<_> = underway.map(|(_, underway)| underway.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What a session was grading: trials, each with the place of its grader in the scenario.
pub(in crate::record) fn read_grading(path: &Path, session: u32) -> Vec<(u64, u32)> {
    let keys = read(path, session | GRADING).into_iter();
    keys.map(|key| (key.ordinal, key.number)).collect()
}

/// What a session had in flight, with the times and with what each attempt is doing.
pub(in crate::record) fn read_underway(path: &Path, session: u32) -> Vec<Underway> {
    let bytes = regular::read(path).unwrap_or_default();
    let notes_phases = waits_in(&bytes, session).is_some();
    // One that was half written is whole soon.
    let again = LazyCell::new(|| regular::read(path).unwrap_or_default());
    let phase = |slot: usize, key| {
        let of = |bytes: &[u8]| phases::decode(phase_in(bytes, slot), key, session);
        of(&bytes).or_else(|| of(&again))
    };
    let graded = underway(&bytes, session | GRADING).into_iter();
    let graded = graded.map(|(slot, grading)| {
        let grader = Some(grading.key.number);
        (slot, Underway { grader, ..grading })
    });
    let all = underway(&bytes, session).into_iter().chain(graded);
    let mut all: Vec<_> = all
        .map(|(slot, underway)| Underway {
            phase: notes_phases.then(|| phase(slot, underway.key)).flatten(),
            ..underway
        })
        .collect();
    all.sort_by_key(|underway| (underway.grader.is_some(), underway.key));
    all
}

/// Tells whether a session has come to its trials.
pub(in crate::record) fn is_running(path: &Path, session: u32) -> bool {
    let mut bytes = [0; 4];
    let read =
        regular::open(path).and_then(|file| file.file().read_exact_at(&mut bytes, RUNNING_AT));
    read.is_ok() && u32::from_le_bytes(bytes) == session
}

/// What trials of a session wait for; nothing if nobody says so.
pub(in crate::record) fn read_waits(path: &Path, session: u32) -> WaitingTrials {
    let read = || waits_in(&regular::read(path).unwrap_or_default(), session);
    // Half written ones are whole soon.
    read().or_else(read).unwrap_or_default()
}

/// What slots have, with their numbers where they are of this version.
fn underway(bytes: &[u8], session: u32) -> Vec<(usize, Underway)> {
    let halves = bytes[..bytes.len().min(RESERVE_BYTES)].as_chunks().0;
    let following = halves.iter().skip(1).map(Some).chain([None]);
    let slots = halves.iter().zip(following).enumerate();
    let underway = slots.filter_map(|(index, (half, next))| {
        let underway = Underway {
            key: parse(half, session)?,
            begun_at: next.and_then(parse_time),
            phase: None,
            grader: None,
        };
        Some((index * KEY_BYTES / SLOT_BYTES, underway))
    });
    underway.collect()
}

fn phase_in(bytes: &[u8], slot: usize) -> &[u8] {
    let at = RESERVE_BYTES + slot * PHASE_BYTES;
    bytes.get(at..at + PHASE_BYTES).unwrap_or_default()
}

fn waits_in(bytes: &[u8], session: u32) -> Option<WaitingTrials> {
    let at = usize::try_from(WAITS_AT).ok()?;
    phases::decode_waits(bytes.get(at..at + WAITS_BYTES)?, session)
}

/// Forgets what was in flight.
pub(in crate::record) fn clear(path: &Path) -> io::Result<()> {
    emptied(path).map(drop)
}

fn emptied(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    regular::open_to_write(modes::set(&mut options, path), path)
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

    use super::{
        AttemptPhase, InFlight, KEY_BYTES, Underway, WaitingTrials, clear, is_running, read,
        read_grading, read_underway, read_waits,
    };
    use crate::record::{AttemptKey, WaitReason, WaitingTrial};

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
        let graders = inflight.for_graders(5);
        graders.begin(0, 7, 1, now);
        graders.begin(usize::from(u16::MAX), 8, 0, now);
        assert_eq!(read_grading(&path, 2), [(7, 1)]);
        assert_eq!(read_grading(&path, 1), []);

        let key = |ordinal, number| AttemptKey { ordinal, number };
        assert_eq!(read(&path, 2), [key(7, 1), key(u64::MAX, u32::MAX)]);
        assert_eq!(read(&path, 1), []);
        assert_eq!(inflight.noted(3), Some(key(7, 1)));
        assert_eq!((inflight.noted(1), inflight.noted(99_999)), (None, None));
        let underway = |key, begun_at, phase: Option<(Option<&str>, _)>| Underway {
            key,
            begun_at,
            phase: phase.map(|(waits_for, since)| AttemptPhase {
                waits_for: waits_for.map(str::to_owned),
                since,
            }),
            grader: None,
        };
        let first = || read_underway(&path, 2).swap_remove(0);
        let computes = Some((None, None));
        assert_eq!(first(), underway(key(7, 1), Some(now), computes));
        inflight.note_phase(3, key(7, 1), Some("sleep"), now);
        let sleeps = Some((Some("sleep"), Some(now)));
        assert_eq!(first(), underway(key(7, 1), Some(now), sleeps));
        // That of the attempt before is not that of the next one.
        inflight.begin(3, 7, 2, now);
        assert_eq!(first(), underway(key(7, 2), Some(now), computes));
        inflight.begin(3, 7, 1, now);

        let waits = WaitingTrials {
            first: vec![WaitingTrial {
                key: key(8, 2),
                why: WaitReason::Retry,
                until: now,
            }],
            ..WaitingTrials::default()
        };
        inflight.note_waits(&waits);
        assert_eq!(read_waits(&path, 2), waits);
        assert_eq!(read_waits(&path, 1), WaitingTrials::default());
        // Of a grader it is known what it does as well.
        graders.note_phase(0, key(7, 1), Some("http a:443"), now);
        let seen = read_underway(&path, 2).pop().unwrap();
        assert_eq!((seen.key, seen.grader), (key(7, 1), Some(1)));
        assert_eq!(seen.phase.unwrap().waits_for.as_deref(), Some("http a:443"));
        // Nothing of that is taken for an attempt in flight.
        assert_eq!(read(&path, 2), [key(7, 1), key(u64::MAX, u32::MAX)]);

        assert!(!is_running(&path, 2));
        inflight.note_running();
        assert_eq!((is_running(&path, 2), is_running(&path, 1)), (true, false));
        assert_eq!(read_waits(&path, 2), waits);

        // Keys without times, as they were before: each is found, and none is taken for a time.
        let bytes = fs_err::read(&path).unwrap();
        let keys = [&bytes[..KEY_BYTES], &bytes[6 * KEY_BYTES..7 * KEY_BYTES]].concat();
        fs_err::write(&path, keys).unwrap();
        assert_eq!(
            read_underway(&path, 2),
            [
                underway(key(7, 1), None, None),
                underway(key(u64::MAX, u32::MAX), None, None)
            ]
        );
        clear(&path).unwrap();
        assert_eq!(read(&path, 2), []);
        assert!(!is_running(&path, 2));
    }
}
