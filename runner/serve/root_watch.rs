//! [`RootWatch`]: how all runs of a results root stand, for as long as somebody hears of it.

use std::{
    collections::HashMap,
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

use super::token::Token;
use crate::{
    record::RunId,
    session::{self, List, Store},
    view::RunSummary,
};

/// How often all runs are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many times longer than a look the rest after it is: looking is to take a small part of a core.
const REST: u32 = 20;

/// How all runs stand.
pub(super) struct RootWatch {
    root: PathBuf,
    now: fn() -> Timestamp,
    /// Tells this server's numbers from another one's.
    name: String,
    known: Mutex<KnownRuns>,
    seen: watch::Sender<u64>,
    is_watched: AtomicBool,
}

/// The runs that were seen, each with the number of its latest change.
#[derive(Default)]
struct KnownRuns {
    /// `None` of one that is gone.
    runs: HashMap<RunId, (u64, Option<Value>)>,
    changes: u64,
}

impl RootWatch {
    /// Of the results root `root`, by the wall clock `now`; nobody looks yet.
    pub(super) fn new(root: PathBuf, now: fn() -> Timestamp) -> Self {
        let name =
            Token::random().map_or_else(|_| "0".to_owned(), |token| token.text()[..8].to_owned());
        Self {
            root,
            now,
            name,
            known: Mutex::default(),
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
        (name == self.name && number <= self.known().changes).then_some(number)
    }

    /// The latest change.
    pub(super) fn now(&self) -> (String, u64) {
        let changes = self.known().changes;
        (self.id(changes), changes)
    }

    /// What has changed since a change, in order, and the latest change.
    pub(super) fn since(&self, told: u64) -> (Vec<(&'static str, String, Value)>, u64) {
        let known = self.known();
        let news = known.runs.iter().filter(|(_, (number, _))| *number > told);
        let mut news: Vec<_> = news
            .map(|(run, (number, stands))| match stands {
                Some(stands) => (*number, ("run", self.id(*number), stands.clone())),
                None => (
                    *number,
                    ("gone", self.id(*number), json!({ "run": run.as_str() })),
                ),
            })
            .collect();
        news.sort_by_key(|(number, _)| *number);
        (
            news.into_iter().map(|(_, event)| event).collect(),
            known.changes,
        )
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    fn known(&self) -> MutexGuard<'_, KnownRuns> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of how runs stand; the first look is news to nobody, who has just read the list.
    fn note(&self, runs: &[RunSummary]) {
        let mut known = self.known();
        let KnownRuns { runs: all, changes } = &mut *known;
        let is_first = all.is_empty();
        let mut here = std::collections::HashSet::with_capacity(runs.len());
        for run in runs {
            here.insert(&run.id);
            let stands = stands(run);
            let is_same = all
                .get(&run.id)
                .is_some_and(|(_, old)| old.as_ref() == Some(&stands));
            if !is_same {
                *changes += u64::from(!is_first);
                all.insert(run.id.clone(), (*changes, Some(stands)));
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
        self.seen
            .send_if_modified(|known| std::mem::replace(known, changes) != changes);
    }
}

/// How a run stands, without what changes with the clock alone.
fn stands(run: &RunSummary) -> Value {
    let mut value = serde_json::to_value(run).unwrap_or_default();
    if run.is_alive
        && let Some(keys) = value.as_object_mut()
    {
        keys.remove("elapsed_ms");
    }
    value
}

/// Looks at all runs for as long as somebody hears of it.
async fn look(watch: Arc<RootWatch>) {
    loop {
        let began = Instant::now();
        let looking = Arc::clone(&watch);
        let _ = tokio::task::spawn_blocking(move || {
            let listed = Store::existing(&looking.root)
                .and_then(|store| session::list(&store, &List::default(), (looking.now)()));
            if let Ok(listed) = listed {
                looking.note(&listed.list.runs);
            }
        })
        .await;
        if watch.seen.receiver_count() == 0 {
            watch.is_watched.store(false, Ordering::Release);
            if watch.seen.receiver_count() == 0 || watch.is_watched.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        tokio::time::sleep(LOOK_EVERY.max(began.elapsed() * REST)).await;
    }
}
