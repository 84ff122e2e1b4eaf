//! [`List`]: the runs of a results root.

use std::path::PathBuf;

use globset::GlobMatcher;
use jiff::Timestamp;

use crate::{
    model::{RunStatus, Verdict},
    record::{RecordError, RunEntry, RunFilter, Store},
    view::RunList,
};

/// Which runs are listed. The default is all of them.
#[derive(Clone, Debug)]
pub struct List {
    /// Only runs with one of these; without any, whatever their status is.
    pub statuses: Vec<RunStatus>,
    /// Only runs with this verdict.
    pub verdict: Option<Verdict>,
    /// Only runs of the group of which this is a part of the id.
    pub group: Option<String>,
    /// Only runs of scenarios whose name matches.
    pub scenario: Option<GlobMatcher>,
    /// Only runs that began then or later.
    pub since: Timestamp,
    /// Only so many of the newest of these.
    pub limit: usize,
}

/// The runs that were asked for.
#[derive(Debug)]
pub struct Listed {
    /// The runs, the newest first.
    pub list: RunList,
    /// How many runs there are in all.
    pub all: usize,
    /// Directories that hold a run which cannot be read, and why.
    pub unreadable: Vec<(PathBuf, RecordError)>,
}

impl Default for List {
    fn default() -> Self {
        Self {
            statuses: Vec::new(),
            verdict: None,
            group: None,
            scenario: None,
            since: Timestamp::MIN,
            limit: usize::MAX,
        }
    }
}

impl List {
    /// Tells whether a run is one of those that are asked for.
    pub(crate) fn is_wanted(&self, run: &RunEntry) -> bool {
        let scenario = self.scenario.as_ref();
        (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && self.verdict.is_none_or(|verdict| verdict == run.verdict)
            && (self.group.as_deref())
                .is_none_or(|part| run.id.group().is_some_and(|group| group.contains(part)))
            && scenario.is_none_or(|glob| glob.is_match(&run.scenario))
            && run.started_at >= self.since
    }
}

/// Lists runs as they stand `now`.
///
/// # Errors
///
/// Fails if the results root cannot be read.
pub fn list(store: &Store, asked: &List, now: Timestamp) -> Result<Listed, RecordError> {
    let mut found = store.runs(&RunFilter::default())?;
    let all = found.runs.len();
    found.runs.retain(|run| asked.is_wanted(run));
    found.runs.truncate(asked.limit);
    Ok(Listed {
        list: RunList::new(found.runs, now),
        all,
        unreadable: found.unreadable,
    })
}
