//! [`Server`]: what every request is answered with.

use std::{path::PathBuf, sync::Arc};

use super::{
    access::RequestAccess, followed::FollowedRuns, problem::HttpProblem, root_watch::RootWatch,
    scenarios::KnownScenarios,
};
use crate::{
    error::Error,
    record::RunEntry,
    session::{Host, Store},
};

/// What every request is answered with.
pub(super) struct Server {
    pub(super) root: PathBuf,
    pub(super) scenarios: Vec<PathBuf>,
    pub(super) known: KnownScenarios,
    pub(super) access: RequestAccess,
    pub(super) host: Host,
    pub(super) runs: FollowedRuns,
    pub(super) root_watch: Arc<RootWatch>,
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

/// Opens the results root, which may not be there yet.
pub(super) fn store(server: &Server) -> Result<Store, HttpProblem> {
    Ok(Store::existing(&server.root).map_err(Error::record)?)
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
