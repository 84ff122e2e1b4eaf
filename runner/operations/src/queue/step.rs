//! Starts the request that comes first, if there is room for a run.

use std::io::{self, ErrorKind};
use std::{ffi::OsString, path::Path};

use runner_model::exit::Exit;
use runner_record::{ActiveRun, LockedQueue, QueueState, QueuedRequest, ResultsRoot, TakenRequest};
use runner_report::{QueueEntry, QueueStep, Started, StepResult, VERSION};

use super::change::{add_to, check_run};
use super::error::QueueError;
use super::preemption::{continue_locked, is_preempted, preempt};
use crate::launch::{Launch, LaunchError, launch};
use crate::settings::Settings;

/// The commands that may wait in a queue.
const COMMANDS: [&str; 3] = ["exec", "resume", "rescore"];

/// The result of an attempt to start a request.
#[derive(Debug)]
pub enum Step {
    /// No request of this user waits.
    Idle,
    /// `max` runs are active or starting.
    Busy {
        /// Ids of the active runs.
        runs: Vec<String>,
        /// Number of requests whose run does not exist yet.
        starting: u32,
        max: u32,
    },
    Started {
        request: Box<QueuedRequest>,
        started: Started,
    },
    /// The request, or an earlier one with the same id, waits or is starting.
    Queued(Box<QueueEntry>),
    /// An earlier request with the same id has started this run.
    Repeated(Started),
    /// The request cannot be started.
    Refused {
        request: Box<QueuedRequest>,
        error: LaunchError,
    },
    /// The request waits again, for a reason other than its command: the results root is in use, or the process has died.
    Postponed {
        request: Box<QueuedRequest>,
        error: LaunchError,
    },
}

impl Step {
    /// Returns the document about an attempt to start a request. `None` if there was no attempt.
    pub fn document(&self) -> Option<QueueStep> {
        let (result, request, run, error) = match self {
            Self::Idle | Self::Busy { .. } | Self::Queued(_) | Self::Repeated(_) => return None,
            Self::Started { request, started } => {
                (StepResult::Started, request, Some(started.id.clone()), None)
            }
            Self::Refused { request, error } => (StepResult::Refused, request, None, Some(error)),
            Self::Postponed { request, error } => {
                (StepResult::Postponed, request, None, Some(error))
            }
        };
        let problem = error.map(ToString::to_string);
        Some(QueueStep { v: VERSION, result, request: request.id.clone(), run, problem })
    }
}

/// Starts the request of this user that comes first, if there is room. Returns once its run exists. Two processes never start
/// the same request. First continues the runs that were paused for requests whose runs have ended.
///
/// # Errors
///
/// The queue cannot be read or written, or the root's settings have problems.
pub fn step(root: &ResultsRoot) -> Result<Step, QueueError> {
    let found = root.queue()?;
    if found.preempted.is_empty() && !found.requests.iter().any(may_start) {
        return Ok(Step::Idle);
    }
    let queue = root.lock_queue()?;
    continue_locked(root, &queue)?;
    let requests = queue.read()?.requests;
    let active = root.active_runs()?;
    // A request whose run is already active does not hold up the others.
    let mut waiting = requests.iter().filter(|request| may_start(request));
    let free = waiting.clone().find(|request| {
        let mut runs = active.iter().map(|run| &run.manifest);
        !runs.any(|run| request.continues(&run.id, run.group.as_ref()))
    });
    let Some(first) = free.or_else(|| waiting.next()) else {
        return Ok(Step::Idle);
    };
    if let Some(busy) = busy(root, &queue, first, active)? {
        return Ok(busy);
    }
    // A copy of an earlier request starts nothing.
    if queue.undo_part(&first.id)? {
        queue.remove(first)?;
        drop(queue);
        return step(root);
    }
    let taken = queue.take(first.clone())?;
    drop(queue);
    start_taken(root, taken, true)
}

/// Starts a request if there is room, or adds it to the queue if it `waits`. Does not keep a refused request. Requests with the
/// same id start one run.
///
/// # Errors
///
/// As [`step`], or the run that it continues waits in the queue, or an earlier request with the id has another body.
pub fn start(
    root: &ResultsRoot,
    mut request: QueuedRequest,
    waits: bool,
) -> Result<Step, QueueError> {
    let queue = root.lock_queue()?;
    let requests = queue.read()?.requests;
    let mut entries = requests.iter().zip(QueueEntry::list(&requests));
    if let Some((other, entry)) = entries.find(|(other, _)| other.id == request.id) {
        if other.body != request.body {
            return Err(QueueError::OtherBody(request.id));
        }
        return Ok(Step::Queued(Box::new(entry)));
    }
    if let Some(run) = root.runs_of_request(&request.id)?.into_iter().next() {
        let mut marks = run.sessions.iter().filter_map(|session| session.request.as_ref());
        if !marks.any(|mark| mark.id == request.id && mark.body == request.body) {
            return Err(QueueError::OtherBody(request.id));
        }
        let run_dir = root.path().join(&run.id).to_string_lossy().into_owned();
        return Ok(Step::Repeated(Started { v: VERSION, id: run.id, run_dir: Some(run_dir) }));
    }
    if waits {
        return Ok(Step::Queued(Box::new(add_to(root, &queue, request)?.entry)));
    }
    continue_locked(root, &queue)?;
    check_run(root, &queue, &request)?;
    if let Some(busy) = busy(root, &queue, &request, root.active_runs()?)? {
        return Ok(busy);
    }
    queue.add(&mut request)?;
    let taken = queue.take(request)?;
    drop(queue);
    start_taken(root, taken, false)
}

