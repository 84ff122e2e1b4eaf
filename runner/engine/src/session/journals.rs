//! The journals of attempts: keeps the calls that workers send, and gives them to interrupted attempts.

use std::{collections::BTreeMap, io};

use runner_model::protocol::{CALLS_VERSION, CallLine, Entry, Recorded, TaskKind};
use runner_model::provider::{InFlight, PreparedProvider};
use runner_model::{Fingerprint, Micros, Places as _, Reason, TaskId, WorkerId};
use runner_model::{units::plural, visible::shown_path};
use runner_prepare::machine;
use runner_record::{Fold, JournalKey, Journals, Manifest, RecordError, RunDir};
use serde_json::value::RawValue;

use super::coordinator::Coordinator;
use super::running::MAX_PENDING;
use super::stage::{Running, Stage};
use crate::EngineError;
use crate::plan::{Ids, Plan, RowPlace, StoredRow, TestLine, tries};

/// Bytes of an entry in addition to `limits.journal`, for names of its parts.
const MORE_BYTES: u64 = 64 << 10;

impl Coordinator<'_> {
    /// Reads the journals of attempts that were interrupted in earlier sessions.
    ///
    /// # Errors
    ///
    /// The calls or the suite cannot be read.
    pub(super) fn read_journals(&mut self) -> Result<(), RecordError> {
        let Stage::Running(Running { run, journals, .. }) = &mut self.stage else { return Ok(()) };
        let (plan, fold) = (self.plan, &self.fold);
        let is_deterministic = |one: &PreparedProvider| one.provider.deterministic.is_some();
        if plan.rescored.is_none() && plan.providers.iter().any(is_deterministic) {
            for (trial, (tries, fingerprint)) in tries(run.owned.dir())? {
                let Some(trial) = plan.suite.index(&trial) else { continue };
                let provider = &plan.providers[usize::from(plan.suite.trial(trial).provider)];
                let is_same =
                    || fingerprints(plan, trial).is_ok_and(|(now, _)| Some(now) == fingerprint);
                if is_deterministic(provider) && is_same() {
                    self.schedule.continues(trial, tries);
                }
            }
        }
        // A rescore records nothing.
        if plan.rescored.is_some() {
            return Ok(());
        }
        let has_journals = plan.providers.iter().any(|one| one.provider.journal().is_some());
        let manifest = run.owned.manifest();
        let number = |call: &CallLine<'_>| {
            let trial = plan.suite.index(&call.trial)?;
            let is_open = call.attempt == fold.attempts(trial) + u32::from(call.grader.is_none())
                && fold.trial(trial).is_pending
                && plan.rejudge.has(trial) == call.grader.is_some();
            is_open.then_some(trial)
        };
        *journals = Journals::read(run.owned.dir(), manifest, &number, &mut |_, _| ())?;
        let lost = journals.lost_session(manifest).filter(|_| plan.replayed.is_none());
        if !has_journals {
            let open: Vec<_> = journals.all().map(|(key, _)| key.clone()).collect();
            *journals = Journals::default();
            if !open.is_empty() {
                self.report_void(&open, "the scenario has no `journal` any more");
            }
            self.report_lost(lost);
            return Ok(());
        }
        if plan.replayed.is_some() {
            // An attempt that replays starts again: its responses are in the other run.
            journals.all().for_each(|(_, journal)| journal.restart());
            return Ok(());
        }
        for (key, journal) in journals.all() {
            if let Some((grader, _)) = &key.grader
                && !awaits(grader, plan.rejudge.place(key.trial), run.owned.dir())
            {
                journal.restart();
                continue;
            }
            let fingerprint = fingerprints(plan, key.trial).map_err(|source| RecordError::Io {
                what: "read the tests of",
                path: run.owned.dir().path(),
                source,
            })?;
            let (execution, judgement) = fingerprint;
            let expected = if key.grader.is_some() { judgement } else { execution };
            if journal.is_foreign {
                journal.void("the run was not made with your key");
            } else if journal.fingerprint != Some(expected) {
                journal.void("its test or provider has changed");
            } else if must_not_send_again(plan, key.trial) && !journal.records_sent {
                journal.void("it was recorded with `in_flight = \"send-again\"`");
            }
        }
        self.report_journals();
        self.report_lost(lost);
        Ok(())
    }

    /// Reports a session whose calls are lost.
    fn report_lost(&mut self, session: Option<u32>) {
        if let Some(session) = session {
            self.notice(&format!(
                "calls.jsonl has lost the calls of session {session}: its interrupted attempts start anew, and their requests are sent and paid again"
            ));
        }
    }

    /// Reports the attempts that continue, and those that cannot.
    fn report_journals(&mut self) {
        let Stage::Running(Running { journals, .. }) = &mut self.stage else { return };
        let (mut attempts, mut calls) = (0, 0);
        let mut void = BTreeMap::<_, Vec<_>>::new();
        for (key, journal) in journals.all() {
            let starts_anew =
                journal.problem.is_some() && !must_not_send_again(self.plan, key.trial);
            if !starts_anew && key.grader.is_none() {
                self.schedule.continues(key.trial, journal.tries.saturating_sub(1));
            }
            if let Some(problem) = journal.problem.clone() {
                void.entry((starts_anew, problem)).or_default().push(key.clone());
            } else {
                attempts += 1;
                calls += journal.calls().map_or(0, |calls| u64::from(calls.count));
            }
            if starts_anew {
                journal.restart();
            }
        }
        for ((_, problem), mut attempts) in void {
            attempts.sort_unstable();
            self.report_void(&attempts, &problem);
        }
        if attempts > 0 {
            let attempts = plural(attempts, "attempt", "attempts");
            let calls = plural(calls, "call is", "calls are");
            self.notice(&format!("continuing {attempts}: {calls} in the journal"));
        }
    }

    /// Reports attempts that start anew, or end with an error, although they have a journal.
    fn report_void(&mut self, attempts: &[JournalKey], problem: &str) {
        let mut ids = Ids::new(&self.plan.suite, &self.plan.scenario.providers);
        let first = attempts.first().and_then(|key| ids.trial(key.trial).ok());
        let first = first.map(|trial| format!(" (`{trial}`)")).unwrap_or_default();
        let stops = attempts.iter().any(|key| must_not_send_again(self.plan, key.trial));
        let (one, many) = if stops {
            ("attempt ends with an error", "attempts end with an error")
        } else {
            ("attempt starts anew", "attempts start anew")
        };
        let end = plural(attempts.len() as u64, one, many);
        self.notice(&format!("{end}{first}: the journal cannot be used, because {problem}"));
    }

    /// Returns the journal of an interrupted attempt, whose lines workers find by their digest. `None` for a new attempt. `tries`
    /// is the number by which a provider knows it.
    pub(super) fn recorded(
        &mut self,
        key: JournalKey,
        tries: u32,
    ) -> Result<Option<Recorded>, (Reason, String)> {
        let Stage::Running(Running { run, journals, unkept, .. }) = &mut self.stage else {
            return Ok(None);
        };
        let failed = |error| (Reason::Machine, machine::failure("cannot send a journal", error));
        if let Some(replayed) = &self.plan.replayed {
            let found = replayed.attempt(&key, tries);
            let (lines, start) = found.map_err(|error| (Reason::Storage, error.to_string()))?;
            let sha256 = self.pool.put_lines(&lines).map_err(failed)?;
            let recorded =
                Recorded { sha256, continued: 0, used: Micros(0), replayed: Some(start) };
            return Ok(Some(recorded));
        }
        let Some(journal) = journals.get(&key) else { return Ok(None) };
        if let Some(problem) = journal.problem.clone() {
            if !must_not_send_again(self.plan, key.trial) {
                journals.at(key.clone()).restart();
                self.report_void(&[key], &problem);
                return Ok(None);
            }
            let reason = format!("!the journal cannot be used, because {problem}");
            let sha256 = self.pool.put_lines(reason.as_bytes()).map_err(failed)?;
            let (continued, used) = (journal.continued + 1, journal.used);
            return Ok(Some(Recorded { sha256, continued, used, replayed: None }));
        }
        if !unkept.is_empty() {
            // The last calls of a worker that was just lost may not be on disk.
            run.writer.wait();
        }
        let lines = run.owned.dir().call_lines(journal);
        let lines = lines.map_err(|error| (Reason::Storage, error.to_string()))?;
        let sha256 = self.pool.put_lines(&lines).map_err(failed)?;
        let (continued, used) = (journal.continued + 1, journal.used);
        Ok(Some(Recorded { sha256, continued, used, replayed: None }))
    }

    /// Adds a piece of an entry, and writes the entry once it is whole.
    pub(super) fn add_entry(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        is_last: bool,
        piece: &[u8],
    ) {
        let Stage::Running(running) = &mut self.stage else { return };
        let Some(flight) = running.tasks.at(worker, task) else { return };
        let provider = &self.plan.providers[usize::from(flight.task.provider)].provider;
        let most = provider.limits.journal.saturating_add(MORE_BYTES);
        let is_call = matches!(flight.task.kind, TaskKind::Run | TaskKind::Grade);
        let is_allowed = is_call && provider.journal().is_some();
        let added = if !is_allowed {
            Err("recorded a call of an attempt without a journal".to_owned())
        } else if (flight.entry.len() + piece.len()) as u64 > most {
            Err("recorded a call that is larger than `limits.journal`".to_owned())
        } else {
            flight.entry.extend_from_slice(piece);
            if is_last { running.write_entry(worker, task) } else { Ok(()) }
        };
        if let Err(fault) = added {
            return self.fault(worker, Some(task), fault);
        }
        if running.run.writer.pending().0 > MAX_PENDING {
            self.pool.hold_back(true);
        }
    }

    /// Answers the oldest entries without an answer, which are on disk.
    pub(super) fn answer_entries(&mut self, count: u64) {
        let Stage::Running(running) = &mut self.stage else { return };
        // The lines are on disk. If the next session finds none of them, another program has removed them.
        if count > 0
            && let Err(error) = running.run.owned.note_calls()
        {
            return self.storage_failed(error.to_string());
        }
        for (worker, task) in running.unkept.drain(..count as usize) {
            self.pool.answer_entry(worker, task);
        }
    }
}

