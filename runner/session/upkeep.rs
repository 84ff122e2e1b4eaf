//! [`verify`], [`prune`], [`cleanup`], [`pin`], [`unpin`] and [`reindex`]: keeping results in order.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    error::{Error, ExitStatus},
    record::{
        ClaimError, Pinning, PrunePolicy, Pruning, RecordError, Reindexed, RunEntry, Spared, Store,
        Swept, Verification,
    },
    run::TrialNames,
    view::{CleanupReport, PruneReport, UpkeepMode, VerifyReport},
};

/// What was pruned, or would be.
#[derive(Debug)]
pub struct Pruned {
    /// What goes and what stays.
    pub report: PruneReport,
    /// The same with the errors themselves.
    pub pruning: Pruning,
    /// What the process exits with that asked for it.
    pub exit: ExitStatus,
}

/// What was swept, or would be.
#[derive(Debug)]
pub struct Cleaned {
    /// The runs that were swept.
    pub report: CleanupReport,
    /// What could not be swept, and why.
    pub failures: Vec<(PathBuf, RecordError)>,
    /// What the process exits with that asked for it.
    pub exit: ExitStatus,
}

/// Checks that nothing of the run in `dir` is damaged.
///
/// # Errors
///
/// Fails if it cannot be looked at.
pub fn verify(dir: &Path) -> Result<VerifyReport, RecordError> {
    let verification = Verification::of(dir, |reader| {
        let mut names = TrialNames::of(reader);
        move |ordinal| Some(names.as_mut()?.name(ordinal)?.to_string())
    })?;
    Ok(VerifyReport::new(dir, verification))
}

/// Keeps a run from being pruned, and notes why.
///
/// # Errors
///
/// Fails if somebody else is changing the run, or if it cannot be written.
pub fn pin(run: &RunEntry, reason: Option<String>, now: Timestamp) -> Result<Pinning, Error> {
    run.pin(reason, now).map_err(Error::claim)
}

/// Lets a pinned run be pruned again.
///
/// # Errors
///
/// Fails as [`pin`] does.
pub fn unpin(run: &RunEntry, now: Timestamp) -> Result<Pinning, Error> {
    run.unpin(now).map_err(Error::claim)
}

/// Makes the index of a results root, `runner.db`, anew from its run directories.
///
/// # Errors
///
/// Fails if the results root cannot be read or the index cannot be written.
pub fn reindex(store: &Store) -> Result<Reindexed, RecordError> {
    store.reindex()
}

/// Deletes what a policy names, or says what would be deleted.
///
/// # Errors
///
/// Fails if the results root cannot be read; that something cannot be deleted is told in the report.
pub fn prune(
    store: &Store,
    policy: &PrunePolicy,
    mode: UpkeepMode,
    now: Timestamp,
) -> Result<Pruned, RecordError> {
    let pruning = match mode {
        UpkeepMode::Dry => store.prunable(policy, now),
        UpkeepMode::Real => store.prune(policy, now),
    }?;
    Ok(Pruned {
        report: PruneReport::new(&pruning, mode, now),
        exit: exit_of(&pruning, policy),
        pruning,
    })
}

fn exit_of(pruning: &Pruning, policy: &PrunePolicy) -> ExitStatus {
    let mut failures = pruning.failures.iter();
    if failures.any(|(_, error)| matches!(error, RecordError::Held { .. })) {
        return ExitStatus::Busy;
    }
    if !pruning.failures.is_empty() {
        return ExitStatus::Storage;
    }
    // Who names a run asks for that one; who states a policy takes what it comes to.
    let refused =
        |(run, spared): &(RunEntry, Spared)| policy.runs.contains(&run.id).then_some(*spared);
    match pruning.spared.iter().find_map(refused) {
        None => ExitStatus::Success,
        Some(Spared::Running | Spared::InUse) => ExitStatus::Busy,
        Some(Spared::NotYetSwept | Spared::Pinned | Spared::Newer | Spared::Link) => {
            ExitStatus::Usage
        }
    }
}

/// Sweeps runs whose process has died and that began at least `age` ago, or says what a sweep would do.
///
/// # Errors
///
/// Fails if the results root cannot be read; that a run cannot be swept is told in the report.
pub fn cleanup(
    store: &Store,
    age: Duration,
    mode: UpkeepMode,
    now: Timestamp,
) -> Result<Cleaned, RecordError> {
    let mut runs = store.sweepable(now)?;
    runs.retain(|swept| age_of(&swept.run, now) >= age);
    let (runs, failures) = match mode {
        UpkeepMode::Dry => (runs, Vec::new()),
        UpkeepMode::Real => {
            store.sweep_groups(now);
            sweep(store, runs, now)
        }
    };
    let is_taken = |(_, error): &(PathBuf, RecordError)| matches!(error, RecordError::Taken(_));
    Ok(Cleaned {
        report: CleanupReport::new(&runs, &failures, mode, now),
        exit: match failures[..] {
            [] => ExitStatus::Success,
            _ if failures.iter().any(is_taken) => ExitStatus::Busy,
            _ => ExitStatus::Storage,
        },
        failures,
    })
}

/// Sweeps these runs; one that fails does not keep the others.
fn sweep(
    store: &Store,
    runs: Vec<Swept>,
    now: Timestamp,
) -> (Vec<Swept>, Vec<(PathBuf, RecordError)>) {
    let (mut swept, mut failures) = (Vec::new(), Vec::new());
    for run in runs {
        match store.claim(&run.run, now) {
            Ok(_) => swept.push(run),
            // Somebody else sweeps or resumes it.
            Err(ClaimError::Held { .. }) => {}
            Err(ClaimError::Taken(taken)) => failures.push((run.run.dir, taken.into())),
            Err(ClaimError::Record(error)) => failures.push((run.run.dir, error)),
        }
    }
    (swept, failures)
}

fn age_of(run: &RunEntry, now: Timestamp) -> Duration {
    let age = now.duration_since(run.started_at);
    age.try_into().unwrap_or_default()
}
