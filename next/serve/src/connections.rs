//! [`Connections`]: the open connections, of which some are kept for holders of the token.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::{self, AbortHandle};

/// Open connections.
const MAX: usize = 256;
/// Connections without a valid token or cookie.
const MAX_STRANGERS: usize = 192;

/// Oldest first.
#[derive(Default)]
pub(crate) struct Connections(Mutex<VecDeque<Connection>>);

struct Connection {
    /// A request on it had a valid token or cookie.
    is_known: bool,
    task: AbortHandle,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there is room for another connection. If there are too many, the oldest one without a token ends: a
    /// caller with a token sends it at once, while connections that only take room get older.
    pub fn make_room(&self) -> bool {
        let mut open = self.open();
        open.retain(|one| !one.task.is_finished());
        let strangers = open.iter().filter(|one| !one.is_known).count();
        if strangers < MAX_STRANGERS && open.len() < MAX {
            return true;
        }
        let oldest = open.iter().position(|one| !one.is_known);
        let ended = oldest.and_then(|place| open.remove(place));
        ended.map(|oldest| oldest.task.abort()).is_some()
    }

    /// Adds the task of a connection.
    pub fn add(&self, task: AbortHandle) {
        self.open().push_back(Connection { is_known: false, task });
    }

    /// Keeps the connection of the current task, because a request on it had a valid token or cookie.
    pub fn keep(&self) {
        let own = task::id();
        if let Some(own) = self.open().iter_mut().find(|one| one.task.id() == own) {
            own.is_known = true;
        }
    }
}
