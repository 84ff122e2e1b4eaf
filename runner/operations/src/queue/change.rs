//! Adds, lists, moves and removes requests.

use runner_model::visible::visible_line;
use runner_record::{LockedQueue, QueueState, QueuedRequest, ResultsRoot};
use runner_report::{QueueChange, QueueDocument, QueueEntry, QueueResult, QueueRun, VERSION};

use super::error::QueueError;
use crate::{launch::kill, settings::Settings};

/// A new place in the queue.
#[derive(Clone, Copy, Debug)]
pub enum QueuePlace<'a> {
    /// After the other requests of this priority.
    Priority(i64),
    /// Before the request with this id, with its priority.
    Before(&'a str),
}

/// Adds a request with a new id to the queue.
///
/// # Errors
///
/// The user has no key, another request continues the same run, or the request cannot be written.
pub fn add(root: &ResultsRoot, request: QueuedRequest) -> Result<QueueChange, QueueError> {
    add_to(root, &root.lock_queue()?, request)
}

pub(super) fn add_to(
    root: &ResultsRoot,
    queue: &LockedQueue,
    mut request: QueuedRequest,
) -> Result<QueueChange, QueueError> {
    // No process would start a request without a signature.
    if let Some(problem) = root.signing_problem() {
        return Err(QueueError::NoKey(problem));
    }
    check_run(root, queue, &request)?;
    queue.add(&mut request)?;
    change(queue, QueueResult::Queued, &request)
}

/// Fails if another request continues the same run.
pub fn check_run(
    root: &ResultsRoot,
    queue: &LockedQueue,
    request: &QueuedRequest,
) -> Result<(), QueueError> {
    let Some(run) = &request.run else { return Ok(()) };
    let mut others = queue.read()?.requests.into_iter();
    match others.find(|other| other.run.as_ref() == Some(run) && other.state != QueueState::Refused)
    {
        Some(other) => Err(QueueError::Held(format!(
            "run {} waits in the queue already, as request {}\nto start it in another way, remove that first: {}",
            visible_line(run),
            visible_line(&other.id),
            root.command(&["queue", "remove", &other.id])
        ))),
        None => Ok(()),
    }
}

/// Reads the queue and the active runs.
///
/// # Errors
///
/// The root cannot be read, or its settings have problems.
pub fn list(root: &ResultsRoot) -> Result<QueueDocument, QueueError> {
    let settings = Settings::read(root).map_err(QueueError::Settings)?;
    let queue = root.queue()?;
    let active = root.active_runs()?;
    let active = active.iter().map(|run| {
        let is_preempted = queue.preempted.contains(&run.manifest.id);
        QueueRun::new(run, run.manifest.paused().is_some() && is_preempted)
    });
    let unreadable = queue.unreadable.iter().map(ToString::to_string);
    Ok(QueueDocument {
        v: VERSION,
        max_active_runs: settings.keys.max_active_runs,
        active: active.collect(),
        requests: QueueEntry::list(&queue.requests),
        problems: settings.ignored.into_iter().chain(unreadable).collect(),
    })
}

/// Moves a request. A refused request waits again.
///
/// # Errors
///
/// An id does not match exactly one request of this user, the other request does not wait, or a request cannot be written.
pub fn move_request(
    root: &ResultsRoot,
    id: &str,
    place: QueuePlace<'_>,
) -> Result<QueueChange, QueueError> {
    let queue = root.lock_queue()?;
    let requests = queue.read()?.requests;
    let mut request = find(root, &requests, id, false)?.clone();
    if request.state == QueueState::Starting {
        return Err(starting(root, &request.id));
    }
    (request.tries, request.refused, request.state) = (0, None, QueueState::Waiting);
    match place {
        QueuePlace::Priority(priority) => {
            request.priority = priority;
            queue.add(&mut request)?;
        }
        QueuePlace::Before(other) => {
            let other = find(root, &requests, other, false)?;
            if other.state != QueueState::Waiting {
                return Err(QueueError::NotWaiting(other.id.clone()));
            }
            if other.id != request.id {
                (request.priority, request.place) = (other.priority, other.place);
                make_room(&queue, &requests, &request)?;
                queue.write(&request)?;
            }
        }
    }
    change(&queue, QueueResult::Moved, &request)
}

