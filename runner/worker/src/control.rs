//! The control thread: reads frames and answers them, also while guests compute.

use std::time::{Duration, Instant};
use std::{io, sync::mpsc::Receiver};

use runner_model::protocol::{FromWorker, ToWorker};

use crate::{instances::TEARDOWN, link::Incoming, worker_state::WorkerState};

/// Interval at which a busy worker sends its running tasks. These frames are also its heartbeat.
const BEAT: Duration = Duration::from_millis(500);
/// Beats from one with the output of guests to the next.
const OUTPUT_BEATS: u64 = 2;

/// Reads and answers frames until `Finish`. `torn_down` disconnects when all slots have torn down their instances.
///
/// # Errors
///
/// The socket's end, or a frame that no supervisor sends.
pub fn serve(
    incoming: &mut Incoming,
    state: &WorkerState,
    torn_down: &Receiver<()>,
) -> io::Result<()> {
    let mut beat_at = Instant::now() + BEAT;
    let mut beats = 0_u64;
    let mut interrupt_at = None;
    loop {
        // After a suspension of the machine the next heartbeat must not show guests that seem overdue.
        state.postpone_starts()?;
        let now = Instant::now();
        if interrupt_at.is_some_and(|at| at <= now) {
            state.interrupt.now();
            interrupt_at = None;
        }
        if beat_at <= now {
            // A large blob may take long, and a worker with tasks must not be silent meanwhile.
            if state.is_running() || state.is_waiting() {
                state.send_doing(beats.is_multiple_of(OUTPUT_BEATS))?;
            }
            beat_at = now + BEAT;
            beats += 1;
        }
        let next = interrupt_at.map_or(beat_at, |at| beat_at.min(at));
        // A socket refuses a timeout of 0.
        let wait = next.saturating_duration_since(now).max(Duration::from_millis(1));
        incoming.stream().set_read_timeout(Some(wait))?;
        match incoming.next()? {
            None => {}
            Some(ToWorker::Tasks { tasks, body }) => {
                state.push_tasks(tasks, body)?;
            }
            Some(ToWorker::TakeBack { keep }) => state.take_back(keep)?,
            Some(ToWorker::Stop { grace, kill }) => {
                state.stop()?;
                state.send_doing(false)?;
                state.interrupt.request();
                let grace = if kill { Duration::ZERO } else { grace.into() };
                let at = Instant::now() + grace;
                interrupt_at = Some(interrupt_at.map_or(at, |earlier: Instant| earlier.min(at)));
            }
            Some(ToWorker::PluginReady(digest) | ToWorker::BlobReady(digest)) => {
                state.add_arrived(digest);
            }
            Some(ToWorker::Finish { teardown }) => {
                if teardown {
                    // After a stop, a teardown may take no longer than the rest of the grace.
                    let grace = interrupt_at.map(|at| at.saturating_duration_since(now));
                    let limit = Duration::from(TEARDOWN);
                    state.finish();
                    // A teardown that takes longer ends with this process.
                    let _ = torn_down.recv_timeout(grace.map_or(limit, |grace| grace.min(limit)));
                }
                return state.send(&FromWorker::Bye);
            }
            Some(ToWorker::EntryKept(task)) => state.entry_kept(task),
            Some(ToWorker::Prepare(_)) => return Err(unexpected("a second `Prepare`")),
            Some(ToWorker::Pause(is_paused)) => state.pause(is_paused)?,
        }
    }
}

/// Returns the error for a frame that no supervisor sends.
pub fn unexpected(frame: &str) -> io::Error {
    let message = format!("unexpected frame from the supervisor: {frame}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
