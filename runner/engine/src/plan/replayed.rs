//! [`Replayed`]: the run whose responses a replay gives to its guests.

use std::collections::{HashMap, HashSet};

use runner_model::protocol::CallLine;
use runner_model::row::read_line;
use runner_model::visible::{quoted, shown_path};
use runner_model::{Fingerprint, Outcome, Places as _, RowRef, Time, TrialId, units::plural};
use runner_record::{Journal, JournalKey, Journals, Manifest, RecordError, RunDir, now};
use runner_scenario::Suite;

use super::stored_scenario::stored_scenario;
use crate::EngineError;

/// The problem of a journal with other calls than its row has.
const OTHER_CALLS: &str = "its row is of other calls";

/// The run whose responses a replay gives to its guests.
pub(crate) struct Replayed {
    run: RunDir,
    /// Key of the newest session that records calls.
    pub(super) key: u32,
    journals: Journals,
    /// By trial, those since it was last rerun.
    attempts: HashMap<u64, Vec<Attempt>>,
}

/// An attempt that was not stopped.
struct Attempt {
    /// The number by which its guest knows it.
    tries: u32,
    attempt: u32,
    start: Time,
    is_retried: bool,
    /// Fingerprint by which the session of its graders judged it.
    judgement: Fingerprint,
}

/// Returns the number of attempts of each trial that count towards the number by which the guest of the next one knows it. Stops do
/// not count, and a trial that is rerun starts again. The fingerprint is that of the last attempt.
pub(crate) fn tries(
    run: &RunDir,
) -> Result<HashMap<TrialId, (u32, Option<Fingerprint>)>, RecordError> {
    run.fold_rows(&HashMap::new, &mut |tries, _, head, line| {
        if head.judged.is_some() || head.outcome == Outcome::Stopped {
            return;
        }
        if read_line(line).is_ok_and(|row| row.is_retried()) {
            let (count, fingerprint) = tries.entry(head.trial).or_insert((0, None));
            *count += 1;
            *fingerprint = Some(head.fingerprint);
        } else {
            tries.remove(&head.trial);
        }
    })
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
        let new = HashMap::<u64, Vec<Attempt>>::new;
        let attempts = run.fold_rows(&new, &mut |attempts, _, head, line| {
            let row = read_line(line);
            for (trial, row) in suite.index(&head.trial).into_iter().zip(&row) {
                for grade in &row.grades {
                    if journals.lack(&manifest, trial, row, grade) {
                        journals.at(JournalKey::of_grade(trial, row, grade)).void(OTHER_CALLS);
                    }
                }
            }
            if head.judged.is_some() && !manifest.rescores(head.session) {
                let trial = suite.index(&head.trial);
                let last = trial.and_then(|trial| attempts.get_mut(&trial)?.last_mut());
                last.into_iter().for_each(|last| last.judgement = head.judgement_fingerprint);
            }
            if head.judged.is_some() || head.outcome == Outcome::Stopped {
                return;
            }
            if let Some(trial) = suite.index(&head.trial) {
                let is_retried = row.as_ref().is_ok_and(RowRef::is_retried);
                let journal = journals.at(JournalKey::new(trial, head.attempt));
                if row.ok().map(|row| row.calls) != Some(journal.calls()) {
                    journal.void(OTHER_CALLS);
                }
                let attempts = attempts.entry(trial).or_default();
                if attempts.last().is_some_and(|last| !last.is_retried) {
                    attempts.clear();
                }
                // An attempt without calls has no journal.
                let next = attempts.last().map_or(0, |last| last.tries) + 1;
                attempts.push(Attempt {
                    tries: if journal.tries > 0 { journal.tries } else { next },
                    attempt: head.attempt,
                    start: head.started_at,
                    is_retried,
                    judgement: head.judgement_fingerprint,
                });
            }
        })?;
        let newest = manifest.sessions.iter().rev().find(|session| !session.rescores);
        let key = newest.map_or(0, |session| session.key);
        Ok(Self { run, key, journals, attempts })
    }

    /// Returns the fingerprint by which the run judged a trial. `None` without an attempt.
    pub(super) fn judgement(&self, trial: u64) -> Option<Fingerprint> {
        Some(self.attempts.get(&trial)?.last()?.judgement)
    }

    /// Fails if an earlier session of a replay received the responses of another run, or of this one before it was resumed.
    pub(crate) fn check_same(&self, replay: &Manifest) -> Result<(), EngineError> {
        let mut pinned = replay.sessions.iter().filter_map(|session| session.replays);
        if pinned.all(|key| key == self.key) {
            return Ok(());
        }
        let [scenario, path] = [&replay.scenario_path, &self.path()].map(|word| quoted(word));
        Err(EngineError::Usage(format!(
            "{} has changed since run {} started to replay it: it was replaced or resumed\nrestore it, or start a new replay: runner exec {scenario} --replay {path}",
            shown_path(&self.run.path()),
            replay.id
        )))
    }

    /// Returns the lines of calls of an attempt, which may be none, and the start of the provider's. `tries` is the number by which
    /// the provider knows it. In place of lines that cannot be used, it returns the reason after a `!`.
    pub(crate) fn attempt(
        &self,
        key: &JournalKey,
        tries: u32,
    ) -> Result<(Vec<u8>, Time), RecordError> {
        let attempts = self.attempts.get(&key.trial).map(Vec::as_slice).unwrap_or_default();
        // Nothing is stopped in a replay, but trials that were rerun have further attempts.
        let found = match key.grader {
            None => attempts.iter().find(|one| one.tries == tries),
            Some(_) => attempts.iter().rfind(|one| one.tries <= key.attempt),
        };
        let Some(Attempt { attempt, start, .. }) = found else { return Ok((Vec::new(), now())) };
        let lines = match self.journals.get(&JournalKey { attempt: *attempt, ..key.clone() }) {
            None => Vec::new(),
            Some(Journal { problem: Some(problem), .. }) => format!("!{problem}").into_bytes(),
            Some(journal) => self.run.call_lines(journal)?,
        };
        Ok((lines, *start))
    }

    /// Returns the newest attempt of a trial: the number by which its guest knows it, its own number, and its start.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn newest(&self, trial: u64) -> Result<(u32, u32, Time), EngineError> {
        let newest = self.attempts.get(&trial).and_then(|attempts| attempts.last());
        newest.map(|one| (one.tries, one.attempt, one.start)).ok_or_else(|| {
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
            return Err(EngineError::Usage(format!(
                "the journal of the trial in run {} cannot be used, because {problem}\nto list what has changed: {}",
                self.run.id(),
                self.run.command("verify", &[])
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
