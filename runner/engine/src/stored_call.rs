//! [`StoredCall`]: repeats a trial of a stored run, or calls a grader for its output, outside of the run.

use std::path::{Path, PathBuf};
use std::{io, io::Read as _};

use runner_model::protocol::{Line, Task, TaskKind, TimeoutRule};
use runner_model::{
    Grants, Limits, Micros, Places as _, RowRef, RunTime, TaskId, TrialId, provider::Provider,
    units::plural,
};
use runner_prepare::{ContentSource, Origin};
use runner_record::{JournalKey, RunDir};
use runner_results::RunTable;

use crate::EngineError;
use crate::plan::{
    Replayed, RowPlace, StoredRow, TestLine, plugin_changes, stored_plan, unreadable,
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
        let root = run.results_root()?;
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
        // Other providers may have grants whose folders or secrets are missing.
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
        let mut all = plan.providers.iter();
        let judged = all.find(|prepared| prepared.provider.name == trial.provider).cloned();
        plan.scenario.keep_providers(is_used);
        plan.providers.retain(|prepared| is_used(&prepared.provider));
        // The tools of a grader are before it.
        let place = plan.providers.iter().position(|prepared| is_called(&prepared.provider));
        let row = match grader {
            Some(name) if place.is_none() => {
                return Err(EngineError::Usage(format!("run {} has no grader `{name}`", run.id())));
            }
            Some(_) => newest_row(&run, trial)?,
            None => Vec::new(),
        };
        if is_replay {
            plan.replayed = Some(Replayed::read(usable(&run)?, &plan.suite)?);
        }
        let mut problems = plan.find_folders(secret_files, Some(root.path()));
        problems.extend(plan.read_secrets(secret_files)?);
        EngineError::check(problems)?;
        let test = TestLine::read(&line).map_err(unreadable)?;
        let place = place.unwrap_or_default();
        let provider = &plan.providers[place].provider;
        let limits = &provider.limits;
        let (timeout, timeout_rule) = match (&provider.grading, limits.time) {
            (Some(grading), Some(time)) if time < grading.timeout => (time, TimeoutRule::LimitTime),
            (Some(grading), _) => (grading.timeout, TimeoutRule::Timeout),
            (None, _) => test.deadline(RunTime::default(), limits, None, Micros(0)),
        };
        let line_bytes = line.len() as u32;
        let mut notices = owner_notices(&run, &manifest);
        let (mut tries, mut attempt, mut replayed, mut judgement) = (1, 1, None, None);
        if grader.is_some() {
            let row: RowRef<'_> =
                serde_json::from_slice(&row).map_err(io::Error::other).map_err(unreadable)?;
            judgement = row.judgement_fingerprint;
        }
        if let Some(run) = &plan.replayed {
            let (key, start) = match grader {
                Some(name) => {
                    let row: RowRef<'_> = serde_json::from_slice(&row)
                        .map_err(io::Error::other)
                        .map_err(unreadable)?;
                    let grade = row.grades.iter().find(|grade| *grade.grader == *name);
                    let grade = grade.ok_or_else(|| {
                        EngineError::Usage(format!(
                            "trial `{trial}` has no answer of grader `{name}`"
                        ))
                    })?;
                    (tries, attempt) = (grade.attempt, grade.attempt);
                    (JournalKey::of_grade(found, &row, grade), row.started_at)
                }
                None => {
                    let start;
                    (tries, attempt, start) = run.newest(found)?;
                    (JournalKey::new(found, attempt), start)
                }
            };
            let (lines, calls) = run.lines(&key)?;
            replayed = Some(ReplayedCalls { lines, start });
            let calls = plural(calls.into(), "call is", "calls are");
            notices.push(format!(
                "replaying attempt {attempt}: {calls} in the journal, and nothing is sent"
            ));
        }
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
            line: Line::Bytes(line_bytes),
            row_bytes: row.len() as u32,
            recorded: None,
        };
        let grading = provider.grading.as_ref();
        let judged = judged.filter(|_| grading.is_some_and(|grading| grading.workspace.is_some()));
        let mut artifacts = Vec::new();
        if judged.is_some() {
            let row: RowRef<'_> =
                serde_json::from_slice(&row).map_err(io::Error::other).map_err(unreadable)?;
            for artifact in row.changes().into_iter().flatten() {
                let mut bytes = Vec::new();
                let read = run.artifact(&artifact.sha256)?.read_to_end(&mut bytes);
                read.map_err(unreadable)?;
                artifacts.push((artifact.sha256, Origin::Bytes(bytes.into())));
            }
        }
        line.extend(row);
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