/// Fails if the calls of an earlier session are lost, and a trial that it may have interrupted must not send requests again.
///
/// # Errors
///
/// The calls are lost, or cannot be read.
pub(super) fn check_recorded(
    plan: &Plan,
    run: &RunDir,
    manifest: &Manifest,
    before: &Fold,
) -> Result<(), EngineError> {
    let has_calls = manifest.sessions.iter().any(|session| session.has_calls);
    let stops = |trial| must_not_send_again(plan, trial) && plan.is_left(trial, before);
    if !has_calls || plan.replayed.is_some() || !(0..plan.suite.trials()).any(stops) {
        return Ok(());
    }
    let journals = Journals::read(run, manifest, &|_| None, &mut |_, _| ())?;
    let Some(session) = journals.lost_session(manifest) else { return Ok(()) };
    Err(EngineError::Usage(format!(
        "{} has lost the calls of session {session}, and `in_flight = \"stop\"` sends no request twice\nput the file back, or set `in_flight = \"send-again\"` to send and pay the requests of interrupted attempts again: {}",
        shown_path(&run.path().join("calls.jsonl")),
        run.command("resume", &["--accept-changes"])
    )))
}

/// Returns the execution and the judgement fingerprint of a trial.
fn fingerprints(plan: &Plan, trial: u64) -> io::Result<(Fingerprint, Fingerprint)> {
    let planned = plan.suite.trial(trial);
    let mut line = Vec::new();
    plan.suite.line(planned.test, &mut line)?;
    Ok(TestLine::read(&line)?.fingerprints(&plan.fingerprints, planned.provider)?)
}

