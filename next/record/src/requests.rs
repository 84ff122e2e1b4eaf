//! Requests: what other processes ask of the process that holds a run's lock, and how they wait for what comes of it.
//!
//! A request is a file, `request-<mode>.json`. It names the token of the lock that it was left for, so a later holder ignores
//! it. The owner removes all requests behind its last manifest. A pause lasts as long as its file is there.

use std::{
    thread,
    time::{Duration, Instant},
};

use runner_model::{Reason, RunStatus, Time, row::Actor};
use serde::{Deserialize, Serialize};

use crate::{
    Manifest, Owned, Pause, RecordError, ResultsRoot, RunDir,
    beneath::Dir,
    lock::{self, Holder},
    owned,
    run::now,
};

/// A longer file is no request; so a reason can fill no row.
const MAX_BYTES: u64 = 8 << 10;
/// Pauses that a session keeps.
const MAX_PAUSES: usize = 100;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long an owner may take behind the grace: 1 s for a stop, the rest for a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked of a run's owner. A stronger one takes the place of weaker ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestMode {
    /// Wait, as long as the request is there.
    Pause,
    /// Begin nothing; what runs finishes.
    Drain,
    /// Interrupt what runs, after the grace.
    Stop,
    /// As [`Self::Stop`], and never go on.
    Cancel,
    /// Interrupt what runs at once.
    Kill,
}

/// A request as its file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is asked for.
    pub mode: RequestMode,
    /// The last session when it was asked, for people.
    pub session: u32,
    /// Of the lock; another holder ignores the request.
    token: String,
    /// Who asks, and why.
    pub by: Actor,
    /// When.
    pub at: Time,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was stopped.
    Stopped,
    /// It is cancelled now.
    Cancelled,
    /// It had ended before, or ended for another reason.
    AlreadyTerminal,
    /// It is completed, so it cannot be cancelled. Nothing was changed.
    Refused,
    /// It is paused now.
    Paused,
    /// It was paused before.
    AlreadyPaused,
    /// It goes on.
    Unpaused,
    /// It was not paused.
    NotPaused,
    /// Its process lives and has not answered in time. A request to end stays, one to pause does not.
    NoAnswer,
}

impl RequestMode {
    const ALL: [Self; 5] = [Self::Pause, Self::Drain, Self::Stop, Self::Cancel, Self::Kill];

    fn file(self) -> &'static str {
        match self {
            Self::Pause => "request-pause.json",
            Self::Drain => "request-drain.json",
            Self::Stop => "request-stop.json",
            Self::Cancel => "request-cancel.json",
            Self::Kill => "request-kill.json",
        }
    }

    /// How long an owner may take, by the grace of its session; no bound but the run's own for what may finish.
    fn bound(self, grace: Duration) -> Option<Duration> {
        match self {
            Self::Drain => None,
            Self::Stop | Self::Cancel => Some(grace + PATIENCE),
            Self::Pause | Self::Kill => Some(PATIENCE),
        }
    }
}

/// This user on this machine, with a reason. One that is longer than 4 KiB is cut.
pub fn actor(reason: Option<String>) -> Actor {
    let reason = reason.map(|mut reason| {
        reason.truncate(reason.floor_char_boundary(4 << 10));
        reason
    });
    Actor { user: owned::user(), host: lock::host(), reason }
}

/// Reads requests for the holder of a lock.
#[derive(Debug)]
pub struct Requests {
    dir: Dir,
    token: String,
}

impl Requests {
    /// The requests that are there for this holder, the strongest last. What cannot be read is no request.
    pub fn pending(&self) -> Vec<Request> {
        let modes = RequestMode::ALL.into_iter();
        let read = modes.filter_map(|mode| read(&self.dir, mode));
        read.filter(|request| request.token == self.token).collect()
    }
}

fn read(dir: &Dir, mode: RequestMode) -> Option<Request> {
    let bytes = dir.read_all(mode.file(), MAX_BYTES).ok()?;
    let request: Request = serde_json::from_slice(&bytes).ok()?;
    (request.mode == mode).then_some(request)
}

/// Removes all requests. Only the holder of the lock may do that.
pub(crate) fn remove_all(dir: &Dir) {
    for mode in RequestMode::ALL {
        let _ = dir.remove(mode.file());
    }
}

impl Manifest {
    /// The pause that lasts, if the run is paused.
    pub fn paused(&self) -> Option<&Pause> {
        let pause = self.sessions.last()?.pauses.last()?;
        (self.status == RunStatus::Running && pause.to.is_none()).then_some(pause)
    }
}

impl Owned {
    /// A handle that reads requests, for a thread of its own.
    pub fn requests(&self) -> Requests {
        Requests { dir: self.run.dir.clone(), token: self.lock.token.clone() }
    }

    /// Writes down that the session is paused (`true`) or goes on.
    pub fn note_pause(&mut self, is_paused: bool, by: Option<Actor>) -> Result<(), RecordError> {
        lock::check(&self.run.dir, &self.lock.stamp)?;
        let at = now();
        if let Some(session) = self.manifest.sessions.last_mut() {
            let pauses = &mut session.pauses;
            if let Some(last) = pauses.last_mut() {
                last.to.get_or_insert(at.max(last.from));
            }
            if is_paused {
                pauses.push(Pause { from: at, to: None, by });
                pauses.drain(..pauses.len().saturating_sub(MAX_PAUSES));
            }
        }
        self.replace_manifest()
    }

    /// Notes for the next manifest for how long the session has worked until now, and for how long it was paused or
    /// suspended.
    pub fn note_times(&mut self, worked: Duration, suspended: Duration) {
        if let Some(session) = self.manifest.sessions.last_mut() {
            session.worked_ms = Some(worked.as_millis() as u64);
            session.suspended_ms = suspended.as_millis() as u64;
        }
    }

