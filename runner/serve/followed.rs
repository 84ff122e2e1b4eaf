//! [`FollowedRuns`]: the runs that somebody looks at. What is kept of them is made of their rows, and lost without harm.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    error::Error,
    model::{Counts, RunStatus, Verdict},
    record::RunReader,
    session::{self, TrialList},
    view::RunProgress,
};

/// How much memory all of them take together, in bytes, beside the one that was looked at last.
const MAX_MEMORY: usize = 256 << 20;
/// How often a run is looked at while somebody follows it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it is looked what its attempts are doing, at most.
const DOING_EVERY: Duration = Duration::from_secs(1);
/// Of how many of these looks one asks whether anybody works on the run.
const LOOKS_PER_SIGN: u32 = 4;

/// The runs that somebody looks at.
pub(super) struct FollowedRuns {
    now: fn() -> Timestamp,
    /// The latest first.
    runs: Mutex<VecDeque<Arc<FollowedRun>>>,
    /// One is opened at a time: that takes a core, and two who ask for the same run want one.
    opening: Mutex<()>,
}

/// A run that somebody looks at.
pub(super) struct FollowedRun {
    dir: PathBuf,
    now: fn() -> Timestamp,
    list: Mutex<TrialList>,
    seen: watch::Sender<SeenRun>,
    /// What its attempts are doing, as an event says it: one look for however many hear it.
    doing: watch::Sender<Option<RunDoing>>,
    is_watched: AtomicBool,
}

/// What the attempts of a run were doing.
#[derive(Clone, Debug)]
pub(super) struct RunDoing {
    at: Instant,
    /// JSON.
    pub(super) text: Arc<str>,
}

impl RunDoing {
    /// Tells whether it was looked at lately.
    pub(super) fn is_fresh(&self) -> bool {
        self.at.elapsed() < 2 * DOING_EVERY
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeenRun {
    /// It is so far, and may come further.
    Running(Reached),
    /// Nobody works on it any more.
    Over(Reached, RunStatus, Verdict),
    /// It was deleted, or lines are gone that were there.
    Lost,
}

/// How far the rows of a run are, for those who must not wait for whoever reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) progress: RunProgress,
    /// How many bytes of rows that is.
    pub(super) bytes: u64,
}

impl Reached {
    fn of(list: &TrialList) -> Self {
        Self {
            progress: list.progress(),
            bytes: list.columns().bytes(),
        }
    }
}

impl FollowedRuns {
    /// None yet, by the wall clock `now`.
    pub(super) fn new(now: fn() -> Timestamp) -> Self {
        Self {
            now,
            runs: Mutex::default(),
            opening: Mutex::default(),
        }
    }

    /// The run in `dir`, with the rows that it has now. The first look reads all of them.
    pub(super) fn followed(&self, dir: &Path) -> Result<Arc<FollowedRun>, Error> {
        let planned = RunReader::open(dir).map_err(Error::record)?;
        let planned = planned.manifest().metadata.planned_test_count;
        if let Some(known) = self.known(dir, planned) {
            return Ok(known);
        }
        let _one = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have opened it meanwhile.
        if let Some(known) = self.known(dir, planned) {
            return Ok(known);
        }
        let list = TrialList::of(dir)?;
        let opened = Arc::new(FollowedRun {
            dir: dir.to_owned(),
            now: self.now,
            seen: watch::Sender::new(SeenRun::Running(Reached::of(&list))),
            doing: watch::Sender::new(None),
            list: Mutex::new(list),
            is_watched: AtomicBool::new(false),
        });
        let mut runs = self.runs();
        runs.push_front(Arc::clone(&opened));
        let mut memory = 0;
        let mut place = 0;
        runs.retain(|run| {
            memory += run.list().memory();
            place += 1;
            place == 1 || memory <= MAX_MEMORY
        });
        Ok(opened)
    }

    /// What the rows of the run in `dir` come to; `None` where they cannot be read.
    pub(super) fn counts(&self, dir: &Path) -> Option<Counts> {
        let run = self.followed(dir).ok()?;
        let counts = *run.list().columns().counts();
        Some(counts)
    }

