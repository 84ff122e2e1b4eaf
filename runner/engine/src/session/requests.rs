//! Requests to sessions: sent by [`stop`], and polled on a separate thread so that a hanging disk does not block the coordinator.

use std::{collections::HashSet, io, path::Path, sync::mpsc::Sender, thread, time::Duration};

use runner_model::Reason;
use runner_record::{Answer, RecordError, RequestMode, Requests, ResultsRoot, actor};

use super::watchdog::Watchdog;
use crate::{schedule::StopMode, workers::Input};

const POLL_EVERY: Duration = Duration::from_millis(50);

/// Requests that a run in the results root `results` stops, and returns without waiting for its end: the answer is
/// [`Answer::Stopping`] if it runs. The session can be of this process or of another one, and an observer may call this. Running
/// attempts have the grace period to end; `resume` continues the run.
///
/// `run` is its id, a unique part of the id, its path, or `latest`.
///
/// # Errors
///
/// The run cannot be found or written.
pub fn stop(results: impl AsRef<Path>, run: &str) -> Result<Answer, RecordError> {
    let root = ResultsRoot::existing(results.as_ref())?;
    root.ask_for(&root.find(run)?, RequestMode::Stop, &actor(None), Duration::ZERO)
}

/// Sends requests to the coordinator until the session is over, and also to the watchdog, because the coordinator may be stuck.
///
/// # Errors
///
/// No thread can be started.
pub(crate) fn watch(
    requests: Requests,
    watchdog: Watchdog,
    inputs: Sender<Input>,
) -> io::Result<()> {
    let watch = move || {
        let (mut sent, mut is_paused) = (HashSet::new(), false);
        let mut labels = None;
        while !watchdog.is_over() {
            let mut pause = None;
            for request in requests.pending() {
                match stop_mode(request.mode) {
                    None => pause = Some(request.by),
                    Some((mode, reason)) if sent.insert(request.mode) => {
                        if mode > StopMode::Drain {
                            watchdog.stopping(mode == StopMode::Kill, reason, None);
                        }
                        // Without a receiver the session has ended.
                        let _ = inputs.send(Input::Request(Box::new(request)));
                    }
                    Some(_) => {}
                }
            }
            if pause.is_some() != is_paused {
                is_paused = pause.is_some();
                let _ = inputs.send(Input::Pause(pause.map(Box::new)));
            }
            let request = requests.labels();
            if let Some(request) = request.clone().filter(|_| request != labels) {
                let _ = inputs.send(Input::Labels(Box::new(request)));
            }
            labels = request;
            thread::sleep(POLL_EVERY);
        }
    };
    let thread = thread::Builder::new().name("requests".into());
    thread.spawn(watch).map(drop)
}

/// Returns the mode and the reason of a request to stop. `None` for a pause.
pub(crate) fn stop_mode(mode: RequestMode) -> Option<(StopMode, Reason)> {
    match mode {
        RequestMode::Pause => None,
        RequestMode::Drain => Some((StopMode::Drain, Reason::Stopped)),
        RequestMode::Stop => Some((StopMode::Stop, Reason::Stopped)),
        RequestMode::Cancel => Some((StopMode::Stop, Reason::Cancelled)),
        RequestMode::Kill => Some((StopMode::Kill, Reason::Stopped)),
    }
}
