//! Starting a run in a process of its own, which outlives whoever has started it.

use std::{
    fmt,
    io::{self, Read as _},
    process::{Child, Command, Stdio},
    thread,
};

use miette::{Diagnostic, miette};
use serde::{Deserialize, Serialize};

use super::{change::active_runs, known::known, requested};
use crate::{
    error::{Error, ExitStatus},
    model::{Actor, chain},
    record::{
        KnownRequest, LockedQueue, QueuedRequest, RequestedWork, RunEntry, RunId, Store,
        TakenRequest,
    },
    session::{Host, Resume, Start, root_settings},
};

/// What came of asking for a run in a process of its own.
#[derive(Debug)]
pub enum DetachedStart {
    /// It has begun.
    Started(StartedRun),
    /// As many runs are active as the results root may have.
    Busy(ActiveRuns),
    /// It was asked for before, by the same key.
    Known(KnownRequest),
}

/// A run that has begun in a process of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedRun {
    /// The run; `None` where nothing of it was left to do.
    pub run: Option<RunId>,
    /// What its process had to say before.
    pub said: String,
}

/// The runs that keep another one from beginning.
#[derive(Debug)]
pub struct ActiveRuns {
    /// The runs.
    pub runs: Vec<RunEntry>,
    /// How many more are about to begin.
    pub starting: usize,
    /// How many there may be.
    pub max: usize,
}

/// Why a process has refused what it was started for, as it tells whoever has started it.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{detail}")]
pub struct RefusedStart {
    detail: String,
    help: Option<String>,
    /// All that it has said, as a terminal shows it.
    #[serde(skip)]
    said: String,
}

impl Diagnostic for RefusedStart {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }
}

impl RefusedStart {
    /// What a process that fails so has to tell.
    pub fn of(error: &Error) -> Self {
        let report: &(dyn Diagnostic + 'static) = error.report.as_ref();
        Self {
            detail: chain(report),
            help: report.help().map(|help| help.to_string()),
            said: String::new(),
        }
    }

    /// Reads what a process has told; `None` if it is anything else.
    fn read(told: &str, said: &str) -> Option<Self> {
        let refused: Self = serde_json::from_str(told).ok()?;
        let said = said.trim().to_owned();
        Some(Self { said, ..refused })
    }

    /// All that there is to say of an error, as a text that is kept.
    pub(super) fn told(error: &Error) -> String {
        match error.report.downcast_ref::<Self>() {
            Some(refused) => refused.said.clone(),
            None => error.report.to_string(),
        }
    }
}

/// Why no run has begun in a process.
pub(super) enum NotBegun {
    /// What was asked for is wrong, or cannot be done here.
    Refused(Error),
    /// Others are in the way, or somebody has ended the process.
    NotNow(Error),
    /// The process has died.
    Died(Error),
}

impl NotBegun {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Refused(error) | Self::NotNow(error) | Self::Died(error) => error,
        }
    }
}

/// Starts a run of a scenario in a process of its own, unless as many are active as its results root may have; blocks until
/// there is a run. The request is `actor`'s; of two with the same `key` one is carried out, whenever they come.
///
/// # Errors
///
/// Fails if no run can begin; the error has the words of that process.
pub fn start_detached(
    request: &Start,
    actor: &Actor,
    key: Option<&str>,
    host: &Host,
) -> Result<DetachedStart, Error> {
    let store = Store::open(request.root()).map_err(Error::record)?;
    begin(&store, requested::of_start(request)?, actor, key, host)
}

/// Goes on with a run in a process of its own, as [`start_detached`] starts one.
///
/// # Errors
///
/// Fails if no session can begin; the error has the words of that process.
pub fn resume_detached(
    request: &Resume,
    actor: &Actor,
    host: &Host,
) -> Result<DetachedStart, Error> {
    let store = Store::open(request.root()).map_err(Error::record)?;
    begin(&store, requested::of_resume(request)?, actor, None, host)
}

