//! [`Connections`]: the open connections. Some are reserved for holders of the token.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::{self, AbortHandle};

/// Maximum number of open connections.
const MAX: usize = 256;
/// Maximum number of them without a valid token or cookie.
const MAX_UNAUTHENTICATED: usize = 192;

/// Oldest first.
#[derive(Default)]
pub(crate) struct Connections(Mutex<VecDeque<Connection>>);

struct Connection {
    /// Whether a request on it had a valid token or cookie.
    is_authenticated: bool,
    task: AbortHandle,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there is room for another connection. If there are too many, ends the oldest one without a token: a
    /// caller with a token sends it at once, while connections that only take room get older.
    pub fn make_room(&self) -> bool {
        let mut open = self.lock();
        open.retain(|one| !one.task.is_finished());
        let others = open.iter().filter(|one| !one.is_authenticated).count();
        if others < MAX_UNAUTHENTICATED && open.len() < MAX {
            return true;
        }
        let oldest = open.iter().position(|one| !one.is_authenticated);
        let ended = oldest.and_then(|place| open.remove(place));
        ended.map(|oldest| oldest.task.abort()).is_some()
    }

    /// Adds the task of a connection.
    pub fn add(&self, task: AbortHandle) {
        self.lock().push_back(Connection { is_authenticated: false, task });
    }

    /// Keeps the connection of the current task, because a request on it had a valid token or cookie.
    pub fn keep(&self) {
        let own = task::id();
        if let Some(own) = self.lock().iter_mut().find(|one| one.task.id() == own) {
            own.is_authenticated = true;
        }
    }
}
