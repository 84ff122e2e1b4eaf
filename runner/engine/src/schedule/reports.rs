//! Reports of attempts, judgements and grades: their rows, and the next steps of their trials.

use runner_model::{
    HostFault, Micros, Outcome, Reason, RowRef, RunTime, TaskId, WorkerId, protocol::DIVERGED,
};

use super::budgets::has_output;
use super::effect::{Effect, LostReason, Next, RowForm, StopMode};
use super::lanes::{LaneKind, OpenTrial};
use super::schedule::Schedule;
use super::settings::Policy;
use super::timing::{Ending, backoff};
use super::window::SentTask;

/// Attempts in a row with the outcome `stopped` that end the session.
const MAX_FAULTS: u32 = 3;

impl Schedule {
    /// Handles a checked report. `next` is the step after its row. Ignores a report of a task that the worker does not have.
    pub fn report(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        row: &RowRef<'_>,
        next: Next,
        host_fault: Option<HostFault>,
        policy: &Policy,
    ) {
        let Some(flight) = self.workers.take(worker, task, Some(row.duration())) else {
            return;
        };
        let took = Micros::from(row.duration());
        let started = RunTime(self.now.0.saturating_sub(took.0)).max(flight.sent);
        let mut trial = self.end_attempt(flight, started);
        let reserve = &mut self.lanes[trial.lane].reserve;
        reserve.measure(row.usage.peak_memory);
        // The attempt needed more than its reserve while others held the rest of the worker's memory.
        let is_share_full = host_fault == Some(HostFault::Memory) && flight.memory < reserve.limit;
        // An interrupted grader leaves the row ungraded, without another grader.
        let is_answer = row.outcome != Outcome::Ungraded || next != Next::Nothing;
        let is_measured = has_output(row) && is_answer && flight.kind != LaneKind::Judgements;
        let is_stopped = row.outcome == Outcome::Stopped;
        let error = row.error.as_ref().map(|error| &*error.code);
        let has_diverged = is_stopped && error == Some(DIVERGED);
        let continues = is_stopped && self.lanes[trial.lane].has_journal && !has_diverged;
        // An attempt that continues reports its metrics again.
        if !continues {
            self.spend(trial.lane, &row.metrics, is_measured);
        }
        // An interrupted grader leaves the row as it is.
        if let Next::Grader(grader) = next
            && row.outcome == Outcome::Ungraded
        {
            self.faults = 0;
            self.wait_for_grader(trial, grader);
            self.write(task, None, false, false);
            return;
        }
        if !row.outcome.can_be_final() {
            trial.needs_limit |= is_share_full;
            self.interrupt(trial, task, None, flight.kind, continues);
            if !is_share_full && !has_diverged {
                self.on_fault(row, host_fault);
            }
            return;
        }
        self.faults = 0;
        trial.suspect = None;
        let flaky = row.outcome == Outcome::Passed && trial.had_bad;
        let is_bad = row.outcome.is_bad_attempt(row.service_failed);
        let had_bad = trial.had_bad;
        trial.had_bad |= is_bad && flight.kind == LaneKind::Attempts;
        let ending = Ending::from_row(row);
        if self.retry(trial, ending, policy) {
            self.write_retried(&trial, task, None);
        } else if trial.is_settled {
            let grader = if let Next::Partial(grader) = next { Some(grader) } else { None };
            self.add_grade(trial, task, None, grader);
        } else if let Next::Partial(grader) = next {
            self.settle(policy.is_unexpected(row.outcome));
            self.partial += 1;
            self.add_grade(OpenTrial { is_settled: true, ..trial }, task, None, Some(grader));
        } else if let Next::Decided(outcome, grader) = next {
            let flaky = outcome == Outcome::Passed && had_bad;
            self.write_as(RowForm::Decided, task, None, grader.is_none(), flaky);
            match grader {
                Some(grader) => self.wait_for_grader(OpenTrial { had_bad, ..trial }, grader),
                None => self.settle(policy.is_unexpected(outcome)),
            }
        } else if ending.is_some() {
            let is_unexpected = policy.is_unexpected(row.outcome);
            self.end_badly(trial, task, None, policy.next_grader, is_unexpected);
        } else {
            self.write(task, None, true, flaky);
            self.settle(policy.is_unexpected(row.outcome));
        }
    }

    /// Writes the last row of an attempt without a verdict. It settles the trial, unless a grader is still to be called.
    pub(super) fn end_badly(
        &mut self,
        trial: OpenTrial,
        task: TaskId,
        lost: Option<LostReason>,
        next_grader: Option<u16>,
        is_unexpected: bool,
    ) {
        if trial.is_settled {
            return self.add_grade(trial, task, lost, next_grader);
        }
        self.write(task, lost, next_grader.is_none(), false);
        match next_grader {
            Some(grader) => self.wait_for_grader(trial, grader),
            None => self.settle(is_unexpected),
        }
    }