/// Frees the place of a request: moves the request that has it, and those in the places directly after it. Starts with the
/// last one, so that the order is right even if this process dies.
fn make_room(
    queue: &LockedQueue,
    requests: &[QueuedRequest],
    moved: &QueuedRequest,
) -> Result<(), QueueError> {
    let mut place = moved.place;
    let displaced: Vec<_> = requests
        .iter()
        .filter(|request| request.id != moved.id && request.priority == moved.priority)
        .filter(|request| request.state == QueueState::Waiting && request.foreign.is_none())
        .filter(|request| {
            let is_displaced = request.place == place;
            place = place.saturating_add(u64::from(is_displaced));
            is_displaced
        })
        .cloned()
        .collect();
    for mut request in displaced.into_iter().rev() {
        request.place = request.place.saturating_add(1);
        queue.write(&request)?;
    }
    Ok(())
}

/// Removes a request. Kills the process that is starting its run.
///
/// # Errors
///
/// `id` does not match exactly one request of this user, or the process that is starting it is not found.
pub fn remove(root: &ResultsRoot, id: &str) -> Result<QueueChange, QueueError> {
    let queue = root.lock_queue()?;
    let requests = queue.read()?.requests;
    let request = find(root, &requests, id, true)?;
    if request.state == QueueState::Starting && !kill(&queue.lock_of(request)?) {
        return Err(starting(root, &request.id));
    }
    let removed = change(&queue, QueueResult::Removed, request)?;
    queue.remove(request)?;
    Ok(removed)
}

/// Adds a request that was removed, with its old place and signature.
///
/// # Errors
///
/// Another request continues the same run, or the request cannot be written.
pub fn restore(root: &ResultsRoot, request: &QueuedRequest) -> Result<QueueChange, QueueError> {
    let queue = root.lock_queue()?;
    check_run(root, &queue, request)?;
    queue.write(request)?;
    change(&queue, QueueResult::Queued, request)
}

/// Returns the result of a change, with the request as it is in the queue now.
fn change(
    queue: &LockedQueue,
    result: QueueResult,
    request: &QueuedRequest,
) -> Result<QueueChange, QueueError> {
    let entries = QueueEntry::list(&queue.read()?.requests);
    let entry = entries.into_iter().find(|entry| entry.request == request.id);
    Ok(QueueChange::new(result, entry.unwrap_or_else(|| QueueEntry::new(request, None))))
}

fn starting(root: &ResultsRoot, id: &str) -> QueueError {
    let remove = root.command(&["queue", "remove", id]);
    let shown = visible_line(id);
    QueueError::Held(format!("request {shown} is being started\nto end its process: {remove}"))
}

/// Finds a request of this user by its id or a unique part of it. A request of another key can only be removed.
fn find<'a>(
    root: &ResultsRoot,
    requests: &'a [QueuedRequest],
    id: &str,
    removes: bool,
) -> Result<&'a QueuedRequest, QueueError> {
    let list = root.command(&["queue"]);
    let matches: Vec<_> =
        requests.iter().filter(|request| !id.is_empty() && request.id.contains(id)).collect();
    let whole = matches.iter().find(|request| request.id == id);
    let request = match (whole, matches.as_slice()) {
        (Some(request), _) | (None, [request]) => *request,
        (None, []) => return Err(QueueError::Unknown { id: id.to_owned(), list }),
        (None, _) => return Err(QueueError::Ambiguous { id: id.to_owned(), list }),
    };
    match request.foreign.clone() {
        Some(why) if !(removes && request.is_unsigned) => {
            Err(QueueError::Foreign { id: request.id.clone(), why })
        }
        _ => Ok(request),
    }
}
