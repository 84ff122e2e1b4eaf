//! The queue of a results root: requests that are started once there is room.
//!
//! A request waits as `queue/<id>.json`. The process that starts it moves it to `queue/taken`, locks it there, and passes the
//! open file to the new process, which keeps the lock until its run exists. A taken request without a lock was cut short: if a
//! run names it, it is removed. Else it waits again, and runs of an incomplete group are removed. A request in both folders has
//! just been moved, and none is started then.
//!
//! A request starts a program, so each user starts only requests in files of their own that no other user can write.

use std::{cmp::Reverse, collections::BTreeMap, fs::File, io, time::Duration};

use runner_model::{Digest, RunStatus, Stage, Time, row::Actor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::queue_files::{file_name, is_request, read_file, remove_file, write_file};
use crate::disk::fault::{self, Place};
use crate::disk::layout::{MANIFEST, QUEUE};
use crate::disk::lock::{self, Held, lock_within};
use crate::disk::user_key::{Signed, UserKey};
use crate::run::{folder::plain, manifest};
use crate::{
    GroupPlace, Holder, Manifest, RecordError, RequestMark, ResultsRoot, RunDir,
    disk::beneath::Dir, disk::owner::is_trusted, new_id, now,
};

const TAKEN: &str = "taken";
/// Runs that are paused for a request.
const PREEMPTED: &str = "preempted";
const LOCK: &str = ".lock";
const FORMAT: u32 = 1;
/// Bytes of a new request. The rest is for the reason of a refusal, up to 64 KiB before escapes.
const MAX_NEW_BYTES: usize = 512 << 10;
/// Bytes of the id of a request. A caller may choose it.
const MAX_ID: usize = 64;
/// Time to wait for another process that works on the queue. One that pauses a run takes up to 5 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// Starts of a request that may end without a run before it is refused.
pub(crate) const MAX_TRIES: u32 = 3;

/// A request to start a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedRequest {
    format: u32,
    pub id: String,
    /// The words after `runner`.
    pub command: Vec<String>,
    /// The working directory.
    pub folder: String,
    /// Id of the run or group that is continued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// SHA-256 of the call of a server and its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Digest>,
    /// Requests with a greater priority come first.
    pub priority: i64,
    /// Order of requests with the same priority.
    pub place: u64,
    /// Whether runs of lower priority are paused for it.
    #[serde(default)]
    pub preempts: bool,
    pub by: Actor,
    pub at: Time,
    /// Starts that have ended without a run.
    #[serde(default)]
    pub tries: u32,
    /// Reason why it cannot be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// HMAC-SHA256 of id, command, folder and run, by the key of the user who made the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<Digest>,
    #[serde(skip)]
    pub state: QueueState,
    /// Reason why this user may not start or change it, as the rest of a sentence.
    #[serde(skip)]
    pub foreign: Option<String>,
    /// The file is this user's, and only the signature is missing or wrong.
    #[serde(skip)]
    pub is_unsigned: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueState {
    /// The request's process is starting, and has no run yet.
    Starting,
    #[default]
    Waiting,
    /// The request cannot be started.
    Refused,
}

/// All requests of a queue.
#[derive(Debug, Default)]
pub struct QueueList {
    /// In the order of their starts, and at the end those that were refused.
    pub requests: Vec<QueuedRequest>,
    /// Files that are not requests, with the problem.
    pub unreadable: Vec<RecordError>,
    /// Ids of runs that may be paused for requests.
    pub preempted: Vec<String>,
}

/// A run that was paused to make room for a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Preemption {
    pub run: String,
    /// Id of the request.
    pub request: String,
    /// The user who paused the run, with a reason that names the request.
    pub by: Actor,
}

/// A run that a process works on.
#[derive(Debug)]
pub struct ActiveRun {
    pub run: RunDir,
    pub manifest: Manifest,
    pub holder: Holder,
}

