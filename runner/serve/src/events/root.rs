//! [`RootWatch`]: the changes of all runs and of the queue, from one thread that reads them while a client follows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use runner_model::digest;
use runner_operations::queue;
use runner_record::{ResultsRoot, RunHead};
use runner_report::{RunItem, RunList, json::one_line};
use serde_json::json;

use super::polled_states::PolledStates;
use super::stream::{Closed, EventStream, event};

const READ_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between two reads, in durations of the last one.
const PAUSE: u32 = 20;
/// Changes that are kept for clients that reconnect.
const MAX_CHANGES: usize = 1000;

#[derive(Clone)]
pub(crate) struct RootWatch {
    changes: Arc<RootChanges>,
    /// Number of the newest change.
    newest: PolledStates<u64>,
}

struct RootChanges {
    root: ResultsRoot,
    is_read_only: bool,
    state: Mutex<RootState>,
}

#[derive(Default)]
struct RootState {
    runs: HashMap<String, KnownRun>,
    /// The queue without times, as JSON.
    queue: String,
    /// A digest of all runs and of the queue, the same in each server. It is the id of events.
    digest: u64,
    /// The last changes, with the digest after each.
    changes: VecDeque<(u64, Bytes)>,
    /// Number of the newest change.
    newest: u64,
    has_read: bool,
}

struct KnownRun {
    head: RunHead,
    digest: u64,
}

impl RootWatch {
    pub fn new(root: ResultsRoot, is_read_only: bool) -> Self {
        let state = Mutex::default();
        let changes = Arc::new(RootChanges { root, is_read_only, state });
        Self { changes, newest: PolledStates::default() }
    }

    /// Sends the changes after the event with this id, or new ones without an id, until the client disconnects.
    pub async fn follow(self, after: Option<String>, stream: EventStream) -> Result<(), Closed> {
        let changes = Arc::clone(&self.changes);
        let read = move || Some(changes.read());
        // A thread's first read finds the changes since the last read of the thread before it.
        let mut newest = self.newest.follow("", read, |took| READ_INTERVAL.max(took * PAUSE));
        while newest.borrow_and_update().is_none() {
            stream.wait(&mut newest).await?;
        }
        let (mut last, start) = self.start(after.as_deref());
        stream.send(start).await?;
        loop {
            newest.borrow_and_update();
            let changes = self.changes.state().after(last);
            let Some(changes) = changes else {
                let (now, reset) = self.start(Some(""));
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
    fn start(&self, after: Option<&str>) -> (u64, Bytes) {
        let state = self.changes.state();
        let id = id(state.digest);
        let now = json!({ "now": runner_record::now() });
        match after.map(|known| state.number_of(known)) {
            None => (state.newest, event("ready", Some(&id), &now)),
            // An id would skip the changes that the client has missed.
            Some(Some(number)) => (number, event("ready", None, &now)),
            Some(None) => (state.newest, event("reset", Some(&id), &now)),
        }
    }
}

fn id(digest: u64) -> String {
    format!("{digest:016x}")
}

impl RootChanges {
    fn state(&self) -> MutexGuard<'_, RootState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the changes since the last read. Returns the number of the newest one.
    fn read(&self) -> u64 {
        // A root that cannot be read now may be readable later.
        let list = RunList::read(&self.root).ok();
        let queue = queue::list(&self.root).ok();
        let mut state = self.state();
        if let Some(list) = list {
            state.add_runs(&self.root, list, self.is_read_only);
        }
        if let Some(queue) = queue {
            let queue = one_line(&json!([queue.requests, queue.active.len()]));
            if queue != state.queue {
                let old = contribution("", &state.queue);
                let new = contribution("", &queue);
                state.queue = queue;
                state.add(old ^ new, |id| event("queue", Some(id), &json!({})));
            }
        }
        state.has_read = true;
        state.newest
    }
}

impl RootState {
    fn add_runs(&mut self, root: &ResultsRoot, list: RunList, is_read_only: bool) {
        let mut left = std::mem::take(&mut self.runs);
        for run in list.runs {
            // Passing time does not count as a change.
            let head = RunHead { worked_ms: 0.0, ..run.head.clone() };
            let old = left.remove(&head.id);
            let digest = match &old {
                Some(old) if old.head == head => old.digest,
                old => {
                    let digest = contribution(&head.id, &one_line(&head));
                    let change = digest ^ old.as_ref().map_or(0, |old| old.digest);
                    self.add(change, |id| {
                        event("run", Some(id), &RunItem::new(root, run, is_read_only))
                    });
                    digest
                }
            };
            self.runs.insert(head.id.clone(), KnownRun { head, digest });
        }
        for (run, known) in left {
            self.add(known.digest, |id| event("gone", Some(id), &json!({ "run": run })));
        }
    }

    /// Adds a change of the digest. The first read only sets the digest.
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

    /// Returns the changes after this number. `None` if some were dropped.
    fn after(&self, last: u64) -> Option<Vec<Bytes>> {
        let missed = (self.newest - last) as usize;
        let skipped = self.changes.len().checked_sub(missed)?;
        Some(self.changes.iter().skip(skipped).map(|(_, event)| event.clone()).collect())
    }
}

/// Returns the contribution of a run or the queue to the digest.
fn contribution(name: &str, text: &str) -> u64 {
    let digest = digest(format!("{name} {text}").as_bytes()).to_string();
    u64::from_str_radix(&digest[..16], 16).unwrap_or_default()
}