    /// One that was looked at before and has as many trials as now: a resume may have planned anew.
    fn known(&self, dir: &Path, planned: u64) -> Option<Arc<FollowedRun>> {
        let mut runs = self.runs();
        let place = runs.iter().position(|run| run.dir == dir)?;
        let known = runs.remove(place)?;
        let mut list = known.list();
        if list.progress().planned != planned || list.follow().is_err() {
            return None;
        }
        drop(list);
        runs.push_front(Arc::clone(&known));
        Some(known)
    }

    fn runs(&self) -> MutexGuard<'_, VecDeque<Arc<FollowedRun>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FollowedRun {
    pub(super) fn list(&self) -> MutexGuard<'_, TrialList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears how far the run is and what its attempts are doing, from now on. However many hear it, one looks.
    pub(super) fn watch(
        self: &Arc<Self>,
    ) -> (watch::Receiver<SeenRun>, watch::Receiver<Option<RunDoing>>) {
        let receiver = (self.seen.subscribe(), self.doing.subscribe());
        if !self.is_watched.swap(true, Ordering::AcqRel) {
            drop(tokio::spawn(Arc::clone(self).look()));
        }
        receiver
    }

    /// Looks once, whoever hears of it: since nobody has, a run that was over may go on.
    pub(super) fn look_once(&self) {
        let seen = self.seen_now(true);
        self.seen.send_replace(seen);
    }

    /// Looks at the run for as long as somebody hears of it.
    async fn look(self: Arc<Self>) {
        let mut looks = 0_u32;
        let mut asked: Option<Instant> = None;
        loop {
            let run = Arc::clone(&self);
            let asks = looks.is_multiple_of(LOOKS_PER_SIGN);
            let seen = tokio::task::spawn_blocking(move || run.seen_now(asks)).await;
            let seen = seen.unwrap_or(SeenRun::Lost);
            self.seen
                .send_if_modified(|known| std::mem::replace(known, seen) != seen);
            looks = looks.wrapping_add(1);
            if matches!(seen, SeenRun::Running(_))
                && asked.is_none_or(|asked| asked.elapsed() >= DOING_EVERY)
            {
                let run = Arc::clone(&self);
                let doing = tokio::task::spawn_blocking(move || run.doing_now()).await;
                asked = Some(Instant::now());
                if let Ok(Some(text)) = doing {
                    let doing = RunDoing {
                        at: Instant::now(),
                        text: text.into(),
                    };
                    self.doing.send_if_modified(|known| {
                        let old = known.replace(doing);
                        let new = known.as_ref().map(|doing| &doing.text);
                        old.as_ref().map(|doing| &doing.text) != new
                    });
                }
            }
            if self.seen.receiver_count() == 0 {
                self.is_watched.store(false, Ordering::Release);
                // Somebody may have come between the two.
                if self.seen.receiver_count() == 0 || self.is_watched.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What its attempts are doing, as JSON; `None` where no process works on it.
    fn doing_now(&self) -> Option<String> {
        let activity = session::waiting(&self.dir, (self.now)()).ok().flatten()?;
        serde_json::to_string(&activity).ok()
    }

    fn seen_now(&self, asks: bool) -> SeenRun {
        // Asked before the rows are read: what a process has written is there before it ends.
        let sign = match asks {
            true => RunReader::open(&self.dir).map(Some),
            false => Ok(None),
        };
        let mut list = self.list();
        let Ok(sign) = sign else {
            return SeenRun::Lost;
        };
        if list.follow().is_err() {
            return SeenRun::Lost;
        }
        let reached = Reached::of(&list);
        match sign {
            Some(reader) if !reader.is_alive() => {
                let manifest = reader.manifest();
                SeenRun::Over(reached, manifest.status, manifest.verdict)
            }
            Some(_) => SeenRun::Running(reached),
            None => match *self.seen.borrow() {
                SeenRun::Over(_, status, verdict) => SeenRun::Over(reached, status, verdict),
                _ => SeenRun::Running(reached),
            },
        }
    }
}
