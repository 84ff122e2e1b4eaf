//! The dispatcher: a state machine that owns a session's state and decides everything.
//!
//! It gets what has happened and what time it is, and decides what is to be done by executors, by the recorder and on the
//! screen. It has no clock, no channel and no thread, so that a test can let any schedule happen to it.

mod aside;
mod bounds;
mod effects;
mod executors;
mod flights;
mod graded;
mod grading;
mod held;
mod lacking;
mod lane;
mod lanes;
mod pace;
mod pacer;
mod parts;
mod poison;
mod reserve;
mod retry;
mod shown;
mod stopping;
mod unwritten;
mod work;

use std::{io, time::Duration};

use jiff::Timestamp;

pub use self::effects::SessionMessage;
pub(super) use self::{
    effects::{Effects, Turn},
    grading::GradingParts,
    lane::{Lane, LaneRules, Tests},
    pace::{AHEAD, AHEAD_ELSEWHERE},
    parts::{DispatcherParts, Rules},
    poison::Suspects,
};
use self::{
    flights::Flight,
    grading::Grading,
    lacking::{Blamed, Lacking},
    lane::Trial,
    parts::FingerprintOf,
    poison::Fate,
    stopping::{ANSWER_TIME, StopProgress},
    unwritten::Unwritten,
    work::Work,
};
use super::{
    attempt::{self, AttemptIdentity, Deaths},
    clock::Now,
    event::Event,
    seam::{ExecutorId, FromExecutors, GRADERS, Loss, ToExecutor},
    session_end::SessionEnd,
    stop::Cause,
};
use crate::{
    model::{Attempt, Counts, Outcome, Reason, StopMode},
    plugin::{Moment, TEARDOWN_TIME},
    record::{Accepted, AttemptKey, Entry, RecordError, Written, accept},
};

/// How often the display learns what is running.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// When a trial is assigned again that was given back unasked, or whose executor is gone: whoever takes it next may have
/// the same reason.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The dispatcher of one session.
pub(super) struct Dispatcher<E> {
    /// Where its decisions go.
    pub(super) out: E,
    rules: Rules,
    work: Work,
    grading: Grading,
    fingerprint: FingerprintOf,
    unwritten: Unwritten,
    /// Trials of this session that ended badly, on disk or not yet.
    bad: u64,
    stop: Option<StopProgress>,
    storage: Option<RecordError>,
    lacking: Lacking,
    /// Until when somebody is waited for who was not set aside; set while nobody else is there.
    forsaken_until: Option<Moment>,
    /// Since when nobody is there who could make what is left; set while workers on other machines are to make it.
    without_workers_since: Option<Timestamp>,
    /// What the runner's own code said that has failed.
    broken: Option<String>,
    progress_at: Moment,
    /// Until when executors may tear down what they keep; set once nothing else is left.
    closing: Option<Moment>,
}

impl<E: Effects> Dispatcher<E> {
    /// Begins a session, to which executors have yet to come.
    pub(super) fn begin(parts: DispatcherParts<E>, now: Now) -> Self {
        let mut work = Work::new(parts.state, parts.lanes, parts.suspects, parts.rules.ahead);
        let poisoned = std::mem::take(&mut work.suspects.poisoned);
        let mut dispatcher = Self {
            out: parts.out,
            rules: parts.rules,
            work,
            grading: Grading::begin(parts.grading),
            fingerprint: parts.fingerprint,
            unwritten: Unwritten::default(),
            bad: 0,
            stop: None,
            storage: None,
            lacking: Lacking::default(),
            forsaken_until: None,
            without_workers_since: None,
            broken: None,
            progress_at: now.at + PROGRESS_EVERY,
            closing: None,
        };
        dispatcher.rules.close_spent(&mut dispatcher.work);
        let counts = dispatcher.counts();
        dispatcher.out.show(Event::Begun { counts });
        for (suspect, deaths) in poisoned {
            let lane = dispatcher.work.lane_of(suspect.provider);
            dispatcher.record_poisoned(now, lane, &suspect.trial, deaths);
        }
        dispatcher
    }