    /// Writes a row of a trial whose outcome its graders do not change, and queues it for the next one.
    fn add_grade(
        &mut self,
        trial: OpenTrial,
        task: TaskId,
        lost: Option<LostReason>,
        grader: Option<u16>,
    ) {
        match grader {
            Some(grader) => {
                self.write_as(RowForm::Partial, task, lost, true, false);
                self.wait_for_grader(trial, grader);
            }
            None => {
                self.write(task, lost, true, false);
                self.partial -= 1;
            }
        }
    }

    /// Writes a row after which its guest is called again.
    pub(super) fn write_retried(
        &mut self,
        trial: &OpenTrial,
        task: TaskId,
        lost: Option<LostReason>,
    ) {
        if trial.is_settled {
            self.write_as(RowForm::Partial, task, lost, true, false);
        } else {
            self.write(task, lost, false, false);
        }
    }

    /// Queues a trial for its next grader, once its row is on disk.
    fn wait_for_grader(&mut self, trial: OpenTrial, grader: u16) {
        let next = OpenTrial {
            lane: usize::from(grader),
            tries: 0,
            suspect: None,
            needs_limit: false,
            ..trial
        };
        self.ungraded.insert(trial.index, (self.now, next));
    }

    /// Counts an attempt with the outcome `stopped`, and stops the session after [`MAX_FAULTS`] in a row. It counts without a
    /// host fault, too, because outside a stop no attempt should be stopped. During a stop this has no effect.
    pub(super) fn on_fault(&mut self, row: &RowRef<'_>, fault: Option<HostFault>) {
        self.faults += 1;
        if self.faults < MAX_FAULTS {
            return;
        }
        let message = row.error.as_ref().map(ToString::to_string).unwrap_or_default();
        let message = format!("{MAX_FAULTS} attempts in a row could not run: {message}");
        let reason = fault.map_or(Reason::Internal, HostFault::reason);
        self.stop(StopMode::Drain, reason, Some(message));
    }

    /// Takes an attempt that gets a row out of flight.
    pub(super) fn end_attempt(&mut self, flight: SentTask, started: RunTime) -> OpenTrial {
        let mut trial = flight.trial;
        self.lanes[trial.lane].in_flight -= 1;
        trial.attempts += u32::from(flight.kind == LaneKind::Attempts);
        trial.started.get_or_insert(started);
        trial
    }

    /// Takes a task that did not start out of flight. The number of its attempt is used again.
    pub(super) fn drop_unstarted(&mut self, flight: SentTask) {
        self.lanes[flight.trial.lane].in_flight -= 1;
        self.put_back(flight.trial);
    }

    /// Queues a trial for another attempt without a wait.
    pub(super) fn put_back(&mut self, trial: OpenTrial) {
        match trial.suspect {
            Some(_) => self.suspects.push_back(trial),
            None => self.lanes[trial.lane].put_back(trial),
        }
    }

    /// Queues the trial of an interrupted attempt, and writes the attempt's row. One that `continues` leaves none, and its number
    /// is used again. An interrupted grade or judgement leaves none: the row that it judges stays the newest.
    pub(super) fn interrupt(
        &mut self,
        mut trial: OpenTrial,
        task: TaskId,
        lost: Option<LostReason>,
        kind: LaneKind,
        continues: bool,
    ) {
        if continues {
            trial.attempts -= 1;
        } else if kind == LaneKind::Attempts {
            self.write(task, lost, false, false);
        }
        self.put_back(trial);
    }

    pub(super) fn write(
        &mut self,
        task: TaskId,
        lost: Option<LostReason>,
        is_final: bool,
        flaky: bool,
    ) {
        self.write_as(RowForm::Reported, task, lost, is_final, flaky);
    }

    fn write_as(
        &mut self,
        form: RowForm,
        task: TaskId,
        lost: Option<LostReason>,
        is_final: bool,
        flaky: bool,
    ) {
        self.unacked_rows += 1;
        self.effects.push(Effect::Write { task, lost, form, is_final, flaky });
    }

    /// Schedules a retry of a trial. Returns `false` if its policy or the session's time allows none.
    pub(super) fn retry(
        &mut self,
        mut trial: OpenTrial,
        ending: Option<Ending>,
        policy: &Policy,
    ) -> bool {
        trial.tries += 1;
        let wait = ending.and_then(|ending| backoff(&policy.retries, trial.tries, ending));
        let Some(wait) = wait else { return false };
        let at = self.now + wait;
        let whole = policy.trial_timeout.zip(trial.started);
        let bound = if whole.is_some_and(|(whole, started)| at >= started + whole) {
            "its `trial_timeout`"
        } else if at >= self.settings.timeout() {
            "the session's timeout"
        } else if self.lanes[trial.lane].kind == LaneKind::Grades {
            self.ungraded.insert(trial.index, (at, trial));
            return true;
        } else {
            self.later.insert((at, trial.index), trial);
            return true;
        };
        self.effects.push(Effect::LeaveOutRetry { trial: trial.index, wait, bound });
        false
    }
}
