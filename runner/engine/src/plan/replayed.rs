//! [`Replayed`]: the run whose responses a replay gives to its guests.

use std::collections::HashMap;

use runner_model::protocol::CallLine;
use runner_model::provider::PreparedProvider;
use runner_model::{Outcome, Places as _, Time, TrialId, units::plural};
use runner_record::{Journals, ReadLine, RecordError, RunDir, now};
use runner_scenario::Suite;

use crate::EngineError;

/// The run whose responses a replay gives to its guests.
pub(crate) struct Replayed {
    run: RunDir,
    journals: Journals,
    /// By trial, and by the number of the attempt among those that were not stopped: its number and its start.
    attempts: HashMap<(u64, u32), (u32, Time)>,
}

impl Replayed {
    /// Reads the attempts of a run that a plan has, too.
    ///
    /// # Errors
    ///
    /// The run cannot be read, or calls of graders would be sent.
    pub(crate) fn read(
        run: RunDir,
        suite: &Suite,
        providers: &[PreparedProvider],
    ) -> Result<Self, EngineError> {
        let graders = providers.iter().map(|prepared| &prepared.provider);
        let mut graders = graders.filter(|provider| provider.grading.is_some());
        if let Some(grader) = graders.find(|grader| !grader.grants.net.is_empty()) {
            return Err(EngineError::Usage(format!(
                "grader `{}` has `net` grants, and journals have no calls of graders, so a replay would send them\nreplay a scenario without it",
                grader.name
            )));
        }
        let number = |call: &CallLine<'_>| Ok(suite.index(&call.trial));
        let journals = Journals::read(&run, &number, &mut |_, _| ())?;
        let mut numbers = HashMap::<TrialId, u32>::new();
        let mut attempts = HashMap::new();
        run.rows(&mut |_, read| {
            let ReadLine::Row(head, _) = read else { return };
            if head.judged.is_some() || head.outcome == Outcome::Stopped {
                return;
            }
            let tries = numbers.entry(head.trial.clone()).or_default();
            *tries += 1;
            if let Some(trial) = suite.index(&head.trial) {
                attempts.insert((trial, *tries), (head.attempt, head.started_at));
            }
        })?;
        Ok(Self { run, journals, attempts })
    }

    /// Returns the lines of calls of an attempt, which may be none, and its start.
    pub(crate) fn attempt(&self, trial: u64, tries: u32) -> Result<(Vec<u8>, Time), RecordError> {
        let Some((attempt, start)) = self.attempts.get(&(trial, tries)) else {
            return Ok((Vec::new(), now()));
        };
        let journal = self.journals.get((trial, *attempt));
        let lines = journal.filter(|journal| journal.problem.is_none());
        let lines = lines.map(|journal| self.run.call_lines(journal)).transpose()?;
        Ok((lines.unwrap_or_default(), *start))
    }

    /// Returns the absolute path of the run.
    pub(crate) fn path(&self) -> String {
        let path = self.run.path();
        std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// Returns a message about what is replayed.
    pub(crate) fn notice(&mut self) -> String {
        let mut attempts = 0;
        let mut calls = 0;
        let mut problem = None;
        for (_, journal) in self.journals.all() {
            match &journal.problem {
                Some(why) => problem = Some(why),
                None => {
                    attempts += 1;
                    calls += journal.calls().map_or(0, |calls| u64::from(calls.count));
                }
            }
        }
        let attempts = plural(attempts, "attempt", "attempts");
        let calls = plural(calls, "call", "calls");
        let unusable = problem.map(|why| format!("; some cannot be used, because {why}"));
        format!(
            "replaying {}: {calls} of {attempts}, and nothing is sent{}",
            self.run.id(),
            unusable.unwrap_or_default()
        )
    }
}