fn begin(
    store: &Store,
    work: RequestedWork,
    actor: &Actor,
    key: Option<&str>,
    host: &Host,
) -> Result<DetachedStart, Error> {
    let id = RunId::of_request((host.now)()).to_string();
    let key = key.map(|key| work.key(key));
    let request = QueuedRequest::new(id, 0, actor.into(), work).known_by(key);
    let taken = {
        let queue = store.lock_queue((host.now)()).map_err(Error::record)?;
        if let Some(known) = known(store, &queue, &request)? {
            return Ok(DetachedStart::Known(known));
        }
        if let Some(active) = busy(store, &queue)? {
            return Ok(DetachedStart::Busy(active));
        }
        queue.take_new(request).map_err(Error::record)?
    };
    match launch(store, &taken, host) {
        Ok(started) => Ok(DetachedStart::Started(started)),
        Err(failed) => {
            taken.forget().map_err(Error::record)?;
            Err(failed.into_error())
        }
    }
}

/// The runs that keep another from beginning, if there are so many.
pub(super) fn busy(store: &Store, queue: &LockedQueue) -> Result<Option<ActiveRuns>, Error> {
    let max = root_settings(store.root())?.max_active_runs.get();
    let starting = queue.state().map_err(Error::record)?.starting.len();
    let runs = active_runs(store).map_err(Error::record)?;
    let is_busy = runs.len() + starting >= max;
    Ok(is_busy.then_some(ActiveRuns {
        runs,
        starting,
        max,
    }))
}

/// Starts the process of a request, and waits until its run has begun.
pub(super) fn launch(
    store: &Store,
    taken: &TakenRequest,
    host: &Host,
) -> Result<StartedRun, NotBegun> {
    let failed = |error: io::Error| {
        let folder = taken.request.folder();
        let report = miette!("cannot start the runner in `{folder}`: {error}");
        NotBegun::Refused(Error::usage(report))
    };
    let root = fs_err::canonicalize(store.root()).map_err(failed)?;
    let mut child = Command::new(&host.program)
        .arg(requested::START_ARGUMENT)
        .arg(root)
        .current_dir(taken.request.folder())
        .stdin(taken.file().map_err(failed)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (told, said) = heard(&mut child).map_err(failed)?;
    let refused = RefusedStart::read(&told, &said);
    if !told.is_empty() && refused.is_none() {
        // Whoever has started a process is asked how it ended, or it stays in the system's table.
        thread::spawn(move || child.wait());
        return Ok(StartedRun {
            run: Some(RunId::of_directory(&told)),
            said,
        });
    }
    let status = child.wait().map_err(failed)?;
    let has_refused = refused.is_some();
    let error = |status| Error {
        status,
        report: match refused {
            Some(refused) => miette::Report::new(refused),
            None => miette!("{}", said.trim()),
        },
    };
    match status.code().and_then(ExitStatus::from_code) {
        // A run that has come to its end has nothing left, whatever its trials showed.
        Some(ExitStatus::Success | ExitStatus::NotPassed) if !has_refused => {
            Ok(StartedRun { run: None, said })
        }
        Some(code @ (ExitStatus::Busy | ExitStatus::Signalled(_))) => {
            Err(NotBegun::NotNow(error(code)))
        }
        Some(code @ (ExitStatus::Storage | ExitStatus::Internal)) => {
            Err(NotBegun::Died(error(code)))
        }
        Some(code) => Err(NotBegun::Refused(error(code))),
        None => {
            let report = miette!("the process of the run has died: {status}");
            Err(NotBegun::Died(Error::internal(report)))
        }
    }
}

/// What a process says until its run has begun, or it has ended: the run's id or why it has refused, and what people are
/// told.
fn heard(child: &mut Child) -> io::Result<(String, String)> {
    let mut stderr = child.stderr.take().expect("it is piped");
    let listener = thread::Builder::new().spawn(move || {
        let mut said = Vec::new();
        // What of it cannot be read is not told.
        _ = stderr.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    })?;
    let mut told = String::new();
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_to_string(&mut told)?;
    let said = listener.join().unwrap_or_default();
    Ok((told.trim().to_owned(), said))
}