impl QueuedRequest {
    /// Creates a request without a place in the queue.
    pub fn new(command: Vec<String>, folder: String, by: Actor) -> Self {
        let at = now();
        Self {
            format: FORMAT,
            id: new_id("request", at),
            command,
            folder,
            run: None,
            body: None,
            priority: 0,
            place: 0,
            preempts: false,
            by,
            at,
            tries: 0,
            refused: None,
            signature: None,
            state: QueueState::Waiting,
            foreign: None,
            is_unsigned: false,
        }
    }

    /// Returns the bytes of a request that are signed: all that decides which program starts, and where.
    fn signed_parts(&self) -> Vec<u8> {
        serde_json::json!([self.id, self.command, self.folder, self.run]).to_string().into_bytes()
    }

    /// Returns the reason why a request in a folder of the queue does not count as this user's, as the rest of a sentence.
    fn signature_problem(&self, dir: &Dir) -> Option<String> {
        if is_trusted(dir) {
            return None;
        }
        match (UserKey::get(), self.signature) {
            (Err(problem), _) => Some(format!("may be another user's: {problem}")),
            (Ok(key), Some(signature))
                if key.has_signed(Signed::Request, &self.signed_parts(), signature) =>
            {
                None
            }
            (Ok(_), _) => Some("was not made with your key".into()),
        }
    }

    pub fn mark(&self) -> RequestMark {
        RequestMark { id: self.id.clone(), priority: self.priority, body: self.body }
    }

    /// Returns whether the request continues this run, or the group of which it is a part.
    pub fn continues(&self, run: &str, group: Option<&GroupPlace>) -> bool {
        self.run.as_ref().is_some_and(|id| id == run || group.is_some_and(|group| group.id == *id))
    }

    /// Returns whether the id is the name of a file.
    pub fn has_plain_id(&self) -> bool {
        let id = &self.id;
        !id.is_empty() && id.len() <= MAX_ID && !id.starts_with('.') && plain(id) == *id
    }

    fn order(&self) -> impl Ord + use<> {
        (self.state, Reverse(self.priority), self.place, self.id.clone())
    }
}

impl ResultsRoot {
    /// Reads the queue, and changes nothing.
    pub fn queue(&self) -> Result<QueueList, RecordError> {
        let queue = self.dir().map_or(Ok(None), |root| opened(root, QUEUE))?;
        let Some(queue) = queue else { return Ok(QueueList::default()) };
        let mut list = QueueList::default();
        let before = QueueList::default().read(&queue)?;
        let taken = opened(&queue, TAKEN)?;
        let taken = taken.map_or_else(|| Ok(Vec::new()), |taken| list.read(&taken))?;
        // Without a second look, a request that is put back meanwhile would be missed.
        let waiting = before.into_iter().chain(list.read(&queue)?);
        let mut requests: BTreeMap<_, _> =
            waiting.map(|(request, _)| (request.id.clone(), request)).collect();
        for (mut request, file) in taken {
            let is_starting = file.try_lock_shared().is_err();
            if is_starting || !requests.contains_key(&request.id) {
                request.state =
                    if is_starting { QueueState::Starting } else { QueueState::Waiting };
                requests.insert(request.id.clone(), request);
            }
        }
        list.requests = requests.into_values().collect();
        list.requests.sort_by_key(QueuedRequest::order);
        let preempted = opened(&queue, PREEMPTED)?.map(|dir| dir.names()).transpose()?;
        let preempted = preempted.unwrap_or_default().into_iter().filter(|name| is_request(name));
        list.preempted = preempted.map(|name| name.trim_end_matches(".json").to_owned()).collect();
        Ok(list)
    }

