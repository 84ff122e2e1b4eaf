//! [`RootWatch`]: how all runs of a results root stand, for as long as somebody hears of it.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{queue_news::QueueNews, token::Token};
use crate::{
    record::{RunEntry, RunId, RunMemory},
    session::Store,
    view::RunSummary,
};

/// How often all runs are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the queue is looked at.
const LOOK_AT_QUEUE_EVERY: Duration = Duration::from_millis(250);
/// How many changes of the queue are kept for whoever comes back.
const MAX_QUEUE_CHANGES: usize = 200;
/// How many times longer than a look the rest after it is: looking is to take a small part of a core.
const REST: u32 = 20;

/// How all runs stand.
pub(super) struct RootWatch {
    root: PathBuf,
    memory: Arc<RunMemory>,
    now: fn() -> Timestamp,
    /// Tells this server's numbers from another one's.
    name: String,
    known: Mutex<KnownRuns>,
    queue: Mutex<QueueNews>,
    seen: watch::Sender<u64>,
    is_watched: AtomicBool,
}

/// The runs that were seen, each with the number of its latest change.
#[derive(Default)]
struct KnownRuns {
    /// `None` of one that is gone.
    runs: HashMap<RunId, (u64, Option<Arc<RunEntry>>)>,
    /// The latest changes of the queue, with their numbers.
    queue: VecDeque<(u64, Value)>,
    /// The latest change of the queue that is not there any more.
    forgotten: u64,
    changes: u64,
    /// Whether the first look is over, which is news to nobody.
    has_looked: bool,
}

impl RootWatch {
    /// Of the results root `root`, of whose runs `memory` knows, by the wall clock `now`; nobody looks yet.
    pub(super) fn new(root: PathBuf, memory: Arc<RunMemory>, now: fn() -> Timestamp) -> Self {
        let name =
            Token::random().map_or_else(|_| "0".to_owned(), |token| token.text()[..8].to_owned());
        Self {
            root,
            memory,
            now,
            name,
            known: Mutex::default(),
            queue: Mutex::default(),
            seen: watch::Sender::new(0),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Hears that something has changed, from now on.
    pub(super) fn watch(self: &Arc<Self>) -> watch::Receiver<u64> {
        let receiver = self.seen.subscribe();
        if !self.is_watched.swap(true, Ordering::AcqRel) {
            drop(tokio::spawn(look(Arc::clone(self))));
        }
        receiver
    }

    /// Which change an id means, if it is one of this server's.
    pub(super) fn place(&self, id: Option<&str>) -> Option<u64> {
        let (name, number) = id?.split_once('-')?;
        let number = number.parse().ok()?;
        let known = self.known();
        let is_known = name == self.name && (known.forgotten..=known.changes).contains(&number);
        is_known.then_some(number)
    }

    /// The latest change; `None` before the first look is over.
    pub(super) fn now(&self) -> Option<(String, u64)> {
        let known = self.known();
        let changes = known.changes;
        known.has_looked.then(|| (self.id(changes), changes))
    }

    /// What has changed since a change, in order, and the latest change.
    pub(super) fn since(&self, told: u64) -> (Vec<(&'static str, String, Value)>, u64) {
        let known = self.known();
        let now = (self.now)();
        let runs = known.runs.iter().filter(|(_, (number, _))| *number > told);
        let runs = runs.map(|(run, (number, entry))| match entry {
            Some(entry) => (*number, "run", stands(entry, now)),
            None => (*number, "gone", json!({ "run": run.as_str() })),
        });
        let queue = known.queue.iter().filter(|(number, _)| *number > told);
        let queue = queue.map(|(number, change)| (*number, "queue", change.clone()));
        let mut news: Vec<_> = runs.chain(queue).collect();
        news.sort_by_key(|(number, ..)| *number);
        let events = news
            .into_iter()
            .map(|(number, name, data)| (name, self.id(number), data));
        (events.collect(), known.changes)
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    fn known(&self) -> MutexGuard<'_, KnownRuns> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of how runs stand.
    fn note(&self, runs: &[Arc<RunEntry>]) {
        let mut known = self.known();
        let KnownRuns {
            runs: all,
            changes,
            has_looked,
            ..
        } = &mut *known;
        let mut here = std::collections::HashSet::with_capacity(runs.len());
        for run in runs {
            here.insert(&run.id);
            let old = all.get(&run.id).and_then(|(_, old)| old.as_ref());
            if !old.is_some_and(|old| Arc::ptr_eq(old, run) || old == run) {
                *changes += u64::from(*has_looked);
                all.insert(run.id.clone(), (*changes, Some(Arc::clone(run))));
            }
        }
        for (run, entry) in all.iter_mut() {
            if entry.1.is_some() && !here.contains(run) {
                *changes += 1;
                *entry = (*changes, None);
            }
        }
        let changes = *changes;
        drop(known);
        self.tell(changes);
    }

    /// Says that the first look is over.
    fn has_looked(&self) {
        let had = std::mem::replace(&mut self.known().has_looked, true);
        if !had {
            self.seen.send_modify(|_| ());
        }
    }

    /// Takes note of what has changed in the queue.
    fn note_queue(&self, news: Vec<Value>) {
        let mut known = self.known();
        for change in news {
            known.changes += 1;
            let number = known.changes;
            known.queue.push_back((number, change));
            if known.queue.len() > MAX_QUEUE_CHANGES {
                let oldest = known.queue.pop_front();
                known.forgotten = oldest.map_or(known.forgotten, |(number, _)| number);
            }
        }
        let changes = known.changes;
        drop(known);
        self.tell(changes);
    }

    fn tell(&self, changes: u64) {
        self.seen
            .send_if_modified(|known| std::mem::replace(known, changes) != changes);
    }

    /// Looks at the queue, and at all runs where that is due.
    fn look(&self, is_due: bool) {
        let Ok(store) = Store::existing(&self.root) else {
            return;
        };
        let store = store.remembering(&self.memory);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let news = queue.look(&store);
        drop(queue);
        self.note_queue(news);
        if is_due && let Ok(listed) = store.shared_runs() {
            self.note(&listed.runs);
        }
    }
}

/// How a run stands, without what changes with the clock alone.
fn stands(run: &RunEntry, now: Timestamp) -> Value {
    let run = RunSummary::new(run, now);
    let mut value = serde_json::to_value(&run).unwrap_or_default();
    if run.is_alive
        && let Some(keys) = value.as_object_mut()
    {
        keys.remove("elapsed_ms");
    }
    value
}

/// Looks at the queue and at all runs for as long as somebody hears of it.
async fn look(watch: Arc<RootWatch>) {
    let mut due = Instant::now();
    loop {
        let began = Instant::now();
        let is_due = began >= due;
        let looking = Arc::clone(&watch);
        let _ = tokio::task::spawn_blocking(move || looking.look(is_due)).await;
        watch.has_looked();
        if is_due {
            due = began + LOOK_EVERY.max(began.elapsed() * REST);
        }
        if watch.seen.receiver_count() == 0 {
            watch.is_watched.store(false, Ordering::Release);
            if watch.seen.receiver_count() == 0 || watch.is_watched.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        tokio::time::sleep(LOOK_AT_QUEUE_EVERY).await;
    }
}
