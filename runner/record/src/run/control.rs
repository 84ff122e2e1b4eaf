//! Stops, cancels and pauses runs of other processes, and waits for the result.

use std::thread;
use std::time::{Duration, Instant};

use runner_model::{Reason, RunStatus, row::Actor};
use schemars::JsonSchema;
use serde::Serialize;

use crate::disk::fault::now;
use crate::disk::lock;
use crate::run::requests::{self, PATIENCE, remove_all};
use crate::{Holder, Manifest, Owned, RecordError, Request, RequestMode, ResultsRoot, RunDir};

pub(crate) const POLL_EVERY: Duration = Duration::from_millis(20);

impl Owned {
    /// Cancels an `incomplete` or `failed` run.
    fn cancel(mut self, by: &Actor) -> Result<(), RecordError> {
        let to = RunStatus::Cancelled;
        self.manifest.change_status(to, Some(Reason::Cancelled), "cancel", now())?;
        self.manifest.message.clone_from(&by.reason);
        if let Some(change) = self.manifest.transitions.last_mut() {
            change.by = Some(by.clone());
        }
        self.lock.release_reserve();
        self.replace_manifest()?;
        self.log("the run was cancelled");
        Ok(())
    }
}

/// The result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Stopped,
    Cancelled,
    /// The run had no trial yet, and its process has removed it.
    Removed,
    /// The run had ended before, or ended for another reason.
    AlreadyTerminal,
    /// A completed run cannot be cancelled. Nothing was changed.
    Refused,
    Paused,
    /// The run was paused before. If the queue has paused it, the queue does not continue it any more.
    AlreadyPaused,
    /// The run continues.
    Unpaused,
    /// The run was not paused.
    NotPaused,
    /// The run has the request, and is still ending.
    Stopping,
    /// The labels are as requested.
    Labelled,
    /// The process lives, and is suspended or did not answer in time. The request stays only if it ends the run.
    NoAnswer,
}

/// A request to the process that holds the run, without a result yet.
struct PendingRequest<'a> {
    root: &'a ResultsRoot,
    run: &'a RunDir,
    mode: RequestMode,
    by: &'a Actor,
    /// Status and number of transitions before the request.
    before: (RunStatus, usize),
    /// Token of the holder that the request was sent to.
    sent_to: Option<String>,
    give_up: Option<Instant>,
    /// Time and result of the end that was seen while the process still held the run.
    ended: Option<(Instant, Answer)>,
}

impl ResultsRoot {
    /// Requests that a run ends or pauses, and waits until it has. A dead run gets its true status first. `Cancel` also
    /// cancels runs that no process holds.
    ///
    /// # Errors
    ///
    /// The run was removed, or its files cannot be read or written.
    pub fn ask(&self, run: &RunDir, mode: RequestMode, by: &Actor) -> Result<Answer, RecordError> {
        self.ask_for(run, mode, by, Duration::MAX)
    }

    /// [`Self::ask`], which returns [`Answer::Stopping`] if the run has the request and is still ending after `wait`.
    pub fn ask_for(
        &self,
        run: &RunDir,
        mode: RequestMode,
        by: &Actor,
        wait: Duration,
    ) -> Result<Answer, RecordError> {
        let started = Instant::now();
        let before = run.manifest()?;
        let mut pending = PendingRequest {
            root: self,
            run,
            mode,
            by,
            before: (before.status, before.transitions.len()),
            sent_to: None,
            // A holder without a token in its lock file ignores requests.
            give_up: Some(Instant::now() + PATIENCE),
            ended: None,
        };
        loop {
            if let Some(answer) = pending.poll()? {
                pending.withdraw(answer);
                return Ok(answer);
            }
            if pending.sent_to.is_some() && started.elapsed() >= wait {
                return Ok(Answer::Stopping);
            }
            thread::sleep(POLL_EVERY);
        }
    }

    /// Lets a paused run continue, and waits until it does.
    pub fn unpause(&self, run: &RunDir) -> Result<Answer, RecordError> {
        let mut was_paused = false;
        let answer = lock::retry_for(PATIENCE, POLL_EVERY, || {
            let is_held = lock::is_held(&run.dir);
            let manifest = run.manifest()?;
            if !is_held || manifest.status.is_terminal() {
                return Ok(Some(Answer::AlreadyTerminal));
            }
            run.dir.remove(RequestMode::Pause.file())?;
            Ok(match (manifest.paused(), was_paused) {
                (None, false) => Some(Answer::NotPaused),
                (None, true) => Some(Answer::Unpaused),
                (Some(_), _) => {
                    was_paused = true;
                    None
                }
            })
        });
        Ok(answer?.unwrap_or(Answer::NoAnswer))
    }
}

