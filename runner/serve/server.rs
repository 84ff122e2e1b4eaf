//! [`Server`]: what every request is answered with.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::Semaphore;

use super::{
    access::RequestAccess, followed::FollowedRuns, problem::HttpProblem, root_watch::RootWatch,
    scenarios::KnownScenarios,
};
use crate::{
    error::Error,
    record::{RunEntry, RunMemory},
    session::{Host, Store},
};

/// What every request is answered with.
pub(super) struct Server {
    pub(super) root: PathBuf,
    pub(super) scenarios: Vec<PathBuf>,
    pub(super) known: KnownScenarios,
    pub(super) access: RequestAccess,
    pub(super) host: Host,
    pub(super) runs: Arc<FollowedRuns>,
    /// What is known of all runs of the results root.
    pub(super) memory: Arc<RunMemory>,
    pub(super) root_watch: Arc<RootWatch>,
}

/// How many requests read at once: more of them would only take turns, and take them from the runs that they look at.
static READERS: Semaphore = Semaphore::const_new(4);

/// Does what only reads files, and soon, when it is its turn.
pub(super) async fn reading<T: Send + 'static>(
    server: Arc<Server>,
    work: impl FnOnce(&Server) -> Result<T, HttpProblem> + Send + 'static,
) -> Result<T, HttpProblem> {
    let turn = READERS.acquire().await;
    let done = blocking(server, work).await;
    drop(turn);
    done
}

/// Does what reads or writes files where it keeps no other request waiting.
pub(super) async fn blocking<T: Send + 'static>(
    server: Arc<Server>,
    work: impl FnOnce(&Server) -> Result<T, HttpProblem> + Send + 'static,
) -> Result<T, HttpProblem> {
    match tokio::task::spawn_blocking(move || work(&server)).await {
        Ok(done) => done,
        Err(_) => Err(HttpProblem::internal("this is a bug, please report it")),
    }
}

impl Server {
    /// Opens the results root, which may not be there yet.
    pub(super) fn store(&self) -> Result<Store, Error> {
        let store = Store::existing(&self.root).map_err(Error::record)?;
        Ok(store.remembering(&self.memory))
    }
}

/// The same for a request.
pub(super) fn store(server: &Server) -> Result<Store, HttpProblem> {
    Ok(server.store()?)
}

/// Finds a run of the results root by its name, which is never a path.
pub(super) fn find(server: &Server, run: &str) -> Result<RunEntry, HttpProblem> {
    let store = store(server)?;
    if run.contains('/') || run.starts_with('.') {
        return Err(HttpProblem::not_found(format!(
            "`{run}` is not the id of a run"
        )));
    }
    let found = store.find(run).map_err(HttpProblem::find)?;
    // A folder beside the server may have the name that was asked for.
    let is_here = found
        .dir
        .parent()
        .is_some_and(|root| root.canonicalize().ok() == store.root().canonicalize().ok());
    match is_here {
        true => Ok(found),
        false => Err(HttpProblem::not_found(format!(
            "no run `{run}` in `{}`",
            server.root.display()
        ))),
    }
}
