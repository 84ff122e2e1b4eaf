//! Waiting until a run of another process has ended.

use super::{Observe, Waiting};
use crate::{
    error::Error,
    model::RunStatus,
    record::{Conclusion, RunEntry, RunReader},
};

/// Waits until a run has ended, whoever works on it.
pub struct Wait {
    run: RunEntry,
}

impl Wait {
    /// Begins to wait for the end of `run`.
    pub fn new(run: RunEntry) -> Self {
        Self { run }
    }

    /// The run, as it was when it was looked at last.
    pub fn run(&self) -> &RunEntry {
        &self.run
    }
}

impl Waiting for Wait {
    type Answer = Conclusion;

    fn poll(&mut self, _: &mut dyn Observe) -> Result<Option<Conclusion>, Error> {
        while self.run.status == RunStatus::Running {
            let reader = RunReader::open(&self.run.dir).map_err(Error::record)?;
            if reader.is_alive() {
                return Ok(None);
            }
            self.run.refresh().map_err(Error::record)?;
        }
        Ok(Some(Conclusion::from(&self.run)))
    }
}
