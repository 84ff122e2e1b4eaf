//! Pauses runs of lower priority for a request, and continues them once its run has ended.
//!
//! The file of a pause is written before the pause and removed after its end, so any process can continue the run. Only a pause
//! with the file's user and reason is ended: a run that a person paused stays paused.

use std::cmp::Reverse;

use runner_model::Stage;
use runner_record::{
    ActiveRun, Answer, LockedQueue, Preemption, QueueState, QueuedRequest, RecordError,
    RequestMode, ResultsRoot, actor,
};

use super::error::QueueError;

/// Returns whether a run is paused for a request.
pub fn is_preempted(run: &ActiveRun, preemptions: &[Preemption]) -> bool {
    let paused_by = run.manifest.paused().and_then(|pause| pause.by.as_ref());
    paused_by.is_some_and(|by| {
        preemptions.iter().any(|other| other.run == run.manifest.id && other.by == *by)
    })
}

/// Pauses `count` runs of lower priority than the request, the newest of the lowest priority first. Returns `false` if
/// there are fewer, or one does not pause.
pub fn preempt(
    root: &ResultsRoot,
    queue: &LockedQueue,
    request: &QueuedRequest,
    active: &[ActiveRun],
    count: u32,
) -> Result<bool, QueueError> {
    let mut lower: Vec<_> = active
        .iter()
        .filter(|run| priority(run) < request.priority)
        .filter(|run| run.manifest.paused().is_none() && run.manifest.stage != Stage::Waiting)
        .filter(|run| !run.manifest.status.is_terminal() && !run.holder.is_suspended())
        .filter(|run| run.run.for_use().is_ok())
        .collect();
    if lower.len() < count as usize {
        return Ok(false);
    }
    lower.sort_by_key(|run| {
        (priority(run), Reverse(run.manifest.sessions.last().map(|session| session.started_at)))
    });
    let by = actor(Some(format!("request {} comes first", request.id)));
    for paused in lower.into_iter().take(count as usize) {
        let run = paused.manifest.id.clone();
        let request = request.id.clone();
        queue.preempt(&Preemption { run, request, by: by.clone() })?;
        match root.ask(&paused.run, RequestMode::Pause, &by)? {
            // A run that has ended leaves room, too.
            Answer::Paused | Answer::AlreadyTerminal | Answer::Removed => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Returns the priority of a run. Without a request it is 0.
fn priority(run: &ActiveRun) -> i64 {
    mark(run).map_or(0, |mark| mark.priority)
}

fn mark(run: &ActiveRun) -> Option<&runner_record::RequestMark> {
    run.manifest.sessions.last()?.request.as_ref()
}

/// Continues runs that were paused for requests whose runs have ended. Without such runs it takes no lock.
///
/// # Errors
///
/// The queue cannot be read or written.
pub fn continue_preempted(root: &ResultsRoot) -> Result<(), QueueError> {
    if root.queue()?.preempted.is_empty() {
        return Ok(());
    }
    continue_locked(root, &root.lock_queue()?)
}

/// Continues runs whose request neither waits nor has an active run.
pub fn continue_locked(root: &ResultsRoot, queue: &LockedQueue) -> Result<(), QueueError> {
    let preemptions = queue.preemptions()?;
    if preemptions.is_empty() {
        return Ok(());
    }
    let requests = queue.read()?.requests;
    let active = root.active_runs()?;
    for preemption in &preemptions {
        let id = &preemption.request;
        let waits = requests
            .iter()
            .any(|request| request.id == *id && request.state != QueueState::Refused);
        let is_for_it = |run: &&ActiveRun| mark(run).is_some_and(|mark| mark.id == *id);
        if waits || active.iter().filter(is_for_it).any(|run| run.run.for_use().is_ok()) {
            continue;
        }
        let run = active.iter().find(|run| run.manifest.id == preemption.run);
        if let Some(run) = run.filter(|run| is_preempted(run, &preemptions)) {
            match root.unpause(&run.run) {
                Err(error @ RecordError::Io { .. }) => return Err(error.into()),
                // A suspended process cannot answer now, and the next step asks again.
                Ok(Answer::NoAnswer) => continue,
                _ => {}
            }
        }
        queue.forget(preemption)?;
    }
    Ok(())
}
