//! [`PolledStates`]: states that clients follow. One thread per state reads it repeatedly.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{collections::HashMap, thread};

use tokio::sync::watch::{self, Receiver, Sender};

/// States by name. A thread ends once no client follows its state.
#[derive(Clone)]
pub(crate) struct PolledStates<T>(Arc<Mutex<HashMap<String, Sender<Option<T>>>>>);

impl<T> Default for PolledStates<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: PartialEq + Send + Sync + 'static> PolledStates<T> {
    /// Returns a state, which is `None` until it has been read once. `read` returns `None` if the state cannot be read now.
    /// `pause` returns the time between two reads from the duration of the last one.
    pub fn follow(
        &self,
        name: &str,
        mut read: impl FnMut() -> Option<T> + Send + 'static,
        pause: fn(Duration) -> Duration,
    ) -> Receiver<Option<T>> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.get(name) {
            return state.subscribe();
        }
        let (sender, receiver) = watch::channel(None);
        states.insert(name.to_owned(), sender.clone());
        let all = Arc::clone(&self.0);
        let name = name.to_owned();
        // If no thread can start, the stream sends only comments.
        let _ = thread::Builder::new().name("follow".into()).spawn(move || {
            loop {
                let start = Instant::now();
                let state = read();
                sender.send_if_modified(|known| {
                    let is_new = state.is_some() && *known != state;
                    if is_new {
                        *known = state;
                    }
                    is_new
                });
                thread::sleep(pause(start.elapsed()));
                // Clients subscribe under the lock, so that every state has a thread.
                let mut states = all.lock().unwrap_or_else(PoisonError::into_inner);
                if sender.receiver_count() == 0 {
                    states.remove(&name);
                    return;
                }
            }
        });
        receiver
    }
}
