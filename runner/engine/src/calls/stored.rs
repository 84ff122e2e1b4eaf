//! [`SingleCall::of_trial`]: repeats a trial of a stored run, or calls a grader for its output, outside of the run.

use std::path::{Path, PathBuf};
use std::{io, io::Read as _};

use runner_model::protocol::{Recorded, Task};
use runner_model::{
    Digest, Grants, Micros, Places as _, RowRef, RunTime, TaskId, TrialId, digest,
    provider::Provider, test::Test, units::plural,
};
use runner_prepare::{ContentSource, Origin};
use runner_record::{JournalKey, RecordError, ResultsRoot, RunDir};
use runner_results::RunTable;

use super::single::SingleCall;
use crate::EngineError;
use crate::plan::{
    Plan, Replayed, RowPlace, StoredRow, TestLine, plugin_changes, stored_plan, unreadable,
};
use crate::trust::{owner_notices, usable};
use crate::workers::prestart;

impl SingleCall {
    /// Prepares the call of a stored trial's provider, or of `grader` for its newest output, with everything that is stored with the
    /// run. Folders of grants are at their stored paths, and secrets are read again. With `is_replay`, the newest attempt of the
    /// trial, or of the grader, is repeated with the responses in its journal, and needs only the secrets in its environment.
    ///
    /// # Errors
    ///
    /// The run is another user's or cannot be read, it lacks the trial, its output, its journal, the grader or its answer, or grants
    /// have problems.
    pub fn of_trial(
        run: &RunDir,
        trial: &TrialId,
        grader: Option<&str>,
        is_replay: bool,
        secret_files: &[PathBuf],
    ) -> Result<Self, EngineError> {
        let prestarted = prestart()?;
        let root = run.results_root();
        let run = usable(run)?;
        let manifest = run.manifest()?;
        let mut plan = stored_plan(&root, &run, &manifest)?;
        let unreadable = |source| EngineError::from(unreadable(&root, source));
        let index = plan.suite.index(trial).ok_or_else(|| {
            EngineError::Usage(format!("run {} has no trial `{trial}`", run.id()))
        })?;
        let mut all = plan.providers.iter();
        let judged = all.find(|prepared| prepared.provider.name == trial.provider).cloned();
        let place = keep_called(&mut plan, trial, grader);
        let row = match grader {
            Some(name) if place.is_none() => {
                return Err(EngineError::Usage(format!("run {} has no grader `{name}`", run.id())));
            }
            Some(_) => newest_row(&run, trial)?,
            None => Vec::new(),
        };
        let judged_row: Option<RowRef<'_>> = match grader {
            Some(_) => {
                Some(serde_json::from_slice(&row).map_err(io::Error::other).map_err(unreadable)?)
            }
            None => None,
        };
        if is_replay {
            plan.replayed = Some(Replayed::read(usable(&run)?, &plan.suite)?);
        }
        let mut problems = plan.find_folders(secret_files, Some(root.path()));
        problems.extend(plan.read_secrets(secret_files)?);
        EngineError::check(problems)?;
        let mut notices = owner_notices(&run, &manifest);
        let graded = grader.zip(judged_row.as_ref());
        let replayed = plan.replayed.as_ref();
        let calls = replayed.map(|run| ReplayedCalls::newest(run, index, trial, graded));
        let calls = calls.transpose()?;
        let place = place.unwrap_or_default();
        let mut body = test_line(&plan, index, place).map_err(unreadable)?;
        let task = task(&plan, place, trial, &body, judged_row.as_ref(), calls.as_ref());
        let task = Task { row_bytes: row.len() as u32, ..task.map_err(unreadable)? };
        let mut blobs = Vec::new();
        if let Some(calls) = calls {
            let attempt = task.attempt;
            let count = plural(calls.count.into(), "call is", "calls are");
            notices.push(format!(
                "replaying attempt {attempt}: {count} in the journal, and nothing is sent"
            ));
            blobs.push((calls.recorded.sha256, Origin::Bytes(calls.lines.into())));
        }
        let grading = plan.providers[usize::from(place)].provider.grading.as_ref();
        let has_workspace = grading.is_some_and(|grading| grading.workspace.is_some());
        if let Some(row) = judged_row.as_ref().filter(|_| has_workspace) {
            blobs.extend(changes_of(&root, &run, row)?);
        }
        body.extend_from_slice(&row);
        let folder = Path::new(&manifest.scenario_path).parent().unwrap_or(Path::new(""));
        let providers = plan.providers.iter().map(|prepared| &prepared.provider);
        let changed = plugin_changes(&manifest, folder, providers).clauses.into_iter();
        let changed = changed.chain(plan.changed_folders());
        notices.extend(changed.map(|clause| format!("{clause} since the run started")));
        notices.append(&mut plan.notices);
        let mut supplies = plan.supplies(run.id(), 1, Some(&root));
        supplies.blobs.extend(&ContentSource::new(blobs));
        // The worker needs the path of the workspace, and does not call the provider.
        supplies.providers.extend(judged.filter(|_| has_workspace).map(|mut prepared| {
            prepared.mounts.clear();
            prepared.provider.grants = Grants::default();
            prepared
        }));
        Ok(Self { prestarted, supplies, task, body, notices })
    }
}

