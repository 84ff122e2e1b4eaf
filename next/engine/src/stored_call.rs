//! [`StoredCall`]: repeats a trial of a stored run, outside of the run.

use std::path::PathBuf;

use runner_model::protocol::{Line, Task, TaskKind};
use runner_model::{Limits, Places as _, RunTime, TaskId, TrialId};
use runner_record::RunDir;

use crate::EngineError;
use crate::plan::{Ids, Plan, TestLine, stored_plan, unreadable};
use crate::probe::{Answer, CallEnd, call_supplied};
use crate::session::{owner_notices, prestart, usable};
use crate::workers::{PrestartedWorker, Supplies};

/// A trial of a stored run with everything that a call needs: the stored plugin, input, configuration, attachments, grants and
/// limits.
pub struct StoredCall {
    prestarted: PrestartedWorker,
    supplies: Supplies,
    task: Task,
    line: Vec<u8>,
    notices: Vec<String>,
}

impl StoredCall {
    /// Finds a trial. Folders of grants are at their stored paths, and secrets are read again.
    ///
    /// # Errors
    ///
    /// The run is another user's or cannot be read, the trial is not part of it, or its grants have problems.
    pub fn find(
        run: &RunDir,
        trial: &TrialId,
        secret_files: &[PathBuf],
    ) -> Result<Self, EngineError> {
        let prestarted = prestart()?;
        let root = run.results_root()?;
        let run = usable(run)?;
        let manifest = run.manifest()?;
        let mut plan = stored_plan(&root, &run, &manifest)?;
        let unreadable = |source| EngineError::from(unreadable(&root, source));
        let found = index(&plan, trial).map_err(unreadable)?;
        let found = found.ok_or_else(|| {
            EngineError::Usage(format!("run {} has no trial `{trial}`", run.id()))
        })?;
        let planned = plan.suite.trial(found);
        let mut line = Vec::new();
        plan.suite.line(planned.test, &mut line).map_err(unreadable)?;
        // Other providers may have grants whose folders or secrets are missing.
        plan.scenario.keep_providers(|provider| provider.name == trial.provider);
        plan.providers.retain(|prepared| prepared.provider.name == trial.provider);
        let mut problems = plan.find_folders(secret_files, Some(root.path()));
        problems.extend(plan.read_secrets(secret_files)?);
        EngineError::check(problems)?;
        let limits = &plan.providers[0].provider.limits;
        let test = TestLine::read(&line).map_err(unreadable)?;
        let (timeout, timeout_rule) = test.deadline(RunTime::default(), limits, None);
        let task = Task {
            id: TaskId(1),
            trial: trial.clone(),
            provider: 0,
            attempt: 1,
            seed: plan.scenario.run.seed,
            timeout,
            timeout_rule,
            kind: TaskKind::Run,
            line: Line::Bytes(line.len() as u32),
            row_bytes: 0,
        };
        let providers: Vec<_> = plan.providers.iter().map(|one| one.provider.clone()).collect();
        let mut notices = owner_notices(&run, &providers);
        notices.append(&mut plan.notices);
        let supplies = plan.supplies(1, Some(&root));
        Ok(Self { prestarted, supplies, task, line, notices })
    }

    /// Returns the provider's limits.
    pub fn limits(&self) -> &Limits {
        &self.supplies.providers[0].provider.limits
    }

    /// Makes the call as [`call`](crate::probe::call) does.
    ///
    /// # Errors
    ///
    /// The plugin cannot be compiled, or the worker sends an invalid report.
    pub fn make(self, on_answer: &mut dyn FnMut(Answer<'_>)) -> Result<CallEnd, EngineError> {
        for notice in &self.notices {
            on_answer(Answer::Notice(notice));
        }
        call_supplied(self.prestarted, self.supplies, Some((self.task, self.line)), on_answer)
    }
}

fn index(plan: &Plan, trial: &TrialId) -> std::io::Result<Option<u64>> {
    let mut ids = Ids::new(&plan.suite, &plan.scenario.providers);
    for index in 0..plan.suite.trials() {
        if ids.trial(index)? == *trial {
            return Ok(Some(index));
        }
    }
    Ok(None)
}
