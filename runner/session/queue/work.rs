//! Starting what waits, one after the other.

use std::time::{Duration, Instant};

use super::launch::{ActiveRuns, NotBegun, RefusedStart, busy, launch};
use crate::{
    error::Error,
    record::{QueuedRequest, Store},
    session::{Host, Notice, Observe, Waiting, tend},
    view::{DocumentVersion, QueueStep},
};

/// How many looks at a queue in which nothing can be started follow each other before it is read again: half a second.
const LOOKS: u32 = 10;

/// How often the results root is looked after meanwhile.
const TEND_EVERY: Duration = Duration::from_secs(60);

/// What came of starting the request that comes first.
#[derive(Debug)]
pub enum NextStart {
    /// Nothing waits.
    Nothing,
    /// As many runs are active as the results root may have.
    Busy(ActiveRuns),
    /// Somebody tried.
    Tried(QueueStep),
}

/// Starts the request that comes first, if there is one and there is room; blocks until there is a run. Of two that do this
/// at once, each starts another request.
///
/// # Errors
///
/// Fails if the queue cannot be read or written; that a request cannot be started is told.
pub fn start_next(store: &Store, host: &Host) -> Result<NextStart, Error> {
    let state = store.queue().map_err(Error::record)?;
    if state.waiting.is_empty() && state.starting.is_empty() {
        return Ok(NextStart::Nothing);
    }
    let taken = {
        let queue = store.lock_queue((host.now)()).map_err(Error::record)?;
        if let Some(active) = busy(store, &queue)? {
            return Ok(NextStart::Busy(active));
        }
        queue.take_first().map_err(Error::record)?
    };
    let Some(taken) = taken else {
        return Ok(NextStart::Nothing);
    };
    let request = taken.request.clone();
    let error = match launch(store, &taken, host) {
        Ok(started) => {
            let run = started.run.map(|run| run.to_string());
            return Ok(NextStart::Tried(step("started", &request, run, None)));
        }
        Err(error) => error,
    };
    let (result, kept) = match &error {
        NotBegun::Refused(error) => ("refused", taken.refuse(RefusedStart::told(error))),
        NotBegun::NotNow(_) => ("postponed", taken.put_back()),
        // The next look at the queue counts it.
        NotBegun::Died(_) => ("postponed", Ok(())),
    };
    kept.map_err(Error::record)?;
    let why = RefusedStart::told(&error.into_error());
    Ok(NextStart::Tried(step(result, &request, None, Some(why))))
}

fn step(
    result: &'static str,
    request: &QueuedRequest,
    run: Option<String>,
    error: Option<String>,
) -> QueueStep {
    QueueStep {
        v: DocumentVersion,
        result,
        request: request.id.clone(),
        run,
        error,
    }
}

/// Waits for something that can be started, and starts it.
pub struct QueueWork<'a> {
    store: &'a Store,
    host: &'a Host,
    looks_left: u32,
    tended: Option<Instant>,
}

impl<'a> QueueWork<'a> {
    /// Begins to work on the queue of `store`.
    pub fn new(store: &'a Store, host: &'a Host) -> Self {
        Self {
            store,
            host,
            looks_left: 0,
            tended: None,
        }
    }
}

impl Waiting for QueueWork<'_> {
    type Answer = QueueStep;

    fn poll(&mut self, observe: &mut dyn Observe) -> Result<Option<QueueStep>, Error> {
        if self.tended.is_none_or(|at| at.elapsed() >= TEND_EVERY) {
            self.tended = Some(Instant::now());
            let tended = tend(self.store, self.host)?;
            for target in tended.told.iter().flat_map(|report| &report.targets) {
                observe.notice(&Notice::Notified(target));
            }
        }
        if self.looks_left > 0 {
            self.looks_left -= 1;
            return Ok(None);
        }
        self.looks_left = LOOKS;
        match start_next(self.store, self.host)? {
            NextStart::Nothing | NextStart::Busy(_) => Ok(None),
            NextStart::Tried(step) => {
                if step.result != "postponed" {
                    self.looks_left = 0;
                }
                Ok(Some(step))
            }
        }
    }
}