/// Returns the line of a trial's test with `place` as the place of its provider. The stored line has those of all planned providers.
fn test_line(plan: &Plan, trial: u64, place: u16) -> io::Result<Vec<u8>> {
    let planned = plan.suite.trial(trial);
    let mut line = Vec::new();
    plan.suite.line(planned.test, &mut line)?;
    let mut test: Test<'_> = serde_json::from_slice(&line)?;
    test.providers = vec![place];
    let base = test.bases.remove(&planned.provider);
    test.bases = base.map(|base| (place, base)).into_iter().collect();
    Ok(serde_json::to_vec(&test)?)
}

/// Creates the task of a trial with the line of its test, or of the grader at `place` for a row.
fn task(
    plan: &Plan,
    place: u16,
    trial: &TrialId,
    line: &[u8],
    row: Option<&RowRef<'_>>,
    calls: Option<&ReplayedCalls>,
) -> io::Result<Task> {
    let limits = &plan.providers[usize::from(place)].provider.limits;
    let test = TestLine::read(line)?;
    let (timeout, timeout_rule) = test.deadline(RunTime::default(), limits, None, Micros(0));
    let (tries, attempt) = calls.map_or((1, 1), |calls| (calls.tries, calls.attempt));
    let mut task = Task {
        provider: place,
        attempt,
        tries,
        seed: plan.scenario.run.seed,
        timeout_rule,
        recorded: calls.map(|calls| calls.recorded),
        ..Task::new(TaskId(1), trial.clone(), timeout, line.len())
    };
    if let Some(row) = row {
        let judgement = row.judgement_fingerprint;
        let judgement = judgement.ok_or_else(|| io::Error::other("a row has no fingerprint"))?;
        plan.ask_grader(&mut task, place, attempt, judgement)?;
    }
    Ok(task)
}

/// The calls of the newest attempt of a trial, or of a grader for its row.
struct ReplayedCalls {
    /// Number of the attempt for its guest.
    tries: u32,
    attempt: u32,
    recorded: Recorded,
    /// The attempt's lines in `calls.jsonl`.
    lines: Vec<u8>,
    /// Number of calls.
    count: u32,
}

impl ReplayedCalls {
    fn newest(
        run: &Replayed,
        place: u64,
        trial: &TrialId,
        graded: Option<(&str, &RowRef<'_>)>,
    ) -> Result<Self, EngineError> {
        let (tries, attempt, key, start) = match graded {
            Some((name, row)) => {
                let grade = row.grades.iter().find(|grade| *grade.grader == *name);
                let grade = grade.ok_or_else(|| {
                    EngineError::Usage(format!("trial `{trial}` has no answer of grader `{name}`"))
                })?;
                let key = JournalKey::of_grade(place, row, grade);
                (grade.attempt, grade.attempt, key, row.started_at)
            }
            None => {
                let (tries, attempt, start) = run.newest(place)?;
                (tries, attempt, JournalKey::new(place, attempt), start)
            }
        };
        let (lines, count) = run.lines(&key)?;
        let (sha256, replayed) = (digest(&lines), Some(start));
        let recorded = Recorded { sha256, continued: 0, used: Micros(0), replayed };
        Ok(Self { tries, attempt, recorded, lines, count })
    }
}

/// Keeps the called provider and its tools in a plan, because the folders or secrets of other providers may be missing. Returns the
/// place of the called one. `None` if the plan lacks it.
fn keep_called(plan: &mut Plan, trial: &TrialId, grader: Option<&str>) -> Option<u16> {
    let is_called = |provider: &Provider| match grader {
        Some(name) => provider.grading.is_some() && *provider.name == *name,
        None => provider.name == trial.provider,
    };
    let called = plan.providers.iter().map(|one| &one.provider).find(|one| is_called(one));
    let tools = called.map_or_else(Vec::new, |called| called.grants.tools.clone());
    let is_used = |provider: &Provider| {
        let is_tool =
            || provider.tool.is_some() && tools.iter().any(|name| *name == *provider.name);
        is_called(provider) || is_tool()
    };
    plan.scenario.keep_providers(is_used);
    plan.providers.retain(|prepared| is_used(&prepared.provider));
    // The tools of a grader are before it.
    let place = plan.providers.iter().position(|prepared| is_called(&prepared.provider));
    place.map(|place| place as u16)
}

/// Reads the changes in the workspace of a row.
fn changes_of(
    root: &ResultsRoot,
    run: &RunDir,
    row: &RowRef<'_>,
) -> Result<Vec<(Digest, Origin)>, RecordError> {
    let files = row.changes().into_iter().flatten().map(|artifact| {
        let mut bytes = Vec::new();
        let read = run.artifact(&artifact.sha256)?.read_to_end(&mut bytes);
        read.map_err(|source| unreadable(root, source))?;
        Ok((artifact.sha256, Origin::Bytes(bytes.into())))
    });
    files.collect()
}

/// Returns the row that has a trial's result, with the whole output.
fn newest_row(run: &RunDir, trial: &TrialId) -> Result<Vec<u8>, EngineError> {
    let table = RunTable::open(run)?;
    let newest = table.find(trial).and_then(|trial| table.newest(trial));
    let row = newest.and_then(|row| StoredRow::read(run, RowPlace::of(&table, row.number)));
    let row = row.map(|row| row.bytes);
    row.filter(|row| serde_json::from_slice(row).is_ok_and(|row: RowRef<'_>| row.output.is_some()))
        .ok_or_else(|| {
            EngineError::Usage(format!("trial `{trial}` has no output that can be read"))
        })
}