    /// Takes what happened beside what executors say.
    pub(super) fn receive(&mut self, now: Now, message: SessionMessage) {
        match message {
            SessionMessage::Written(written) => self.written(now, written),
            SessionMessage::Stop(request) => self.begin_stop(now, request.mode, request.cause()),
        }
    }

    /// Takes what an executor says.
    pub(super) fn receive_from_executor(&mut self, now: Now, message: FromExecutors) {
        match message {
            FromExecutors::Joined {
                who,
                capacity,
                machine,
            } => {
                self.let_in(who, capacity, machine);
                if self.closing.is_some() {
                    self.out.send(who, ToExecutor::Close);
                }
            }
            FromExecutors::Started { who, attempts } => {
                for key in attempts {
                    self.work_of(who).flights.begin(who, key, now);
                }
            }
            FromExecutors::Reports { who, attempts } => {
                for attempt in attempts {
                    match who {
                        GRADERS => self.graded(now, attempt),
                        who => self.report(now, who, attempt, Blamed::Maker),
                    }
                }
            }
            FromExecutors::Unkept { who, attempts } => {
                for attempt in attempts {
                    self.report(now, who, attempt, Blamed::Keeper);
                }
            }
            FromExecutors::Returned { who, attempts } => {
                for key in attempts {
                    self.lose(now, who, key);
                }
            }
            FromExecutors::Lost { who, attempts, why } => {
                if let Loss::Broken(text) = why {
                    self.broken = Some(text);
                }
                for key in attempts {
                    self.lose(now, who, key);
                }
            }
            FromExecutors::Left { who } => {
                for key in self.work_of(who).flights.of(who) {
                    self.lose(now, who, key);
                }
                self.work_of(who).executors.leave(who);
            }
        }
    }

    /// Decides what is to be done now, and until when there is nothing more.
    ///
    /// # Errors
    ///
    /// Fails if the plan's tests cannot be read.
    pub(super) fn turn(&mut self, now: Now) -> io::Result<Turn> {
        if self.broken.is_some() {
            return Ok(Turn::Over);
        }
        self.enforce(now);
        if let Some(ends) = self.closing {
            return Ok(self.close(now, ends));
        }
        self.heed_the_forsaken(now)?;
        let has_more = self.enter_judgements(now)?;
        let wake = self.assign(now)?;
        self.hand_over();
        if self.is_over(now.at)? {
            let ends = now.at + TEARDOWN_TIME + ANSWER_TIME;
            self.closing = Some(ends);
            for who in self.executors() {
                self.out.send(who, ToExecutor::Close);
            }
            return Ok(self.close(now, ends));
        }
        if now.at >= self.progress_at {
            self.show_progress(now)?;
            self.progress_at = now.at + PROGRESS_EVERY;
        }
        if has_more {
            return Ok(Turn::Wait(now.at));
        }
        let until = self.next_bound().min(self.progress_at);
        Ok(Turn::Wait(wake.map_or(until, |wake| wake.min(until))))
    }

    /// Tells whether messages may gather: executors have much to do, or nobody may begin more before that.
    pub(super) fn may_wait(&self) -> bool {
        let may_gather = self.work.is_plenty() || self.work.is_paced();
        self.broken.is_none() && self.stop.is_none() && may_gather
    }

    /// What is on disk.
    pub(super) fn counts(&self) -> Counts {
        self.work.state.counts()
    }

    /// What is known of every trial.
    #[cfg(test)]
    pub(super) fn state(&self) -> &crate::record::State {
        &self.work.state
    }

