//! Places at which tests kill the process or make a write fail. A release build has none.

/// Passes `<step>.<place>`.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) fn pass(_step: &str, _place: &str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
pub use armed::arm;
#[cfg(debug_assertions)]
pub(super) use armed::pass;

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

    static ARMED: OnceLock<Failpoint> = OnceLock::new();

    /// What happens when a place is passed for the last of `passes` times.
    struct Failpoint {
        place: String,
        passes_left: AtomicU32,
        fault: String,
    }

    /// Arms one place of this process: `row.written@5=kill` kills it when it passes there for the fifth time. Other faults
    /// are `full` and `broken`, which last from then on.
    ///
    /// # Panics
    ///
    /// Panics if the text is none of these: the test that wrote it would prove nothing.
    pub fn arm(text: &str) {
        let parse = || {
            let (place, fault) = text.split_once('=')?;
            let (place, passes) = place.split_once('@').unwrap_or((place, "1"));
            Some(Failpoint {
                place: place.into(),
                passes_left: AtomicU32::new(passes.parse().ok()?),
                fault: ["kill", "full", "broken"]
                    .into_iter()
                    .find(|known| *known == fault)?
                    .into(),
            })
        };
        let failpoint = parse().unwrap_or_else(|| panic!("`{text}` is no failpoint"));
        assert!(ARMED.set(failpoint).is_ok(), "a process has one failpoint");
    }

    /// Passes `<step>.<place>`: what is armed there happens.
    pub(in crate::record) fn pass(step: &str, place: &str) -> io::Result<()> {
        let Some(armed) = ARMED.get() else {
            return Ok(());
        };
        let is_here = armed
            .place
            .strip_prefix(step)
            .and_then(|rest| rest.strip_prefix('.'))
            == Some(place);
        if !is_here {
            return Ok(());
        }
        let left = armed.passes_left.load(Ordering::Relaxed);
        if left > 1 {
            armed.passes_left.store(left - 1, Ordering::Relaxed);
            return Ok(());
        }
        match armed.fault.as_str() {
            "full" => Err(Errno::NOSPC.into()),
            "broken" => Err(Errno::IO.into()),
            _ => Ok(process::kill_process(
                process::getpid(),
                process::Signal::KILL,
            )?),
        }
    }
}
