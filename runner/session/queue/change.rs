//! Putting requests into the queue, telling what is in it, and changing that.

use miette::miette;

use super::{known::known, requested};
use crate::{
    error::{Error, ExitStatus, Refusal, RefusalKind},
    model::{Actor, RunStatus},
    record::{
        KnownRequest, LockedQueue, QueueState, QueuedRequest, RecordError, RunEntry, RunId, Store,
    },
    session::{Host, Observe, Resume, Start, preview_resume, root_settings, start},
    view::{DocumentVersion, QueueChange, QueuedRun, RunQueue},
};

/// Where a request is to be in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePlace<'a> {
    /// By this priority.
    Priority(i64),
    /// Before all others.
    First,
    /// Right before the one with this id.
    Before(&'a str),
}

/// Lets a scenario wait in its results root until there is room for a run of it. What is wrong with it is found now.
///
/// # Errors
///
/// Fails as [`start()`](crate::session::start) does before there is a run, and if the request cannot be written.
pub fn enqueue(
    request: &Start,
    priority: i64,
    actor: &Actor,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<QueueChange, Error> {
    match enqueue_once(request, priority, (actor, None), host, observe)? {
        AddedRequest::Added(change) => Ok(*change),
        AddedRequest::Known(_) => Err(Error::internal(miette!("a request without a key is new"))),
    }
}

/// What came of putting a request into the queue.
#[derive(Debug)]
pub enum AddedRequest {
    /// It waits.
    Added(Box<QueueChange>),
    /// It was asked for before, by the same key.
    Known(KnownRequest),
}

/// The same for a request that may come twice: of two with the same key, one waits.
///
/// # Errors
///
/// Fails as [`enqueue`] does, and if something else was asked for with the key.
pub fn enqueue_once(
    request: &Start,
    priority: i64,
    (actor, key): (&Actor, Option<&str>),
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<AddedRequest, Error> {
    let work = requested::of_start(request)?;
    root_settings(request.root())?;
    drop(start::plan(request, host, observe)?);
    let store = Store::open(request.root()).map_err(Error::record)?;
    let id = RunId::of_request((host.now)()).to_string();
    let key = key.map(|key| work.key(key));
    let queued = QueuedRequest::new(id, priority, actor.into(), work).known_by(key);
    let queue = store.lock_queue((host.now)()).map_err(Error::record)?;
    if let Some(known) = known(&store, &queue, &queued)? {
        return Ok(AddedRequest::Known(known));
    }
    queue.add(&queued).map_err(Error::record)?;
    let added = changed("queued", &queue, &store, &queued, host)?;
    Ok(AddedRequest::Added(Box::new(added)))
}

/// Lets a run wait until there is room to go on with it. What is in the way of that is found now.
///
/// # Errors
///
/// Fails as [`resume()`](crate::session::resume) does before there is a session, if the run waits already, and if the request
/// cannot be written.
pub fn enqueue_resume(
    request: &Resume,
    priority: i64,
    actor: &Actor,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<QueueChange, Error> {
    let work = requested::of_resume(request)?;
    let run = &request.run.id;
    let preview = preview_resume(request, host, observe)?;
    // One that has not come to its end may have no trial left, and comes to it then.
    if request.run.status == RunStatus::Completed && !preview.has_pending() {
        return Err(Error::usage(Refusal {
            kind: RefusalKind::Conflict,
            text: format!("no trial of run `{run}` is left to run"),
            help: "name with `rerun` what is to run again".to_owned(),
        }));
    }
    drop(preview);
    let store = Store::existing_around(&request.run.dir).map_err(Error::record)?;
    root_settings(store.root())?;
    let id = RunId::of_request((host.now)()).to_string();
    let queued = QueuedRequest::new(id, priority, actor.into(), work);
    let queue = store.lock_queue((host.now)()).map_err(Error::record)?;
    let state = queue.state().map_err(Error::record)?;
    let mut others = state.waiting.iter().chain(&state.starting);
    if let Some(other) = others.find(|other| other.is_for(run)) {
        let report = miette!(
            help = "`runner queue` lists what waits",
            "run `{run}` waits in the queue already, as request `{}`",
            other.id
        );
        return Err(Error {
            status: ExitStatus::Busy,
            report,
        });
    }
    queue.add(&queued).map_err(Error::record)?;
    changed("queued", &queue, &store, &queued, host)
}

/// Tells what is in the queue of a results root, in order, and which runs are active.
///
/// # Errors
///
/// Fails if the results root cannot be read, or its settings are wrong.
pub fn list_queue(store: &Store, host: &Host) -> Result<RunQueue, Error> {
    let state = store.queue().map_err(Error::record)?;
    document(store, &state, host)
}

/// Gives a request another place in the queue; one that could not be started waits again.
///
/// # Errors
///
/// Fails if no request, or more than one, is called `id`, if it is being started, or if it cannot be written.
pub fn move_queued(
    store: &Store,
    id: &str,
    place: QueuePlace<'_>,
    host: &Host,
) -> Result<QueueChange, Error> {
    let queue = store.lock_queue((host.now)()).map_err(Error::record)?;
    let state = queue.state().map_err(Error::record)?;
    let request = find(&state, store, id).map_err(Error::usage)?;
    let priority = match place {
        QueuePlace::Priority(priority) => priority,
        QueuePlace::First => {
            let others = state.waiting.iter().filter(|other| other.id != request.id);
            let highest = others.map(|other| other.priority).max();
            let above = highest.map(|highest| highest.saturating_add(1));
            above.map_or(request.priority, |above| above.max(request.priority))
        }
        QueuePlace::Before(other) => {
            // It is not what the call is about.
            let other = find(&state, store, other).map_err(|Refusal { text, help, .. }| {
                Error::usage(miette!(help = help, "{text}"))
            })?;
            if other.id == request.id {
                return changed("moved", &queue, store, &request, host);
            }
            let mut wanted = state.waiting;
            wanted.retain(|one| one.id != request.id);
            let place = wanted.iter().position(|one| one.id == other.id);
            let place = place.ok_or_else(|| {
                Error::usage(miette!(
                    help = "`runner queue` lists all that wait",
                    "request `{}` does not wait, so nothing can be before it",
                    other.id
                ))
            })?;
            wanted.insert(place, request.clone());
            queue.order_as(wanted).map_err(Error::record)?;
            return changed("moved", &queue, store, &request, host);
        }
    };
    queue.reorder(&request, priority).map_err(Error::record)?;
    changed("moved", &queue, store, &request, host)
}

/// Removes a request from the queue.
///
/// # Errors
///
/// Fails as [`move_queued`] does.
pub fn remove_queued(store: &Store, id: &str, host: &Host) -> Result<QueueChange, Error> {
    let queue = store.lock_queue((host.now)()).map_err(Error::record)?;
    let state = queue.state().map_err(Error::record)?;
    let request = find(&state, store, id).map_err(Error::usage)?;
    let before = shown(&document(store, &state, host)?, &request)?;
    queue.remove(&request).map_err(Error::record)?;
    Ok(QueueChange {
        v: DocumentVersion,
        result: "removed",
        request: before,
    })
}

/// The runs of a results root that are active now, the newest first.
///
/// # Errors
///
/// Fails if the results root cannot be read.
pub(super) fn active_runs(store: &Store) -> Result<Vec<RunEntry>, RecordError> {
    store.running()
}

fn document(store: &Store, state: &QueueState, host: &Host) -> Result<RunQueue, Error> {
    let settings = root_settings(store.root())?;
    let active = active_runs(store).map_err(Error::record)?;
    let most = settings.max_active_runs.get();
    Ok(RunQueue::new(state, &active, most, (host.now)()))
}

/// What was done to a request, as it stands now.
fn changed(
    result: &'static str,
    queue: &LockedQueue,
    store: &Store,
    request: &QueuedRequest,
    host: &Host,
) -> Result<QueueChange, Error> {
    let state = queue.state().map_err(Error::record)?;
    Ok(QueueChange {
        v: DocumentVersion,
        result,
        request: shown(&document(store, &state, host)?, request)?,
    })
}

fn shown(queue: &RunQueue, request: &QueuedRequest) -> Result<QueuedRun, Error> {
    let mut requests = queue.requests.iter();
    let shown = requests.find(|shown| shown.id == request.id);
    shown
        .cloned()
        .ok_or_else(|| Error::storage(miette!("request `{}` is not in the queue", request.id)))
}

/// Finds a request that nobody is starting, by its id or a part of it that no other has.
fn find(state: &QueueState, store: &Store, id: &str) -> Result<QueuedRequest, Refusal> {
    let refused = |kind, text, help: &str| {
        Err(Refusal {
            kind,
            text,
            help: help.to_owned(),
        })
    };
    // An empty one is mostly a variable of a script that was not set, and means none.
    let has_name = |request: &&QueuedRequest| !id.is_empty() && request.id.contains(id);
    let mut idle = state.waiting.iter().chain(&state.refused).filter(has_name);
    let root = store.root().display();
    match (idle.next(), idle.next()) {
        (Some(request), None) => Ok(request.clone()),
        (Some(_), Some(_)) => refused(
            RefusalKind::Conflict,
            format!("`{id}` may be any of several requests in `{root}`"),
            "`runner queue` lists them",
        ),
        (None, _) if state.starting.iter().any(|request| has_name(&request)) => refused(
            RefusalKind::Conflict,
            format!("request `{id}` is being started"),
            "`runner stop` and `runner cancel` end its run",
        ),
        (None, _) => refused(
            RefusalKind::Missing,
            format!("no request `{id}` waits in `{root}`"),
            "`runner queue` lists all that wait",
        ),
    }
}