/// Returns whether the row at `place` waits for the answer of a grader.
fn awaits(grader: &str, place: Option<RowPlace>, run: &RunDir) -> bool {
    let row = place.filter(|place| place.is_ungraded).and_then(|place| StoredRow::read(run, place));
    row.is_some_and(|row| !row.is_answered_by(grader))
}

/// Returns whether an attempt of a trial must not start anew, because that would send its requests again.
fn must_not_send_again(plan: &Plan, trial: u64) -> bool {
    let provider = plan.suite.trial(trial).provider;
    plan.providers[usize::from(provider)].provider.journal() == Some(InFlight::Stop)
}

impl Running {
    /// Checks a whole entry of a task and writes it.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    fn write_entry(&mut self, worker: WorkerId, task: TaskId) -> Result<(), String> {
        let Some(flight) = self.tasks.at(worker, task) else { return Ok(()) };
        let bytes = std::mem::take(&mut flight.entry);
        let entry = Entry::read(&bytes).map_err(|error| format!("recorded {error}"))?;
        if let Entry::Void { .. } = entry {
            return Err("recorded an entry that only the coordinator writes".to_owned());
        }
        if let Entry::Start { continues, .. } = entry {
            if std::mem::replace(&mut flight.is_recorded, true) {
                return Err("recorded the start of a guest twice".to_owned());
            }
            if continues && flight.task.recorded.is_none() {
                return Err("recorded that an attempt continues that is new".to_owned());
            }
        } else if !flight.is_recorded {
            return Err("recorded a call before the start of its guest".to_owned());
        }
        let added = self.append(worker, task, &entry, &bytes);
        added.map_err(|problem| format!("recorded a call that {problem}"))
    }

    /// Keeps all sessions from continuing with the journals of a worker's attempts.
    pub(super) fn void_journals(&mut self, worker: WorkerId, reason: &'static str) {
        let recorded = self.tasks.all.iter().filter(|(_, flight)| flight.worker == worker);
        let recorded: Vec<_> =
            recorded.filter(|(_, flight)| flight.is_recorded).map(|(task, _)| *task).collect();
        for task in recorded {
            let entry = Entry::Void { reason: reason.into() };
            // It can follow every line of an attempt that has started.
            let _ = self.append(worker, task, &entry, &entry.to_bytes());
        }
    }

    /// Adds an entry to the journal of a task and writes its line.
    ///
    /// # Errors
    ///
    /// The entry cannot follow the others. The reason is the end of a sentence about it.
    fn append(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        entry: &Entry<'_>,
        bytes: &[u8],
    ) -> Result<(), &'static str> {
        let Some(flight) = self.tasks.at(worker, task) else { return Ok(()) };
        let key = flight.journal();
        let grader = key.grader.as_ref().map(|(name, _)| name.clone());
        let fingerprint = if grader.is_some() { flight.judgement } else { flight.execution };
        let journal = self.journals.at(key);
        let sessions = &self.run.owned.manifest().sessions;
        let call = CallLine {
            v: CALLS_VERSION,
            trial: flight.task.trial.clone(),
            attempt: flight.attempt,
            tries: flight.task.tries,
            grader,
            session: self.run.session,
            key: sessions.last().map_or(0, |session| session.key),
            line: journal.next_line(),
            fingerprint,
            entry: RawValue::NULL,
        };
        let line = call.with_entry(bytes);
        let place = (self.run.writer.calls_length(), line.len() - 1);
        journal.add(entry, bytes, place)?;
        journal.fingerprint = Some(fingerprint);
        self.run.writer.call(&line);
        self.unkept.push_back((worker, task));
        Ok(())
    }
}
