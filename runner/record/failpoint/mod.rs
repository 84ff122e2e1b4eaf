//! Places at which tests kill the process or make a write fail.
//!
//! They are in every debug build and in no release build, so that `cargo test` alone runs the crash matrix.

/// Passes `<step>.<place>`.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn pass(_step: &str, _place: &str) -> std::io::Result<()> {
    Ok(())
}

/// How many bytes make a file of rows full, if a test says so.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn full_bytes() -> Option<u64> {
    None
}

/// Hears of syncs.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn file_synced(_path: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}

/// Hears of syncs.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn directory_synced(_path: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
pub use armed::{PLACES, arm};
#[cfg(debug_assertions)]
pub(super) use armed::{full_bytes, pass};
#[cfg(debug_assertions)]
pub(super) use shadow::{directory_synced, file_synced};

#[cfg(debug_assertions)]
mod shadow;

#[cfg(debug_assertions)]
mod armed {
    use std::{
        io,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
    };

    use rustix::{io::Errno, process};

    use super::shadow;

    /// Every place there is. A place that is not here panics when it is passed, so that none is left out by the tests that
    /// go through them all.
    #[rustfmt::skip]
    pub const PLACES: &[&str] = &[
        "birth.directory", "birth.lock", "birth.content", "birth.scenario", "birth.files",
        "birth.begin", "birth.written", "birth.renamed", "birth.synced", "birth.born",
        "content.begin", "content.written", "content.renamed", "content.synced",
        "stage.begin",
        "artifact.begin", "artifact.written",
        "logs.created", "logs.begin", "logs.written", "logs.synced",
        "row.begin", "row.written", "row.synced",
        "rows.begin", "rows.created", "rows.synced",
        "seal.begin", "seal.written", "seal.renamed", "seal.synced",
        "finish.begin", "finish.written", "finish.renamed", "finish.synced",
        "repair.begin", "repair.aside.begin", "repair.aside.written", "repair.aside.renamed", "repair.aside.synced",
        "repair.moved", "repair.truncated", "repair.newline", "repair.completed", "repair.synced",
        "repair.scenario.begin", "repair.scenario.written", "repair.scenario.renamed", "repair.scenario.synced",
        "sweep.begin", "sweep.written", "sweep.renamed", "sweep.synced",
        "opening.scenario.begin", "opening.scenario.written", "opening.scenario.renamed", "opening.scenario.synced",
        "opening.claimed", "opening.tidied", "opening.files", "opening.begin", "opening.written", "opening.renamed", "opening.synced",
        "pin.begin", "pin.written", "pin.renamed", "pin.synced",
        "queue.begin", "queue.written", "queue.renamed", "queue.synced",
        "queue.taken", "queue.held", "queue.born", "queue.done", "queue.back",
        "merge.directory", "merge.content", "merge.rows", "merge.begin", "merge.written", "merge.renamed", "merge.synced",
        "merge.named",
        "cancel.begin", "cancel.written", "cancel.renamed", "cancel.synced",
    ];

    static ARMED: OnceLock<Failpoint> = OnceLock::new();
    static FULL_BYTES: OnceLock<u64> = OnceLock::new();

    /// What happens when a place is passed for the last of `passes` times.
    struct Failpoint {
        place: &'static str,
        passes_left: AtomicU32,
        fault: &'static str,
    }

    /// Arms one place of this process: `row.written@5=kill` kills it when it passes there for the fifth time. From then on
    /// `full` makes each pass there fail for want of space, and `broken` each pass anywhere, as on a disk that is gone.
    /// `halt` suspends it there until it gets SIGCONT.
    ///
    /// `full=BYTES`, alone or after that and a comma, makes a file of rows full with so many bytes. `shadow=DIR`, alone or
    /// after these and a comma, keeps in this directory what a loss of power would leave.
    ///
    /// # Panics
    ///
    /// Panics if the text is none of these: the test that wrote it would prove nothing.
    pub fn arm(text: &str) {
        let (text, directory) = match text.split_once("shadow=") {
            Some((text, directory)) => (text.trim_end_matches(','), Some(directory)),
            None => (text, None),
        };
        if let Some(directory) = directory {
            shadow::cast(directory);
        }
        let (text, full) = match text.split_once("full=") {
            Some((text, bytes)) => (text.trim_end_matches(','), bytes.parse().ok()),
            None => (text, None),
        };
        if let Some(full) = full {
            assert!(FULL_BYTES.set(full).is_ok(), "files have one size");
        }
        if text.is_empty() && (directory.is_some() || full.is_some()) {
            return;
        }
        let parse = || {
            let (place, fault) = text.split_once('=')?;
            let (place, passes) = place.split_once('@').unwrap_or((place, "1"));
            Some(Failpoint {
                place: PLACES.iter().find(|known| **known == place)?,
                passes_left: AtomicU32::new(passes.parse().ok()?),
                fault: ["kill", "full", "broken", "halt", "panic"]
                    .into_iter()
                    .find(|known| *known == fault)?,
            })
        };
        let failpoint = parse().unwrap_or_else(|| panic!("`{text}` is not a failpoint"));
        assert!(ARMED.set(failpoint).is_ok(), "a process has one failpoint");
    }

    /// How many bytes make a file of rows full, if a test says so.
    pub(in crate::record) fn full_bytes() -> Option<u64> {
        FULL_BYTES.get().copied()
    }

    /// Passes `<step>.<place>`: what is armed there happens.
    pub(in crate::record) fn pass(step: &str, place: &str) -> io::Result<()> {
        let is_here = |known: &str| {
            let rest = known.strip_prefix(step);
            rest.and_then(|rest| rest.strip_prefix('.')) == Some(place)
        };
        assert!(
            PLACES.iter().any(|known| is_here(known)),
            "`{step}.{place}` is not in the list of places"
        );
        let Some(armed) = ARMED.get() else {
            return Ok(());
        };
        let left = armed.passes_left.load(Ordering::Relaxed);
        if left == 0 && armed.fault == "broken" {
            return Err(Errno::IO.into());
        }
        if !is_here(armed.place) {
            return Ok(());
        }
        armed
            .passes_left
            .store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 1 {
            return Ok(());
        }
        match armed.fault {
            "full" => Err(Errno::NOSPC.into()),
            "broken" => Err(Errno::IO.into()),
            "halt" => Ok(process::kill_process(
                process::getpid(),
                process::Signal::STOP,
            )?),
            "panic" => panic!("a failpoint"),
            _ => Ok(process::kill_process(
                process::getpid(),
                process::Signal::KILL,
            )?),
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests;
