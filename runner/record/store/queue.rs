//! The queue of a results root: what is to run once there is room for it.
//!
//! A request waits as `queue/<id>.json`. Whoever starts it moves it to `queue/taken/`, locks it there, and hands the open
//! file to the process that is to run it, as its standard input: so the lock lives as long as either of the two, and the
//! process itself removes the file once its run exists, which names the request. A taken file that nobody holds belongs to
//! a death in between: where a run names it, it is done with, else it goes back. What cannot be started is kept in
//! `queue/refused/` with the reason.

use std::{
    cmp::Reverse,
    fs::TryLockError,
    io,
    path::{Path, PathBuf},
};

use aho_corasick::AhoCorasick;
use fs_err::{File, OpenOptions};
use jiff::Timestamp;

use super::{root::Store, scan};
use crate::record::{
    disk::{
        durable,
        layout::{QueueDir, RunId},
        lock::{Busy, Lock},
        modes, regular,
    },
    error::{JsonProblem, RecordError},
    failpoint,
    format::queued::{QueuedRequest, RequestKey, RequestedResume, RequestedWork},
};

/// How often a request is tried whose starts have all ended in the death of a process.
const MAX_TRIES: u32 = 3;

/// The requests of a queue, as they are at one moment.
#[derive(Debug, Default)]
pub struct QueueState {
    /// Those that wait, in the order in which they are started.
    pub waiting: Vec<QueuedRequest>,
    /// Those that are being started.
    pub starting: Vec<QueuedRequest>,
    /// Those that could not be started.
    pub refused: Vec<QueuedRequest>,
    /// Files that cannot be read, and why.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

/// What has become of a request that somebody asks for again.
#[derive(Debug)]
pub enum KnownRequest {
    /// There is a run of it.
    Run(RunId),
    /// Its process is there, and no run yet.
    Starting,
    /// It waits, or could not be started.
    Queued(Box<QueuedRequest>),
}

/// The right to change a queue: nobody else does meanwhile.
#[derive(Debug)]
pub struct LockedQueue {
    dir: QueueDir,
    _lock: Lock,
}

/// A request that is this process's to start.
#[derive(Debug)]
pub struct TakenRequest {
    /// The request.
    pub request: QueuedRequest,
    dir: QueueDir,
    file: File,
}

impl Store {
    /// Reads the queue; writes nothing.
    ///
    /// # Errors
    ///
    /// Fails if its folder cannot be read.
    pub(crate) fn queue(&self) -> Result<QueueState, RecordError> {
        read(&self.root.queue())
    }

    /// Takes the right to change the queue, and clears away what deaths have left. Waits for whoever has it, which is never
    /// long.
    ///
    /// # Errors
    ///
    /// Fails if the results root cannot be written.
    pub(crate) fn lock_queue(&self, now: Timestamp) -> Result<LockedQueue, RecordError> {
        let dir = self.root.queue();
        for folder in [dir.path(), &dir.taken(), &dir.refused()] {
            modes::create_inside(folder).map_err(failed("make the queue"))?;
        }
        let lock = Lock::exclude(&dir.lock(), Busy::Wait, now)?;
        let queue = LockedQueue { dir, _lock: lock };
        queue.recover(self)?;
        Ok(queue)
    }

    /// Tells that the run exists which a request was for.
    pub(crate) fn request_is_done(&self, id: &str) -> Result<(), RecordError> {
        let dir = self.root.queue();
        pass("born")?;
        durable::remove(&QueueDir::file(&dir.taken(), id)).map_err(failed("clear the queue"))?;
        pass("done")
    }
}

impl LockedQueue {
    /// What is in it.
    ///
    /// # Errors
    ///
    /// Fails if its folder cannot be read.
    pub fn state(&self) -> Result<QueueState, RecordError> {
        read(&self.dir)
    }

    /// What has become of a request that was known by the same key; the error is that something else was asked for by it.
    ///
    /// # Errors
    ///
    /// Fails if the queue or the runs cannot be read.
    pub fn known(
        &self,
        store: &Store,
        key: &RequestKey,
    ) -> Result<Option<(KnownRequest, RequestKey)>, RecordError> {
        let is_same =
            |known: &Option<RequestKey>| known.as_ref().is_some_and(|known| known.text == key.text);
        let state = self.state()?;
        let starting = state.starting.into_iter().map(|it| (it, true));
        let idle = state.waiting.into_iter().chain(state.refused);
        let mut requests = starting.chain(idle.map(|it| (it, false)));
        if let Some((request, is_starting)) = requests.find(|(request, _)| is_same(&request.key))
            && let Some(key) = request.key.clone()
        {
            let known = match is_starting {
                true => KnownRequest::Starting,
                false => KnownRequest::Queued(Box::new(request)),
            };
            return Ok(Some((known, key)));
        }
        // Of very many manifests, few are read as more than bytes.
        let text = serde_json::to_string(&key.text).expect("a text can be written as JSON");
        let text = AhoCorasick::new([text]).expect("a key is short");
        let mut names = store.stamps()?.found.into_iter();
        let run = names.find_map(|(name, _)| {
            let dir = store.root.run(&name);
            text.find(&regular::read(&dir.manifest()).ok()?[..])?;
            let key = scan::read_as(&dir, name.clone()).ok()?.request?.key;
            let id = RunId::of_directory(&name);
            is_same(&key).then(|| Some((KnownRequest::Run(id), key?)))?
        });
        Ok(run)
    }

