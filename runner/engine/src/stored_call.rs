//! [`StoredCall`]: repeats a trial of a stored run, or calls a grader for its output, outside of the run.

use std::path::{Path, PathBuf};
use std::{io, io::Read as _};

use runner_model::protocol::{Line, Task, TaskKind};
use runner_model::{
    Digest, Grants, Limits, Micros, Places as _, RowRef, RunTime, TaskId, TrialId,
    provider::Provider, units::plural,
};
use runner_prepare::{ContentSource, Origin};
use runner_record::{JournalKey, RunDir};
use runner_results::RunTable;

use crate::EngineError;
use crate::plan::{
    Plan, Replayed, RowPlace, StoredRow, TestLine, grader_deadline, plugin_changes, stored_plan,
    unreadable,
};
use crate::probe::{CallEnd, CallEvent, ProbeError, ReplayedCalls, call_supplied};
use crate::trust::{owner_notices, usable};
use crate::workers::{PrestartedWorker, Supplies, prestart};

/// A trial of a stored run with everything that a call needs: the stored plugin, input, configuration, attachments, grants and
/// limits.
pub struct StoredCall {
    prestarted: PrestartedWorker,
    supplies: Supplies,
    task: Task,
    line: Vec<u8>,
    replayed: Option<ReplayedCalls>,
    notices: Vec<String>,
}

impl StoredCall {
    /// Finds a trial, to call `grader` for its newest output, or else to repeat the trial. Folders of grants are at their stored
    /// paths, and secrets are read again. With `is_replay`, the newest attempt of the trial, or of the grader, is repeated with the
    /// responses in its journal, and needs only the secrets in its environment.
    ///
    /// # Errors
    ///
    /// The run is another user's or cannot be read, it lacks the trial, its output, its journal, the grader or its answer, or grants
    /// have problems.
    pub fn find(
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
        let found = plan.suite.index(trial).ok_or_else(|| {
            EngineError::Usage(format!("run {} has no trial `{trial}`", run.id()))
        })?;
        let planned = plan.suite.trial(found);
        let mut line = Vec::new();
        plan.suite.line(planned.test, &mut line).map_err(unreadable)?;
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
        let place = place.unwrap_or_default();
        let provider = &plan.providers[place].provider;
        let test = TestLine::read(&line).map_err(unreadable)?;
        let (timeout, timeout_rule) = match &provider.grading {
            Some(grading) => grader_deadline(grading, &provider.limits),
            None => test.deadline(RunTime::default(), &provider.limits, None, Micros(0)),
        };
        let mut notices = owner_notices(&run, &manifest);
        let graded = grader.zip(judged_row.as_ref());
        let (tries, attempt, replayed) = match &plan.replayed {
            None => (1, 1, None),
            Some(replayed) => {
                let (tries, attempt, calls) = replayed_calls(replayed, found, trial, graded)?;
                (tries, attempt, Some(calls))
            }
        };
        let replayed = replayed.map(|(calls, count)| {
            let count = plural(count.into(), "call is", "calls are");
            notices.push(format!(
                "replaying attempt {attempt}: {count} in the journal, and nothing is sent"
            ));
            calls
        });
        let judgement = judged_row.as_ref().and_then(|row| row.judgement_fingerprint);
        let random =
            judgement.and_then(|judgement| plan.grader_random(provider, trial, attempt, judgement));
        let task = Task {
            id: TaskId(1),
            trial: trial.clone(),
            provider: place as u16,
            attempt,
            tries,
            seed: plan.scenario.run.seed,
            random,
            timeout,
            timeout_rule,
            kind: if grader.is_some() { TaskKind::Grade } else { TaskKind::Run },
            line: Line::Bytes(line.len() as u32),
            row_bytes: row.len() as u32,
            recorded: None,
        };
        let has_workspace = provider.grading.as_ref().is_some_and(|one| one.workspace.is_some());
        let judged = judged.filter(|_| has_workspace);
        let artifacts = match &judged_row {
            Some(row) if has_workspace => changes_of(&run, row, &unreadable)?,
            _ => Vec::new(),
        };
        line.extend_from_slice(&row);
        let folder = Path::new(&manifest.scenario_path).parent().unwrap_or(Path::new(""));
        let providers = plan.providers.iter().map(|prepared| &prepared.provider);
        let changed = plugin_changes(&manifest, folder, providers).clauses.into_iter();
        let changed = changed.chain(plan.changed_folders());
        notices.extend(changed.map(|clause| format!("{clause} since the run started")));
        notices.append(&mut plan.notices);
        let mut supplies = plan.supplies(run.id(), 1, Some(&root));
        supplies.blobs.extend(&ContentSource::new(artifacts));
        // The worker needs the path of the workspace, and does not call the provider.
        supplies.providers.extend(judged.map(|mut prepared| {
            prepared.mounts.clear();
            prepared.provider.grants = Grants::default();
            prepared
        }));
        Ok(Self { prestarted, supplies, task, line, replayed, notices })
    }

    /// Returns the provider's limits.
    pub fn limits(&self) -> &Limits {
        &self.supplies.providers[usize::from(self.task.provider)].provider.limits
    }

    /// Makes the call as [`call`](crate::probe::call) does.
    ///
    /// # Errors
    ///
    /// The plugin cannot be compiled, or the worker sends an invalid report.
    pub fn make(self, on_event: &mut dyn FnMut(CallEvent<'_>)) -> Result<CallEnd, EngineError> {
        for notice in &self.notices {
            on_event(CallEvent::Notice(notice));
        }
        let task = Some((self.task, self.line));
        call_supplied(self.prestarted, self.supplies, task, self.replayed, on_event)
            .or_else(ProbeError::end)
    }
}

/// Removes all providers from a plan but the one that is called and its tools: others may have grants whose folders or secrets are
/// missing. Returns its place. `None` without such a grader.
fn keep_called(plan: &mut Plan, trial: &TrialId, grader: Option<&str>) -> Option<usize> {
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
    plan.providers.iter().position(|prepared| is_called(&prepared.provider))
}

/// Reads the changes in the workspace of a row.
fn changes_of(
    run: &RunDir,
    row: &RowRef<'_>,
    unreadable: &dyn Fn(io::Error) -> EngineError,
) -> Result<Vec<(Digest, Origin)>, EngineError> {
    let files = row.changes().into_iter().flatten().map(|artifact| {
        let mut bytes = Vec::new();
        run.artifact(&artifact.sha256)?.read_to_end(&mut bytes).map_err(unreadable)?;
        Ok((artifact.sha256, Origin::Bytes(bytes.into())))
    });
    files.collect()
}

/// Returns the newest attempt of a trial, or of a grader for its row: the number by which its guest knows it, its own number, and
/// its calls with their number.
fn replayed_calls(
    run: &Replayed,
    place: u64,
    trial: &TrialId,
    graded: Option<(&str, &RowRef<'_>)>,
) -> Result<(u32, u32, (ReplayedCalls, u32)), EngineError> {
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
    Ok((tries, attempt, (ReplayedCalls { lines, start }, count)))
}

/// Returns the row that stands for a trial, with its whole output.
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
