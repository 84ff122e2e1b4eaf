//! [`Replayed`]: the run whose responses a replay gives to its guests.

use std::collections::{HashMap, HashSet};

use runner_model::protocol::CallLine;
use runner_model::row::read_line;
use runner_model::{Outcome, Places as _, Time, TrialId, units::plural};
use runner_record::{Journal, JournalKey, Journals, ReadLine, RecordError, RunDir, now};
use runner_scenario::Suite;

use super::stored_scenario::stored_scenario;
use crate::EngineError;

/// The problem of a journal with other calls than its row has.
const OTHER_CALLS: &str = "its row is of other calls";

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
    /// The run cannot be read or has no journal.
    pub(crate) fn read(run: RunDir, suite: &Suite) -> Result<Self, EngineError> {
        let manifest = run.manifest()?;
        let scenario = stored_scenario(&run, &manifest)?;
        if scenario.providers.iter().all(|provider| provider.journal().is_none()) {
            return Err(EngineError::Usage(format!(
                "run {} has no journal, so it cannot be replayed\nto record one, add `journal = true` to `[run]`, or run `exec --journal`",
                run.id()
            )));
        }
        let number = |call: &CallLine<'_>| suite.index(&call.trial);
        let mut journals = Journals::read(&run, &manifest, &number, &mut |_, _| ())?;
        let mut numbers = HashMap::<TrialId, u32>::new();
        let mut attempts = HashMap::new();
        run.rows(&mut |_, read| {
            let ReadLine::Row(head, line) = read else { return };
            let row = read_line(line);
            for (trial, row) in suite.index(&head.trial).into_iter().zip(&row) {
                for grade in &row.grades {
                    if journals.lack(trial, row, grade) {
                        journals.at(JournalKey::of_grade(trial, row, grade)).void(OTHER_CALLS);
                    }
                }
            }
            if head.judged.is_some() || head.outcome == Outcome::Stopped {
                return;
            }
            let tries = numbers.entry(head.trial.clone()).or_default();
            *tries += 1;
            if let Some(trial) = suite.index(&head.trial) {
                attempts.insert((trial, *tries), (head.attempt, head.started_at));
                let journal = journals.at(JournalKey::new(trial, head.attempt));
                if row.ok().map(|row| row.calls) != Some(journal.calls()) {
                    journal.void(OTHER_CALLS);
                }
            }
        })?;
        Ok(Self { run, journals, attempts })
    }

    /// Returns the lines of calls of an attempt, which may be none, and the start of the provider's. `tries` is the number by which
    /// the provider knows it. In place of lines that cannot be used, it returns the reason after a `!`.
    pub(crate) fn attempt(
        &self,
        key: &JournalKey,
        tries: u32,
    ) -> Result<(Vec<u8>, Time), RecordError> {
        let recorded = |tries| self.attempts.get(&(key.trial, tries));
        // Nothing is stopped in a replay, but trials that were rerun have further attempts.
        let found = match key.grader {
            None => recorded(tries),
            Some(_) => (1..=key.attempt).rev().find_map(recorded),
        };
        let Some((attempt, start)) = found else { return Ok((Vec::new(), now())) };
        let lines = match self.journals.get(&JournalKey { attempt: *attempt, ..key.clone() }) {
            None => Vec::new(),
            Some(Journal { problem: Some(problem), .. }) => format!("!{problem}").into_bytes(),
            Some(journal) => self.run.call_lines(journal)?,
        };
        Ok((lines, *start))
    }

    /// Returns the newest attempt of a trial: its number among those that were not stopped, its own number, and its start.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn newest(&self, trial: u64) -> Result<(u32, u32, Time), EngineError> {
        let attempts = self.attempts.iter().filter(|((of, _), _)| *of == trial);
        let newest = attempts.map(|((_, tries), (attempt, start))| (*tries, *attempt, *start));
        newest.max_by_key(|(tries, ..)| *tries).ok_or_else(|| {
            let id = self.run.id();
            EngineError::Usage(format!("run {id} has no finished attempt of the trial"))
        })
    }

    /// Returns the lines of calls of an attempt, and the number of calls.
    ///
    /// # Errors
    ///
    /// Its journal cannot be read or used.
    pub(crate) fn lines(&self, key: &JournalKey) -> Result<(Vec<u8>, u32), EngineError> {
        let Some(journal) = self.journals.get(key) else { return Ok((Vec::new(), 0)) };
        if let Some(problem) = &journal.problem {
            let id = self.run.id();
            return Err(EngineError::Usage(format!(
                "the journal of the trial in run {id} cannot be used, because {problem}\nrunner verify {id} lists what has changed"
            )));
        }
        let calls = journal.calls().map_or(0, |calls| calls.count);
        Ok((self.run.call_lines(journal)?, calls))
    }

    /// Returns the absolute path of the run.
    pub(crate) fn path(&self) -> String {
        let path = self.run.path();
        std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// Returns a message about what is replayed.
    pub(crate) fn notice(&mut self) -> String {
        let mut attempts = HashSet::new();
        let mut calls = 0;
        let mut problem = None;
        for (key, journal) in self.journals.all() {
            match &journal.problem {
                Some(why) => problem = Some(why),
                None => {
                    attempts.insert((key.trial, key.attempt));
                    calls += journal.calls().map_or(0, |calls| u64::from(calls.count));
                }
            }
        }
        let attempts = plural(attempts.len() as u64, "attempt", "attempts");
        let calls = plural(calls, "call", "calls");
        let unusable = problem.map(|why| format!("; some cannot be used, because {why}"));
        format!(
            "replaying {}: {calls} of {attempts}, and nothing is sent{}",
            self.run.id(),
            unusable.unwrap_or_default()
        )
    }
}