    /// How the session has ended.
    pub(super) fn end(self) -> SessionEnd {
        let counts = self.work.state.counts();
        if let Some(panic) = self.broken {
            return SessionEnd::broken(format!("the runner itself failed: {panic}"), counts);
        }
        if counts.done() > 0 {
            self.rules.tell_of_idle_budgets();
        }
        // A stop that came too late to matter is none.
        let remains = !self.work.state.is_complete() || self.grading.is_left();
        let stop = self.stop.filter(|_| remains);
        let lacked = self.lacking.last.filter(|_| remains);
        let is_forced = stop
            .as_ref()
            .is_some_and(|stop| stop.mode == StopMode::Kill);
        let cause = stop.map(|stop| stop.cause);
        let cause = cause.or_else(|| Some(Cause::of(lacked.as_ref()?.fault.reason())));
        let lacked = lacked.map(|lacked| lacked.text());
        let (cause, lacked) = self.rules.cause_left(remains, cause, lacked);
        SessionEnd {
            is_forced,
            ungraded: self.work.state.ungraded(),
            ..SessionEnd::after_trials(cause, self.storage.as_ref(), lacked, counts)
        }
    }

    /// Gives executors what they can take, and says when to look again.
    fn assign(&mut self, now: Now) -> io::Result<Option<Moment>> {
        if self.stop.is_some() || self.unwritten.is_too_much() {
            return Ok(None);
        }
        let room = self.room()?;
        let graders_wake = (self.grading.work).assign(now, room, &Lacking::default())?;
        let wake = match self.grading.is_too_much() {
            true => None,
            false => self.work.assign(now, room, &self.lacking)?,
        };
        for work in [&mut self.work, &mut self.grading.work] {
            for (who, batch) in work.executors.batches() {
                self.out.send(who, ToExecutor::Assign(batch));
            }
        }
        Ok([wake, graders_wake].into_iter().flatten().min())
    }

    /// Takes an executor's report; what is late, doubled or foreign is dropped. `blamed` is who may have lacked something.
    fn report(&mut self, now: Now, who: ExecutorId, attempt: Attempt, blamed: Blamed) {
        let Some(flight) = self.work.release(who, AttemptKey::from(&attempt)) else {
            tracing::debug!(trial = %attempt.trial, "dropped a late report");
            return;
        };
        if attempt.outcome != Outcome::Stopped {
            self.work.suspects.survived(attempt.ordinal);
        }
        let Flight { lane, trial, .. } = flight;
        let Some(mut attempt) = self.take_lack(now, (who, blamed), lane, &trial, attempt) else {
            return;
        };
        self.work.pace.measure(attempt.duration);
        if attempt.outcome != Outcome::Stopped {
            self.work.measure_memory(lane, attempt.usage.peak_memory);
        }

        let retry = retry::next(&trial, &attempt, now.at, self.rules.ends);
        let mut is_final = retry.is_none() && attempt.outcome != Outcome::Stopped;
        if is_final && self.is_to_be_graded(lane, &trial, &attempt) {
            (attempt.outcome, is_final) = (Outcome::Ungraded, false);
        }
        if let Some((at, again)) = retry {
            self.work.begin_later(at, lane, again);
        }
        self.enter(now, lane, &trial, attempt, is_final);
    }

    /// Takes that an executor does not have an attempt any more, and will not say what it came to.
    ///
    /// One that it has not begun never happened. Of one that it has begun nobody knows what it did, so it gets a row and its
    /// trial another attempt, and that counts as a death of whoever executed it.
    fn lose(&mut self, now: Now, who: ExecutorId, key: AttemptKey) {
        if who == GRADERS {
            return self.lose_grading(now, key);
        }
        let Some(flight) = self.work.release(who, key) else {
            return;
        };
        let again_at = now.at + AGAIN_AFTER;
        let Flight { lane, trial, .. } = flight;
        let again = trial.clone().untried();
        let fate = match flight.begun {
            Some(begun) => {
                let of = self.identity(lane, &trial, key.number, begun);
                self.enter(now, lane, &trial, attempt::lost(of, begun, now), false);
                self.work.suspects.died(key.ordinal)
            }
            None => {
                self.work.state.release(key);
                self.work.suspects.fate_of(key.ordinal)
            }
        };
        match fate {
            Fate::Again => self.work.begin_later(again_at, lane, again),
            Fate::Alone => self.work.begin_last(again_at, lane, again),
            Fate::Poisoned(deaths) => self.record_poisoned(now, lane, &again, deaths),
        }
    }