    /// Locks the queue for a change, and puts requests back whose process died before its run existed.
    ///
    /// # Errors
    ///
    /// The root is missing or cannot be written, or [`RecordError::QueueHeld`] after 15 seconds.
    pub fn lock_queue(&self) -> Result<LockedQueue, RecordError> {
        let dir = self.own_dir()?.dir_or_create(QUEUE)?;
        let file = dir.write(LOCK)?;
        if !lock_within(&file, true, PATIENCE, |source| dir.error("lock", LOCK, source))? {
            return Err(RecordError::QueueHeld { lock: dir.path().join(LOCK) });
        }
        let lock = Held(file);
        let taken = dir.dir_or_create(TAKEN)?;
        let preempted = dir.dir_or_create(PREEMPTED)?;
        let queue = LockedQueue { root: self.clone(), dir, taken, preempted, _lock: lock };
        queue.recover()?;
        Ok(queue)
    }

    /// Forgets that a run was paused for a request. It stays paused when the run of the request ends.
    pub(crate) fn forget_preemption(&self, run: &str) {
        let queue = self.dir().and_then(|root| root.dir(QUEUE).ok());
        if let Some(preempted) = queue.and_then(|queue| queue.dir(PREEMPTED).ok()) {
            let _ = preempted.remove(&file_name(run));
        }
    }

    /// Returns the runs that processes work on, one for each process.
    pub fn active_runs(&self) -> Result<Vec<ActiveRun>, RecordError> {
        let mut active = Vec::<ActiveRun>::new();
        for head in self.listed()?.runs {
            if head.status != RunStatus::Running {
                continue;
            }
            let Ok(Some(run)) = self.open_run(&head.id) else { continue };
            let (Some(holder), Ok(manifest)) = (lock::holder(&run.dir), run.manifest()) else {
                continue;
            };
            match active.iter_mut().find(|other| {
                holder.pid != 0
                    && (other.holder.pid, &other.holder.host) == (holder.pid, &holder.host)
            }) {
                // The runs of a group wait for each other.
                Some(other) if other.manifest.stage == Stage::Waiting => {
                    *other = ActiveRun { run, manifest, holder };
                }
                Some(_) => {}
                None => active.push(ActiveRun { run, manifest, holder }),
            }
        }
        Ok(active)
    }

    /// Returns this user's runs with a session that was started for a request: any other run could claim it. Reads all manifests,
    /// and parses few.
    pub fn runs_of_request(&self, request: &str) -> Result<Vec<Manifest>, RecordError> {
        let mut runs = Vec::new();
        for name in self.names()? {
            let Ok(Some(run)) = self.open_run(&name) else { continue };
            let text = run.dir.read_all(MANIFEST, manifest::MAX_BYTES).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains(request) {
                runs.extend(run.for_use().and_then(|run| run.manifest()).ok());
            }
        }
        runs.retain(|run| {
            run.sessions
                .iter()
                .any(|session| session.request.as_ref().is_some_and(|mark| mark.id == request))
        });
        Ok(runs)
    }
}

impl QueueList {
    /// Reads the requests in a folder, with their open files. An empty file is a request whose run exists.
    fn read(&mut self, dir: &Dir) -> Result<Vec<(QueuedRequest, File)>, RecordError> {
        let mut requests = Vec::new();
        for name in dir.names()?.into_iter().filter(|name| is_request(name)) {
            match read_file::<QueuedRequest>(dir, &name) {
                Ok(Some((mut request, file, foreign))) => {
                    if request.format != FORMAT || name != file_name(&request.id) {
                        let problem = "it was written by another version of `runner`, or renamed";
                        self.unreadable.push(dir.refuse(&name, problem));
                        continue;
                    }
                    let unsigned = request.signature_problem(dir).filter(|_| foreign.is_none());
                    request.is_unsigned = unsigned.is_some();
                    request.foreign = foreign.or(unsigned);
                    if request.refused.is_some() {
                        request.state = QueueState::Refused;
                    }
                    requests.push((request, file));
                }
                Ok(None) => {}
                // Another process has just moved it.
                Err(error) if error.is_missing() => {}
                Err(error) => self.unreadable.push(error),
            }
        }
        Ok(requests)
    }
}

/// The right to change a queue. No other process changes it meanwhile.
#[derive(Debug)]
pub struct LockedQueue {
    root: ResultsRoot,
    dir: Dir,
    taken: Dir,
    preempted: Dir,
    _lock: Held,
}