    /// Puts a request into the queue, so that it survives everything.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn add(&self, request: &QueuedRequest) -> Result<(), RecordError> {
        write(&self.waiting(&request.id), request)
    }

    /// Takes the request that comes first, for this process to start.
    ///
    /// # Errors
    ///
    /// Fails if the queue cannot be read or written.
    pub fn take_first(&self) -> Result<Option<TakenRequest>, RecordError> {
        let Some(mut request) = self.state()?.waiting.into_iter().next() else {
            return Ok(None);
        };
        request.tries += 1;
        let path = self.waiting(&request.id);
        write(&path, &request)?;
        self.carry(&path, &self.dir.taken(), &request.id)?;
        pass("taken")?;
        self.hold(request).map(Some)
    }

    /// Takes a request that never waited.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn take_new(&self, mut request: QueuedRequest) -> Result<TakenRequest, RecordError> {
        request.tries += 1;
        write(&QueueDir::file(&self.dir.taken(), &request.id), &request)?;
        self.hold(request)
    }

    /// Changes the priority of a request that waits; one that was refused waits again.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn reorder(&self, request: &QueuedRequest, priority: i64) -> Result<(), RecordError> {
        let mut again = request.clone();
        (again.priority, again.tries, again.refused) = (priority, 0, None);
        self.add(&again)?;
        durable::remove(&QueueDir::file(&self.dir.refused(), &request.id))
            .map_err(failed("clear the queue"))
    }

    /// Lets requests be started in this order. As few of them as possible get a greater priority for it, the last ones first:
    /// whenever this is cut off, none is lost.
    ///
    /// # Errors
    ///
    /// Fails if one cannot be written.
    pub fn order_as(&self, wanted: Vec<QueuedRequest>) -> Result<(), RecordError> {
        let mut behind: Option<QueuedRequest> = None;
        for request in wanted.into_iter().rev() {
            let mut placed = request.clone();
            if let Some(behind) = &behind {
                placed.priority = placed.priority.max(behind.priority);
                if order(&placed) > order(behind) {
                    placed.priority = behind.priority.saturating_add(1);
                }
            }
            if placed.priority != request.priority || request.refused.is_some() {
                self.reorder(&request, placed.priority)?;
            }
            behind = Some(placed);
        }
        Ok(())
    }

    /// Removes a request that waits or was refused.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be removed.
    pub fn remove(&self, request: &QueuedRequest) -> Result<(), RecordError> {
        for folder in [self.dir.path(), &self.dir.refused()] {
            durable::remove(&QueueDir::file(folder, &request.id))
                .and_then(|()| durable::sync_directory(folder))
                .map_err(failed("clear the queue"))?;
        }
        Ok(())
    }

    /// Puts back what was taken by a process that has died before there was a run of it.
    fn recover(&self, store: &Store) -> Result<(), RecordError> {
        durable::sweep(self.dir.path());
        let taken = self.dir.taken();
        durable::sweep(&taken);
        for path in files(&taken)? {
            let Some((request, _held)) = abandoned(&path) else {
                continue;
            };
            let is_done = match &request.work {
                RequestedWork::Exec(_) => is_named(store, &request.id)?,
                RequestedWork::Resume(resume) => has_gone_on(store, resume)?,
            };
            if is_done {
                durable::remove(&path).map_err(failed("clear the queue"))?;
            } else if request.tries < MAX_TRIES {
                self.carry(&path, self.dir.path(), &request.id)?;
                pass("back")?;
            } else {
                let why = format!("its process has died {MAX_TRIES} times before there was a run");
                refuse(&self.dir, request, why)?;
            }
        }
        Ok(())
    }

    fn waiting(&self, id: &str) -> PathBuf {
        QueueDir::file(self.dir.path(), id)
    }

    /// Moves a file into another folder of the queue, for good.
    fn carry(&self, from: &Path, folder: &Path, id: &str) -> Result<(), RecordError> {
        fs_err::rename(from, QueueDir::file(folder, id)).map_err(failed("move a request"))?;
        let folders = [self.dir.path().to_owned(), self.dir.taken()];
        folders
            .iter()
            .try_for_each(|folder| durable::sync_directory(folder))
            .map_err(failed("move a request"))
    }

    /// Holds a request in the folder of those that are taken.
    fn hold(&self, request: QueuedRequest) -> Result<TakenRequest, RecordError> {
        let path = QueueDir::file(&self.dir.taken(), &request.id);
        let file = regular::open(&path).map_err(failed("take a request"))?;
        // Nobody else does for longer than a look takes.
        file.lock().map_err(failed("take a request"))?;
        pass("held")?;
        Ok(TakenRequest {
            request,
            dir: self.dir.clone(),
            file,
        })
    }
}

