//! What there is without the feature `fleet`: an error that says so.

use std::convert::Infallible;

use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    BlobCleaning, EngineAddress, EngineState, FleetError, PresentWorker, SpreadRun, WorkerPlace,
};
use crate::{
    record::ContentPaths,
    run::{Bundle, RemoteWorker},
};

/// A connection that there never is.
pub struct AbsentConnection(Infallible);

/// A run that workers come to; there is none.
pub struct AbsentGuard(Infallible);

impl Drop for AbsentGuard {
    fn drop(&mut self) {
        match self.0 {}
    }
}

impl AbsentConnection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Fails always.
    pub fn connect(_: &EngineAddress) -> Result<Self, FleetError> {
        Err(FleetError::Absent)
    }

    /// Where the engine is.
    pub fn place(&self) -> &str {
        match self.0 {}
    }

    /// Makes sure that no other process makes this run.
    ///
    /// # Errors
    ///
    /// It is never called.
    pub fn claim(&mut self, _: &str, _: &str) -> Result<(), FleetError> {
        match self.0 {}
    }

    /// Lets workers come.
    ///
    /// # Errors
    ///
    /// It is never called.
    pub fn open(
        self,
        _: SpreadRun,
        _: Bundle,
        _: ContentPaths,
    ) -> Result<(AbsentGuard, UnboundedReceiver<RemoteWorker>), FleetError> {
        match self.0 {}
    }
}

/// Makes attempts for the runs that would have workers.
///
/// # Errors
///
/// Fails always.
pub fn serve(_: &EngineAddress, _: &WorkerPlace<'_>) -> Result<(), FleetError> {
    Err(FleetError::Absent)
}

/// Hears the workers of an engine.
///
/// # Errors
///
/// Fails always.
pub fn present_workers(_: &EngineAddress) -> Result<(Vec<PresentWorker>, Vec<String>), FleetError> {
    Err(FleetError::Absent)
}

/// Asks an engine what it is and can do.
///
/// # Errors
///
/// Fails always.
pub fn engine_state(_: &EngineAddress) -> Result<EngineState, FleetError> {
    Err(FleetError::Absent)
}

/// Removes what nobody needs.
///
/// # Errors
///
/// Fails always.
pub fn clean_blobs(_: &EngineAddress, _: BlobCleaning) -> Result<(usize, u64), FleetError> {
    Err(FleetError::Absent)
}
