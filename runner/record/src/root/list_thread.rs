//! [`ListThread`]: keeps the entries of a process's runs in the list, in parallel with the writes of their manifests.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::{thread, time::Duration};

use super::database::{Database, Listed};
use crate::disk::beneath::Dir;

/// Time for the last entries once the root is dropped.
const PATIENCE: Duration = Duration::from_millis(50);

/// A thread that upserts entries. Dropping it waits up to [`PATIENCE`] for the last entries.
#[derive(Debug)]
pub(crate) struct ListThread {
    entries: Option<Sender<(String, Listed)>>,
    /// Disconnected at the end of the thread.
    done: Receiver<()>,
}

impl ListThread {
    pub(crate) fn start(root: Dir) -> Self {
        let (entries, received) = channel::<(String, Listed)>();
        let (running, done) = channel();
        let update = move || {
            // Workers have priority.
            let _ = rustix::process::nice(10);
            while let Ok(entry) = received.recv() {
                let mut changed = vec![entry];
                changed.extend(received.try_iter());
                // Opened each time, because `reindex` may have replaced the file.
                if let Some(mut database) = Database::open_or_create(&root) {
                    // Otherwise the next reader reads the manifests.
                    let _ = database.write(&changed, std::iter::empty());
                }
            }
            drop(running);
        };
        // Without a thread the next reader reads the manifests.
        let _ = thread::Builder::new().name("list".into()).spawn(update);
        Self { entries: Some(entries), done }
    }

    /// Updates the entry of a run.
    pub(crate) fn send(&self, id: String, listed: Listed) {
        if let Some(entries) = &self.entries {
            let _ = entries.send((id, listed));
        }
    }
}

impl Drop for ListThread {
    fn drop(&mut self) {
        self.entries = None;
        let _ = self.done.recv_timeout(PATIENCE);
    }
}
