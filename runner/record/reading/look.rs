//! [`Look`]: one look at a run, whose manifest and rows are each read once.

use std::path::Path;

use jiff::Timestamp;

use super::{death, history::History, reader::RunReader, run_entry::RunEntry};
use crate::{model::RunStatus, record::error::RecordError};

/// One look at a run: its manifest, and whether a process works on it, at the same moment.
pub struct Look {
    reader: RunReader,
    /// Whether the manifest says `running` and nobody holds the run's lock.
    is_orphan: bool,
}

/// What was in flight when the process of a session died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlightAtDeath {
    /// The session.
    pub session: u32,
    /// What was being executed: places in the plan, and which attempts.
    pub executed: Vec<(u64, u32)>,
    /// What was being graded: places in the plan, and those of the graders in the scenario.
    pub graded: Vec<(u64, u32)>,
}

impl Look {
    /// Looks at the run in `dir`.
    ///
    /// # Errors
    ///
    /// Fails if its manifest cannot be read.
    pub fn at(dir: &Path) -> Result<Self, RecordError> {
        let is_orphan = |reader: &RunReader| {
            reader.manifest().status == RunStatus::Running && !reader.is_alive()
        };
        let mut reader = RunReader::open(dir)?;
        if is_orphan(&reader) {
            // Its owner may have finished since the manifest was read: it writes the manifest before it lets the lock go.
            reader = RunReader::open(dir)?;
        }
        Ok(Self {
            is_orphan: is_orphan(&reader),
            reader,
        })
    }

    /// The run's reader, with the manifest that was read.
    pub fn reader(&self) -> &RunReader {
        &self.reader
    }

    /// What the rows come to, if [`Look::entry`] needs it: the manifest of a run at rest has it all.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read.
    pub fn history(&self) -> Result<History, RecordError> {
        match self.reader.manifest().status {
            RunStatus::Running => self.reader.history(),
            _ => Ok(History::planned(0)),
        }
    }

    /// The run as lists show it, by what its rows come to, and what was in flight where its processes died. One whose
    /// process has died is shown as a sweep will write it down, and one that has lost rows with what is left.
    ///
    /// # Errors
    ///
    /// Fails if the end of such a run does not follow from its status.
    pub fn entry(
        &self,
        history: &History,
    ) -> Result<(RunEntry, Vec<InFlightAtDeath>), RecordError> {
        let dir = self.reader.dir();
        let mut manifest = self.reader.manifest().clone();
        if self.is_orphan {
            // Nothing here says when a sweep comes.
            death::close_by(dir, &mut manifest, history, Timestamp::MAX)?;
        }
        let mut entry = RunEntry::of(dir, &manifest);
        entry.is_not_yet_swept = self.is_orphan;
        if entry.status == RunStatus::Running {
            // Its manifest cannot know them yet.
            entry.counts = history.state.counts();
            entry.read_open_session();
        } else if history.missing.is_some() {
            entry.counts = history.state.counts();
        }
        let sessions = manifest.sessions.into_iter();
        let deaths = sessions.map(|session| InFlightAtDeath {
            session: session.n,
            executed: session.in_flight,
            graded: session.grading,
        });
        let deaths = deaths.filter(|death| !(death.executed.is_empty() && death.graded.is_empty()));
        Ok((entry, deaths.collect()))
    }
}
