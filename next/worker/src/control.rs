//! The control thread: reads frames and answers them, also while guests compute.

use std::{
    io,
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use crate::{instances::TEARDOWN, link::Incoming, shared::WorkerState};
use runner_model::protocol::{FromWorker, Task, TaskKind, ToWorker};

/// How often the worker says what runs while something does; it is also its sign of life.
const BEAT: Duration = Duration::from_millis(500);

/// Reads and answers until nothing more will come. `torn_down` ends when all slots have torn down what they keep.
///
/// # Errors
///
/// The socket's end, or a supervisor that is broken.
pub fn serve(
    incoming: &mut Incoming,
    shared: &WorkerState,
    torn_down: &Receiver<()>,
) -> io::Result<()> {
    let mut beat_at = Instant::now() + BEAT;
    let mut interrupt_at = None;
    loop {
        // After a suspension the next beat must not tell of guests that look late.
        shared.shift()?;
        let now = Instant::now();
        if interrupt_at.is_some_and(|at| at <= now) {
            shared.interrupt.now();
            interrupt_at = None;
        }
        if beat_at <= now {
            if shared.is_running() {
                shared.say_doing()?;
            }
            beat_at = now + BEAT;
        }
        let next = interrupt_at.map_or(beat_at, |at| beat_at.min(at));
        // A socket refuses a timeout of 0.
        let wait = next.saturating_duration_since(now).max(Duration::from_millis(1));
        incoming.stream().set_read_timeout(Some(wait))?;
        match incoming.next()? {
            None => {}
            Some(ToWorker::Tasks { tasks, body }) => {
                let is_grade = |task: &Task| matches!(task.kind, TaskKind::Grade { .. });
                if tasks.iter().any(is_grade) {
                    return Err(refused("a task for a grader"));
                }
                shared.push(tasks, &body)?;
            }
            Some(ToWorker::TakeBack { keep }) => shared.take_back(keep)?,
            Some(ToWorker::Stop { grace, kill }) => {
                shared.stop()?;
                shared.say_doing()?;
                shared.interrupt.request();
                let grace = if kill { Duration::ZERO } else { grace.into() };
                let at = Instant::now() + grace;
                interrupt_at = Some(interrupt_at.map_or(at, |earlier: Instant| earlier.min(at)));
            }
            Some(ToWorker::PluginReady(digest) | ToWorker::BlobReady(digest)) => {
                shared.arrive(digest);
            }
            Some(ToWorker::Finish { teardown }) => {
                if teardown {
                    // After a stop guests have no longer than the grace.
                    let grace = interrupt_at.map(|at| at.saturating_duration_since(now));
                    let most = Duration::from(TEARDOWN);
                    shared.finish();
                    // A guest that is not done then ends with this process.
                    let _ = torn_down.recv_timeout(grace.map_or(most, |grace| grace.min(most)));
                }
                return shared.say(&FromWorker::Bye);
            }
            Some(ToWorker::Prepare(_)) => return Err(refused("a second `Prepare`")),
            Some(ToWorker::Pause(is_paused)) => shared.pause(is_paused)?,
        }
    }
}

/// The error of a supervisor that is broken.
pub fn refused(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the supervisor sent {what}, which this worker does not take"),
    )
}