impl TakenRequest {
    /// The open file, whose lock says that the request is being started: the standard input of the process that is to run it.
    ///
    /// # Errors
    ///
    /// Fails if the system has no more open files.
    pub fn file(&self) -> io::Result<std::fs::File> {
        self.file.file().try_clone()
    }

    /// Lets the request wait again, as if nobody had tried to start it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn put_back(mut self) -> Result<(), RecordError> {
        self.request.tries = 0;
        write(
            &QueueDir::file(self.dir.path(), &self.request.id),
            &self.request,
        )?;
        self.forget()
    }

    /// Keeps the request with the reason why it cannot be started.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written.
    pub fn refuse(self, why: String) -> Result<(), RecordError> {
        refuse(&self.dir, self.request, why)
    }

    /// Forgets the request: whoever asked has heard what became of it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be removed.
    pub fn forget(self) -> Result<(), RecordError> {
        durable::remove(&QueueDir::file(&self.dir.taken(), &self.request.id))
            .map_err(failed("clear the queue"))
    }
}

fn refuse(dir: &QueueDir, mut request: QueuedRequest, why: String) -> Result<(), RecordError> {
    request.refused = Some(why);
    write(&QueueDir::file(&dir.refused(), &request.id), &request)?;
    durable::remove(&QueueDir::file(&dir.taken(), &request.id)).map_err(failed("clear the queue"))
}

/// Reads a file of the folder of those that are taken and takes its lock, unless somebody holds it, or it has gone.
fn abandoned(path: &Path) -> Option<(QueuedRequest, File)> {
    let file = regular::open_with(OpenOptions::new().read(true), path).ok()?;
    match file.try_lock() {
        // What is there is still the file that was opened: only whoever holds the queue makes another.
        Ok(()) if path.exists() => Some((load(path).ok()?, file)),
        Ok(()) | Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
    }
}

/// Tells whether a run has gone on since that was asked for, or is not there any more.
fn has_gone_on(store: &Store, asked: &RequestedResume) -> Result<bool, RecordError> {
    let manifests = store.manifests()?.manifests;
    let run = manifests.iter().find(|run| run.id() == asked.run);
    let before = run.zip(asked.sessions);
    Ok(before.is_none_or(|(run, sessions)| run.manifest.sessions.len() > sessions as usize))
}

/// Tells whether a run says that it was started by a request.
fn is_named(store: &Store, id: &str) -> Result<bool, RecordError> {
    let manifests = store.manifests()?.manifests;
    let mut marks = manifests
        .iter()
        .filter_map(|run| run.manifest.request.as_ref());
    Ok(marks.any(|mark| mark.id == id))
}

fn read(dir: &QueueDir) -> Result<QueueState, RecordError> {
    let mut state = QueueState::default();
    let mut all = |folder: &Path| -> Result<Vec<QueuedRequest>, RecordError> {
        let mut requests = Vec::new();
        for path in files(folder)? {
            match load(&path) {
                Ok(request) => requests.push(request),
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => state.unreadable.push((path, error)),
            }
        }
        requests.sort_by(|one, other| order(one).cmp(&order(other)));
        Ok(requests)
    };
    // In the order in which a request moves, so that none is missed.
    let waiting = all(dir.path())?;
    let starting = all(&dir.taken())?;
    let refused = all(&dir.refused())?;
    let is_taken = |request: &QueuedRequest| starting.iter().any(|taken| taken.id == request.id);
    state.waiting = waiting;
    state.waiting.retain(|request| !is_taken(request));
    state.starting = starting;
    state.refused = refused;
    Ok(state)
}

/// By priority, and then by time.
fn order(request: &QueuedRequest) -> (Reverse<i64>, Timestamp, &str) {
    (Reverse(request.priority), request.at, &request.id)
}

fn load(path: &Path) -> io::Result<QueuedRequest> {
    let bytes = regular::read(path)?;
    let request: QueuedRequest = serde_json::from_slice(&bytes)
        .map_err(|error| io::Error::other(JsonProblem::from(error)))?;
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    if !request.is_known() || stem != Some(&request.id) {
        return Err(io::Error::other(
            "another version of the runner has written it",
        ));
    }
    Ok(request)
}

/// The requests in a folder; none, where there is no such folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, RecordError> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("read the queue"))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed("read the queue"))?.path();
        let is_hidden = |name: &str| name.starts_with('.');
        let name = path.file_name().and_then(|name| name.to_str());
        if path.extension().is_some_and(|end| end == "json") && !name.is_none_or(is_hidden) {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn write(path: &Path, request: &QueuedRequest) -> Result<(), RecordError> {
    let bytes = serde_json::to_vec_pretty(request).expect("a request can be written as JSON");
    durable::replace(path, &bytes, "queue").map_err(failed("write a request"))
}

fn pass(place: &str) -> Result<(), RecordError> {
    failpoint::pass("queue", place).map_err(failed("change the queue"))
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> RecordError {
    RecordError::io(action)
}

impl RunId {
    /// Names a request of the queue that is made `now`.
    pub(crate) fn of_request(now: Timestamp) -> Self {
        Self::new(now, uuid::Uuid::new_v4().as_fields().0)
    }
}