    /// Records a trial as what has ended whoever executed it, once too often.
    fn record_poisoned(&mut self, now: Now, lane: usize, trial: &Trial, deaths: Deaths) {
        let number = self.work.state.assign(trial.ordinal);
        let of = self.identity(lane, trial, number, now);
        self.enter(now, lane, trial, attempt::poisoned(of, deaths), true);
    }

    fn identity(&self, lane: usize, trial: &Trial, number: u32, begun: Now) -> AttemptIdentity {
        AttemptIdentity {
            ordinal: trial.ordinal,
            trial: self.work.id_of(lane, trial),
            number,
            started_at: begun.wall,
        }
    }

    /// Passes an attempt through `accept` and puts it on the way to the disk.
    fn enter(
        &mut self,
        now: Now,
        lane: usize,
        trial: &Trial,
        mut attempt: Attempt,
        is_final: bool,
    ) {
        let accepted = accept(&mut self.work.state, AttemptKey::from(&attempt));
        if accepted != Accepted::New || self.storage.is_some() {
            return;
        }
        if let Some(stop) = &self.stop {
            stop.name_cause(&mut attempt, &self.rules.limit);
        }
        if is_final && attempt.outcome.is_bad() {
            self.bad += 1;
        }
        let provider = attempt.trial.provider.as_str();
        self.rules.spending.add(provider, &attempt.metrics);
        self.rules.close_spent(&mut self.work);
        self.unwritten.add(Entry {
            is_final,
            is_flaky: is_final
                && attempt.outcome == Outcome::Passed
                && (trial.tries > 1 || self.work.state.is_shaky(attempt.ordinal)),
            fingerprint: (self.fingerprint)(self.work.provider(lane), &trial.test),
            attempt,
        });
        if let Some(cause) = self.rules.gives_up(self.bad) {
            self.begin_stop(now, StopMode::Drain, cause);
        }
    }

    fn hand_over(&mut self) {
        let entries = self.unwritten.hand_over();
        if !entries.is_empty() {
            self.out.record(entries);
        }
        let judgements = self.unwritten.hand_over_judgements();
        if !judgements.is_empty() {
            self.out.judge(judgements);
        }
        if self.work.flights.is_empty() && self.unwritten.rows() > 0 {
            self.out.flush();
        }
    }

    /// Counts and shows what the recorder is done with.
    fn written(&mut self, now: Now, written: Written) {
        self.unwritten.remove(&written.entries);
        self.unwritten.remove_judgements(written.judgements.len());
        if let Some(error) = written.error {
            self.storage = Some(error);
            self.begin_stop(now, StopMode::Kill, Cause::of(Reason::Storage));
            return;
        }
        for entry in &written.entries {
            self.work.state.written(entry.mark());
        }
        self.show_written(written);
    }

    /// Lets executors tear down the instances that they keep, for as long as a stop lets guests go on.
    fn close(&self, now: Now, ends: Moment) -> Turn {
        let is_interrupting = self
            .stop
            .as_ref()
            .is_some_and(StopProgress::is_interrupting);
        let is_alone = self.work.executors.is_empty() && self.grading.work.executors.is_empty();
        if is_interrupting || is_alone || now.at >= ends {
            return Turn::Over;
        }
        Turn::Wait(self.next_bound().min(ends))
    }

    /// Tells whether nothing more can happen that this session waits for.
    fn is_over(&mut self, now: Moment) -> io::Result<bool> {
        if self.unwritten.rows() > 0 && self.storage.is_none() {
            return Ok(false);
        }
        if let Some(stop) = &self.stop {
            let is_idle = self.work.flights.is_empty() && self.grading.work.flights.is_empty();
            return Ok(is_idle || stop.has_left(now));
        }
        Ok(!self.work.is_left()? && !self.grading.is_left())
    }
}