    /// Notes for the next manifest who asked that the session ends.
    pub fn note_stopped_by(&mut self, by: Actor) {
        if let Some(session) = self.manifest.sessions.last_mut() {
            session.stopped_by = Some(by);
        }
    }

    /// Cancels a run that is `incomplete` or `failed`.
    fn cancel(mut self, by: &Actor) -> Result<(), RecordError> {
        let to = RunStatus::Cancelled;
        self.manifest.change_status(to, Some(Reason::Cancelled), "cancel", now())?;
        self.manifest.message.clone_from(&by.reason);
        if let Some(change) = self.manifest.transitions.last_mut() {
            change.by = Some(by.clone());
        }
        self.replace_manifest()?;
        self.log("the run was cancelled");
        self.root.note(&self.manifest);
        Ok(())
    }
}

/// What a process asks of a run.
struct PendingRequest<'a> {
    root: &'a ResultsRoot,
    run: &'a RunDir,
    mode: RequestMode,
    by: &'a Actor,
    /// Status and number of changes of the run when this began.
    before: (RunStatus, usize),
    /// The token of the holder that was asked.
    asked: Option<String>,
    give_up: Option<Instant>,
}

impl ResultsRoot {
    /// Asks a run to end or to pause, and waits until it has. A run whose process is dead gets its true status, and one that
    /// is to be cancelled is, whether a process holds it or not.
    pub fn ask(&self, run: &RunDir, mode: RequestMode, by: &Actor) -> Result<Answer, RecordError> {
        let before = run.manifest()?;
        let mut asking = PendingRequest {
            root: self,
            run,
            mode,
            by,
            before: (before.status, before.transitions.len()),
            asked: None,
            // A holder whose lock has no text cannot be asked.
            give_up: Some(Instant::now() + PATIENCE),
        };
        loop {
            if let Some(answer) = asking.look()? {
                asking.take_back(answer);
                return Ok(answer);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Lets a paused run go on, and waits until it does.
    pub fn unpause(&self, run: &RunDir) -> Result<Answer, RecordError> {
        let mut was_paused = false;
        let answer = lock::try_for(PATIENCE, LOOK_EVERY, || {
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
    /// Looks at the run, and asks its holder if that was not asked yet.
    fn look(&mut self) -> Result<Option<Answer>, RecordError> {
        // First the lock: what a manifest says behind a free one is true, or sweeping makes it so.
        let holder = lock::holder(&self.run.dir);
        let manifest = self.run.manifest()?;
        let Some(holder) = holder else {
            return self.settle(&manifest);
        };
        if self.mode == RequestMode::Pause && manifest.paused().is_some() {
            return Ok(Some(match self.asked {
                Some(_) => Answer::Paused,
                None => Answer::AlreadyPaused,
            }));
        }
        let has_ended = manifest.status.is_terminal() && manifest.transitions.len() > self.before.1;
        if has_ended && !self.is_left_to_cancel(manifest.status) {
            return Ok(Some(self.answer(&manifest)));
        }
        if !holder.token.is_empty() && self.asked.as_ref() != Some(&holder.token) {
            self.leave(holder, &manifest)?;
        }
        let is_over = self.give_up.is_some_and(|at| Instant::now() >= at);
        Ok(is_over.then_some(Answer::NoAnswer))
    }

    fn leave(&mut self, holder: Holder, manifest: &Manifest) -> Result<(), RecordError> {
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
        dir.place(&dir.unnamed_with(&bytes)?, self.mode.file())?;
        self.asked = Some(request.token);
        let grace = session.map_or(Duration::ZERO, |session| session.settings.grace);
        let bound = self.mode.bound(grace);
        self.give_up = bound.map(|bound| Instant::now() + bound);
        Ok(())
    }

    /// Removes the request where nobody will heed it: the owner may have removed all others before it came.
    fn take_back(&self, answer: Answer) {
        let stays = match answer {
            Answer::Paused => true,
            Answer::NoAnswer => self.mode != RequestMode::Pause,
            _ => false,
        };
        let dir = &self.run.dir;
        let token = read(dir, self.mode).map(|request| request.token);
        if !stays && token.is_some() && token == self.asked {
            let _ = dir.remove(self.mode.file());
        }
    }

    /// What comes of a run that no process holds; none if another process takes it in this moment.
    fn settle(&self, manifest: &Manifest) -> Result<Option<Answer>, RecordError> {
        let is_dead = manifest.status == RunStatus::Running;
        let must_claim = is_dead || self.is_left_to_cancel(manifest.status);
        if !must_claim || self.mode == RequestMode::Pause {
            return Ok(Some(self.answer(manifest)));
        }
        let owned = match self.root.claim(self.run) {
            Ok(owned) => owned,
            Err(RecordError::Held { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        remove_all(&self.run.dir);
        self.root.note(owned.manifest());
        if self.is_left_to_cancel(owned.manifest().status) {
            owned.cancel(self.by)?;
            return Ok(Some(Answer::Cancelled));
        }
        Ok(Some(self.answer(owned.manifest())))
    }

    fn is_left_to_cancel(&self, status: RunStatus) -> bool {
        let can_be = matches!(status, RunStatus::Incomplete | RunStatus::Failed);
        self.mode == RequestMode::Cancel && can_be
    }

    fn answer(&self, manifest: &Manifest) -> Answer {
        let has_changed = manifest.transitions.len() > self.before.1;
        match (manifest.status, manifest.reason) {
            (RunStatus::Cancelled, _) if has_changed => Answer::Cancelled,
            (_, Some(Reason::Stopped)) if has_changed && self.asked.is_some() => Answer::Stopped,
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
#[path = "tests/requests.rs"]
mod tests;