fn may_start(request: &QueuedRequest) -> bool {
    request.state == QueueState::Waiting && request.foreign.is_none()
}

/// Returns the reason if there is no room for a request, after pausing runs for it.
fn busy(
    root: &ResultsRoot,
    queue: &LockedQueue,
    request: &QueuedRequest,
    mut active: Vec<ActiveRun>,
) -> Result<Option<Step>, QueueError> {
    let max = Settings::read(root).map_err(QueueError::Settings)?.keys.max_active_runs;
    let requests = queue.read()?.requests;
    let starting =
        requests.iter().filter(|other| other.state == QueueState::Starting).count() as u32;
    let preemptions = queue.preemptions()?;
    active.retain(|run| !is_preempted(run, &preemptions));
    let over = (active.len() as u32 + starting + 1).saturating_sub(max);
    if over == 0 || request.preempts && preempt(root, queue, request, &active, over)? {
        return Ok(None);
    }
    let runs = active.into_iter().map(|ActiveRun { manifest, .. }| manifest.id).collect();
    Ok(Some(Step::Busy { runs, starting, max }))
}

/// Starts the process of a request, and removes the request once its run exists.
fn start_taken(
    root: &ResultsRoot,
    taken: TakenRequest,
    keeps_refused: bool,
) -> Result<Step, QueueError> {
    let request = Box::new(taken.request.clone());
    let launched = launch_request(root, &taken);
    let queue = root.lock_queue()?;
    let error = match launched {
        Ok(started) => {
            queue.finish(&taken)?;
            // The run may have ended before its request was removed, and then it has continued no other.
            let _ = continue_locked(root, &queue);
            return Ok(Step::Started { request, started });
        }
        Err(error) => error,
    };
    queue.undo_part(&request.id)?;
    if !queue.has_taken(&taken)? {
        return Ok(Step::Refused { request, error: LaunchError::Removed });
    }
    match (failure(&error), keeps_refused) {
        (Failure::Refused, true) => queue.put_back(taken, Some(error.to_string()))?,
        (Failure::Refused, false) => queue.finish(&taken)?,
        (Failure::Postponed, _) => {
            queue.put_back(taken, None)?;
            return Ok(Step::Postponed { request, error });
        }
        // The next change of the queue finds the taken request without a lock, and counts the try.
        (Failure::Died, _) => return Ok(Step::Postponed { request, error }),
    }
    Ok(Step::Refused { request, error })
}

fn launch_request(root: &ResultsRoot, taken: &TakenRequest) -> Result<Started, LaunchError> {
    let request = &taken.request;
    let folder = Path::new(&request.folder);
    let failed = |source| LaunchError::Start { folder: folder.to_owned(), source };
    if !request.command.first().is_some_and(|word| COMMANDS.contains(&&**word)) {
        let source = io::Error::new(
            ErrorKind::InvalidInput,
            "a request is an `exec`, `resume` or `rescore`",
        );
        return Err(LaunchError::Start { folder: folder.to_owned(), source });
    }
    let arguments: Vec<_> = request.command.iter().map(OsString::from).collect();
    launch(Launch {
        arguments: &arguments,
        folder: Some(folder),
        results: Some(&root.path().canonicalize().map_err(failed)?),
        request: Some(&request.mark()),
        lock: Some(taken.lock().map_err(failed)?),
        prints_messages: false,
    })
}

/// Kinds of reasons why no run was started.
enum Failure {
    /// The command is wrong, or cannot run here.
    Refused,
    /// Other runs are in the way, the process was stopped, or the disk is full.
    Postponed,
    /// The process has died.
    Died,
}

fn failure(error: &LaunchError) -> Failure {
    match (error, error.exit()) {
        (LaunchError::Start { source, .. }, _) => match source.kind() {
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::InvalidInput => Failure::Refused,
            _ => Failure::Postponed,
        },
        (_, Some(Exit::Held | Exit::Signal(_) | Exit::Storage)) => Failure::Postponed,
        (_, Some(Exit::Internal)) => Failure::Died,
        (_, Some(_)) => Failure::Refused,
        (LaunchError::Ended { status, .. }, None) if status.success() => Failure::Refused,
        (_, None) => Failure::Died,
    }
}
