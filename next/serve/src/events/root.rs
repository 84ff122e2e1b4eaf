//! [`RootWatch`]: the changes of all runs and of the queue, from one thread that reads them while a client follows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use runner_model::digest;
use runner_operations::queue;
use runner_record::{ResultsRoot, RunHead};
use runner_report::{RunItem, RunList, json::one_line};
use serde_json::json;
use tokio::sync::watch;

use super::stream::{Closed, EventStream, event};

const READ_INTERVAL: Duration = Duration::from_secs(1);
/// Reading takes at most this part of a core.
const REST: u32 = 20;
/// Changes that are kept for clients that come back.
const MAX_CHANGES: usize = 1000;

#[derive(Clone)]
pub(crate) struct RootWatch(Arc<Inner>);

struct Inner {
    root: ResultsRoot,
    is_read_only: bool,
    state: Mutex<State>,
    /// Number of the newest change. `None` before the first reading.
    newest: watch::Sender<Option<u64>>,
}

#[derive(Default)]
struct State {
    runs: HashMap<String, KnownRun>,
    /// The queue without times, as JSON.
    queue: String,
    /// A digest of all runs and of the queue, the same in each server. It is the id of events.
    digest: u64,
    /// The last changes, with the digest after each.
    changes: VecDeque<(u64, Bytes)>,
    /// Number of the newest change.
    newest: u64,
    is_watched: bool,
    has_read: bool,
}

struct KnownRun {
    head: RunHead,
    digest: u64,
}

/// The place in the changes from which a client follows them.
pub(crate) enum Place {
    /// From now on.
    Now,
    /// After the event with this id.
    After(String),
}

impl RootWatch {
    pub fn new(root: ResultsRoot, is_read_only: bool) -> Self {
        let newest = watch::Sender::new(None);
        Self(Arc::new(Inner { root, is_read_only, state: Mutex::default(), newest }))
    }

    /// Writes the changes for as long as the client reads them.
    pub async fn follow(self, place: Place, stream: EventStream) -> Result<(), Closed> {
        let mut newest = self.watch();
        while newest.borrow_and_update().is_none() {
            stream.wait(&mut newest).await?;
        }
        let (mut last, start) = self.start(&place);
        stream.send(start).await?;
        loop {
            newest.borrow_and_update();
            let changes = self.0.state().after(last);
            let Some(changes) = changes else {
                let (now, reset) = self.start(&Place::After(String::new()));
                last = now;
                stream.send(reset).await?;
                continue;
            };
            for change in changes {
                last += 1;
                stream.send(change).await?;
            }
            stream.wait(&mut newest).await?;
        }
    }

    /// Returns the number of the last change that a client has, and the event that it gets first.
    fn start(&self, place: &Place) -> (u64, Bytes) {
        let state = self.0.state();
        let id = id(state.digest);
        let now = json!({ "now": runner_record::now() });
        match place {
            Place::Now => (state.newest, event("ready", Some(&id), &now)),
            Place::After(known) => match state.number_of(known) {
                // An id would skip the changes that the client has missed.
                Some(number) => (number, event("ready", None, &now)),
                None => (state.newest, event("reset", Some(&id), &now)),
            },
        }
    }

    /// Starts the thread unless it runs. Its first reading finds the changes since the end of the last thread.
    fn watch(&self) -> watch::Receiver<Option<u64>> {
        let mut state = self.0.state();
        // Counted under the lock, so that the thread does not end meanwhile.
        let receiver = self.0.newest.subscribe();
        if !state.is_watched {
            let inner = Arc::clone(&self.0);
            let started = thread::Builder::new().name("watch".into()).spawn(move || inner.watch());
            state.is_watched = started.is_ok();
            self.0.newest.send_replace(None);
        }
        receiver
    }
}

fn id(digest: u64) -> String {
    format!("{digest:016x}")
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        loop {
            let start = Instant::now();
            let newest = self.read();
            self.newest.send_if_modified(|known| known.replace(newest) != Some(newest));
            thread::sleep(READ_INTERVAL.max(start.elapsed() * REST));
            let mut state = self.state();
            if self.newest.receiver_count() == 0 {
                state.is_watched = false;
                return;
            }
        }
    }

    /// Adds the changes since the last reading. Returns the number of the newest one.
    fn read(&self) -> u64 {
        // A root that cannot be read now may be readable later.
        let list = RunList::read(&self.root).ok();
        let queue = queue::list(&self.root).ok();
        let mut state = self.state();
        if let Some(list) = list {
            state.add_runs(list, self.is_read_only);
        }
        if let Some(queue) = queue {
            let queue = one_line(&json!([queue.requests, queue.active.len()]));
            if queue != state.queue {
                let old = part("", &state.queue);
                let new = part("", &queue);
                state.queue = queue;
                state.add(old ^ new, |id| event("queue", Some(id), &json!({})));
            }
        }
        state.has_read = true;
        state.newest
    }
}

impl State {
    fn add_runs(&mut self, list: RunList, is_read_only: bool) {
        let mut left = std::mem::take(&mut self.runs);
        for run in list.runs {
            let old = left.remove(&run.head.id);
            if let Some(old) = old.as_ref().filter(|old| is_same(&old.head, &run.head)) {
                let known = KnownRun { head: run.head, digest: old.digest };
                self.runs.insert(known.head.id.clone(), known);
                continue;
            }
            let (id, head) = (run.head.id.clone(), run.head.clone());
            let digest = part(&id, &one_line(&without_clock(&head)));
            let old = old.map_or(0, |old| old.digest);
            let item = RunItem::new(run, is_read_only);
            self.add(old ^ digest, |id| event("run", Some(id), &item));
            self.runs.insert(id, KnownRun { head, digest });
        }
        for (run, known) in left {
            self.add(known.digest, |id| event("gone", Some(id), &json!({ "run": run })));
        }
    }

    /// Adds a change of the digest. The first reading only sets the digest.
    fn add(&mut self, change: u64, event: impl FnOnce(&str) -> Bytes) {
        self.digest ^= change;
        if self.has_read {
            self.newest += 1;
            self.changes.push_back((self.digest, event(&id(self.digest))));
            if self.changes.len() > MAX_CHANGES {
                self.changes.pop_front();
            }
        }
    }

    /// Returns the number of the change with this id, or of the newest one if nothing has changed since.
    fn number_of(&self, known: &str) -> Option<u64> {
        if known == id(self.digest) {
            return Some(self.newest);
        }
        let back = self.changes.iter().rev().position(|(digest, _)| id(*digest) == known)?;
        Some(self.newest - back as u64)
    }

    /// Returns the changes after a number. `None` if some are not kept any more.
    fn after(&self, last: u64) -> Option<Vec<Bytes>> {
        let missed = (self.newest - last) as usize;
        let skipped = self.changes.len().checked_sub(missed)?;
        Some(self.changes.iter().skip(skipped).map(|(_, event)| event.clone()).collect())
    }
}

/// Returns the part of the digest that a run or the queue has.
fn part(name: &str, text: &str) -> u64 {
    let digest = digest(format!("{name} {text}").as_bytes()).to_string();
    u64::from_str_radix(&digest[..16], 16).unwrap_or_default()
}

/// Returns whether two states of a run differ only in time that has passed.
fn is_same(old: &RunHead, new: &RunHead) -> bool {
    without_clock(old) == without_clock(new)
}

fn without_clock(head: &RunHead) -> RunHead {
    RunHead { worked_ms: 0.0, ..head.clone() }
}