/// A request that this process starts.
#[derive(Debug)]
pub struct TakenRequest {
    pub request: QueuedRequest,
    file: File,
}

impl TakenRequest {
    /// Returns the open file for the new process. It is locked while either process has it open. The new process empties it once
    /// its run exists.
    pub fn lock(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl LockedQueue {
    pub fn read(&self) -> Result<QueueList, RecordError> {
        self.root.queue()
    }

    /// Adds a request after all others of its priority. Its place does not depend on the clock alone, which may be set back.
    ///
    /// # Errors
    ///
    /// The id is not the name of a file, or the request is too long or cannot be written.
    pub fn add(&self, request: &mut QueuedRequest) -> Result<(), RecordError> {
        if !request.has_plain_id() {
            let problem = "use up to 64 letters, digits, `.`, `_` and `-` for the id of a request";
            return Err(self.dir.refuse(".", problem));
        }
        let bytes = serde_json::to_vec_pretty(request).unwrap_or_default().len();
        if bytes > MAX_NEW_BYTES {
            let problem = format!(
                "the request has {bytes} bytes, with its command; use at most {MAX_NEW_BYTES}"
            );
            return Err(self.dir.refuse(".", problem));
        }
        let others = self.read()?.requests.into_iter();
        // Another user may have chosen the greatest place, after which there is no other.
        let own = others.filter(|other| other.foreign.is_none());
        let next = own.map(|other| other.place.saturating_add(1)).max().unwrap_or(0);
        request.place = next.max(u64::try_from(request.at.as_millis()).unwrap_or(0));
        self.sign(request)
    }

    /// Signs and writes a request, which this user's processes start from then on.
    pub fn sign(&self, request: &mut QueuedRequest) -> Result<(), RecordError> {
        let key = UserKey::get().ok();
        request.signature = key.map(|key| key.sign(Signed::Request, &request.signed_parts()));
        self.write(request)
    }

    /// Replaces a request that waits.
    pub fn write(&self, request: &QueuedRequest) -> Result<(), RecordError> {
        write_file(&self.dir, &request.id, request)
    }

    /// Removes a request.
    pub fn remove(&self, request: &QueuedRequest) -> Result<(), RecordError> {
        remove_file(&self.taken, &request.id)?;
        remove_file(&self.dir, &request.id)
    }

    /// Takes a request that waits.
    pub fn take(&self, mut request: QueuedRequest) -> Result<TakenRequest, RecordError> {
        request.tries = request.tries.saturating_add(1);
        self.carry(&self.dir, &self.taken, &request)?;
        let name = file_name(&request.id);
        let file = self.taken.write(&name)?;
        let failed = self.taken.failure("lock", &name);
        // A reader that probes it has the lock for an instant.
        if !lock_within(&file, true, PATIENCE, failed)? {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        fault::pass(Place::QueueTaken).map_err(failed)?;
        Ok(TakenRequest { request, file })
    }

    /// Opens the file that the process of a request has locked until its run exists.
    pub fn lock_of(&self, request: &QueuedRequest) -> Result<File, RecordError> {
        self.taken.read(&file_name(&request.id))
    }

    /// Returns whether a request that was taken is still in the queue. Another process may have removed it.
    pub fn has_taken(&self, taken: &TakenRequest) -> Result<bool, RecordError> {
        Ok(self.taken.stat(&file_name(&taken.request.id))?.is_some())
    }

    /// Removes a request whose run exists.
    pub fn finish(&self, taken: &TakenRequest) -> Result<(), RecordError> {
        let id = &taken.request.id;
        fault::pass(Place::QueueStarted)
            .map_err(|source| self.taken.error("remove", &file_name(id), source))?;
        remove_file(&self.taken, id)
    }

    /// Lets a request wait again. `refused` is the reason if it cannot be started; otherwise this try does not count.
    pub fn put_back(
        &self,
        taken: TakenRequest,
        refused: Option<String>,
    ) -> Result<(), RecordError> {
        let tries = taken.request.tries - 1;
        self.carry(&self.taken, &self.dir, &QueuedRequest { tries, refused, ..taken.request })
    }

    /// Moves a request to another folder of the queue.
    fn carry(&self, from: &Dir, to: &Dir, request: &QueuedRequest) -> Result<(), RecordError> {
        write_file(to, &request.id, request)?;
        fault::pass(Place::QueueMove)
            .map_err(|source| from.error("remove", &file_name(&request.id), source))?;
        remove_file(from, &request.id)
    }

    /// Handles requests of this user that were cut short.
    fn recover(&self) -> Result<(), RecordError> {
        for dir in [&self.dir, &self.taken, &self.preempted] {
            // Files are written under the lock, which this process has, so left drafts are from dead processes.
            dir.names()?.iter().filter(|name| name.starts_with(".new-")).for_each(|name| {
                let _ = dir.remove(name);
            });
        }
        for name in self.taken.names()?.into_iter().filter(|name| is_request(name)) {
            let Ok(file) = read_file::<QueuedRequest>(&self.taken, &name) else { continue };
            let Some((mut request, file, foreign)) = file else {
                self.taken.remove(&name)?;
                continue;
            };
            let is_foreign = foreign.is_some() || request.signature_problem(&self.dir).is_some();
            if is_foreign || name != file_name(&request.id) || file.try_lock().is_err() {
                continue;
            }
            if self.dir.stat(&name)?.is_some() || self.undo_part(&request.id)? {
                remove_file(&self.taken, &request.id)?;
                continue;
            }
            if request.tries >= MAX_TRIES {
                let problem = format!("its process died {MAX_TRIES} times before its run existed");
                request.refused = Some(problem);
            }
            self.carry(&self.taken, &self.dir, &request)?;
        }
        Ok(())
    }

    /// Removes the runs of a request whose process ended before it had created all of them. Returns whether all of them exist.
    pub fn undo_part(&self, request: &str) -> Result<bool, RecordError> {
        let runs = self.root.runs_of_request(request)?;
        let is_started = is_started(&runs);
        if !is_started {
            runs.iter().for_each(|run| self.root.remove_unstarted(&run.id));
        }
        Ok(is_started)
    }

    /// Returns this user's runs that were paused to make room.
    pub fn preemptions(&self) -> Result<Vec<Preemption>, RecordError> {
        let names = self.preempted.names()?.into_iter().filter(|name| is_request(name));
        let preemptions = names.filter_map(|name| {
            let (one, _, foreign) = read_file::<Preemption>(&self.preempted, &name).ok()??;
            (foreign.is_none() && name == file_name(&one.run)).then_some(one)
        });
        Ok(preemptions.collect())
    }

    /// Stores that a run is about to be paused.
    pub fn preempt(&self, preemption: &Preemption) -> Result<(), RecordError> {
        write_file(&self.preempted, &preemption.run, preemption)
    }

    /// Removes the entry of a run that continues or has ended.
    pub fn forget(&self, preemption: &Preemption) -> Result<(), RecordError> {
        remove_file(&self.preempted, &preemption.run)
    }
}

/// Returns whether the runs of a request were all created. Those of a group are created one after the other, and an earlier
/// start of the request may have left a part of another group.
fn is_started(runs: &[Manifest]) -> bool {
    runs.iter().any(|run| match run.group.as_ref().filter(|_| run.sessions.len() == 1) {
        None => true,
        Some(GroupPlace { id, of, .. }) => {
            runs.iter().filter(|run| run.group.as_ref().is_some_and(|one| one.id == *id)).count()
                as u32
                == *of
        }
    })
}

fn opened(dir: &Dir, name: &str) -> Result<Option<Dir>, RecordError> {
    match dir.dir(name) {
        Err(error) if error.is_missing() => Ok(None),
        opened => opened.map(Some),
    }
}
