//! How much memory a program had at most.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::runner::{CommandExt as _, Ran};

const KIB: u64 = 1024;

/// Runs a program to its end; the second is the most that it had in memory, in bytes, as far as was seen, without its
/// children.
pub(crate) fn measured(mut command: Command) -> (Ran, u64) {
    let running = command.start();
    let status = format!("/proc/{}/status", running.id());
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let watch = thread::spawn(move || {
        let mut peak = 0;
        while !over.load(Ordering::Relaxed) {
            peak = peak_in(&status).unwrap_or(0).max(peak);
            thread::sleep(Duration::from_millis(1));
        }
        peak
    });
    let ran = running.finish();
    is_over.store(true, Ordering::Relaxed);
    (ran, watch.join().unwrap())
}

fn peak_in(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * KIB)
}
