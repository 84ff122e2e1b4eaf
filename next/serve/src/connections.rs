//! [`Connections`]: the open connections, of which some are kept for holders of the token.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

/// Open connections.
const MAX: usize = 256;
/// Connections without a valid token or cookie.
const MAX_STRANGERS: usize = 192;

/// Oldest first.
#[derive(Default)]
pub(crate) struct Connections(Mutex<VecDeque<Open>>);

/// An open connection.
pub(crate) struct Connection {
    connections: Arc<Connections>,
    number: u64,
}

struct Open {
    number: u64,
    /// A request on it had a valid token or cookie.
    is_known: bool,
    task: AbortHandle,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, VecDeque<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the task of a connection. Returns whether there is room for it. If there are too many, the oldest one without a
    /// token ends: a caller with a token sends it at once, while connections that only take room get older.
    pub fn start<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        number: u64,
        task: impl FnOnce(Arc<Connection>) -> F,
    ) -> bool {
        let connection = Arc::new(Connection { connections: Arc::clone(self), number });
        let mut open = self.open();
        let strangers = open.iter().filter(|one| !one.is_known).count();
        if strangers >= MAX_STRANGERS || open.len() >= MAX {
            let oldest = open.iter().position(|one| !one.is_known);
            let Some(oldest) = oldest.and_then(|place| open.remove(place)) else { return false };
            oldest.task.abort();
        }
        // A task that ends waits for the lock, and then finds its entry.
        let task = tokio::spawn(task(connection)).abort_handle();
        open.push_back(Open { number, is_known: false, task });
        true
    }
}

impl Connection {
    /// Keeps the connection, because a request on it had a valid token or cookie.
    pub fn keep(&self) {
        let mut open = self.connections.open();
        if let Some(own) = open.iter_mut().find(|one| one.number == self.number) {
            own.is_known = true;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.open().retain(|one| one.number != self.number);
    }
}