impl PendingRequest<'_> {
    /// Checks the run once, and sends the request to its holder if that has not received it. `None` while there is no
    /// result.
    fn poll(&mut self) -> Result<Option<Answer>, RecordError> {
        // The lock is read first: only after a free lock is the manifest final, or the run dead.
        let holder = lock::holder(&self.run.dir);
        let manifest = self.run.manifest()?;
        let Some(holder) = holder else {
            return match self.ended {
                Some((_, answer)) => Ok(Some(answer)),
                None => self.settle(&manifest),
            };
        };
        let is_suspended = holder.is_suspended();
        if let Some((at, answer)) = self.ended {
            // Another process may continue the run already.
            let is_over = self.sent_to.as_ref() != Some(&holder.token) || at.elapsed() >= PATIENCE;
            return Ok((is_over || is_suspended).then_some(answer));
        }
        if self.mode == RequestMode::Pause && manifest.paused().is_some() {
            return Ok(Some(match self.sent_to {
                Some(_) => Answer::Paused,
                None => {
                    self.root.forget_preemption(&self.run.id);
                    Answer::AlreadyPaused
                }
            }));
        }
        let has_ended = manifest.status.is_terminal() && manifest.transitions.len() > self.before.1;
        if has_ended && !self.must_cancel(manifest.status) {
            let answer = self.answer(&manifest);
            // The next command could not continue the run while its process writes reports.
            let is_awaited = self.mode != RequestMode::Pause && self.sent_to.is_some();
            self.ended = is_awaited.then(|| (Instant::now(), answer));
            return Ok((!is_awaited).then_some(answer));
        }
        if !holder.token.is_empty() && self.sent_to.as_ref() != Some(&holder.token) {
            self.send(holder, &manifest)?;
        }
        let is_over = is_suspended || self.give_up.is_some_and(|at| Instant::now() >= at);
        Ok(is_over.then_some(Answer::NoAnswer))
    }

    fn send(&mut self, holder: Holder, manifest: &Manifest) -> Result<(), RecordError> {
        let session = manifest.sessions.last();
        let request = Request {
            mode: self.mode,
            session: manifest.last_session(),
            token: holder.token,
            by: self.by.clone(),
            at: now(),
        };
        let bytes = serde_json::to_vec(&request).unwrap_or_default();
        let dir = &self.run.dir;
        dir.unnamed_with(&bytes)
            .and_then(|file| dir.place(&file, self.mode.file()))
            .map_err(|error| self.run.vanished(error))?;
        self.sent_to = Some(request.token);
        let grace = session.map_or(Duration::ZERO, |session| session.settings.grace);
        let bound = self.mode.bound(grace);
        self.give_up = bound.map(|bound| Instant::now() + bound);
        Ok(())
    }

    /// Removes the request if no process will: the owner may have removed all others before this one arrived.
    fn withdraw(&self, answer: Answer) {
        let stays = match answer {
            Answer::Paused => true,
            Answer::NoAnswer => self.mode != RequestMode::Pause,
            _ => false,
        };
        let dir = &self.run.dir;
        let token = requests::read(dir, self.mode).map(|request| request.token);
        if !stays && token.is_some() && token == self.sent_to {
            let _ = dir.remove(self.mode.file());
        }
    }

    /// Returns the result for a run that no process holds. `None` if another process has just taken it.
    fn settle(&self, manifest: &Manifest) -> Result<Option<Answer>, RecordError> {
        let is_dead = manifest.status == RunStatus::Running;
        let must_claim = is_dead || self.must_cancel(manifest.status);
        if !must_claim || self.mode == RequestMode::Pause {
            return Ok(Some(self.answer(manifest)));
        }
        let owned = match self.root.claim(self.run) {
            Ok(owned) => owned,
            Err(RecordError::Held { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // A dead owner has not removed its requests.
        remove_all(&self.run.dir);
        if self.must_cancel(owned.manifest().status) {
            owned.cancel(self.by)?;
            return Ok(Some(Answer::Cancelled));
        }
        Ok(Some(self.answer(owned.manifest())))
    }

    fn must_cancel(&self, status: RunStatus) -> bool {
        let can_be = matches!(status, RunStatus::Incomplete | RunStatus::Failed);
        self.mode == RequestMode::Cancel && can_be
    }

    fn answer(&self, manifest: &Manifest) -> Answer {
        let has_changed = manifest.transitions.len() > self.before.1;
        let is_answered = has_changed && self.sent_to.is_some();
        match (manifest.status, manifest.reason) {
            (RunStatus::Cancelled, _) if has_changed => Answer::Cancelled,
            (_, Some(Reason::Stopped)) if is_answered => Answer::Stopped,
            // A stopped `rescore` leaves status and reason of the run.
            _ if is_answered && manifest.rescores(manifest.last_session()) => Answer::Stopped,
            (RunStatus::Completed, _)
                if self.mode == RequestMode::Cancel && self.before.0 == RunStatus::Completed =>
            {
                Answer::Refused
            }
            _ => Answer::AlreadyTerminal,
        }
    }
}

#[cfg(test)]
#[path = "tests/control.rs"]
mod tests;
