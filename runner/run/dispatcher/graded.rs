//! What a dispatcher decides of graders.

use std::io;

use super::{
    AGAIN_AFTER, Dispatcher, Effects,
    lane::Trial,
    retry,
    work::{AssignBounds, Work},
};
use crate::{
    model::{Attempt, Outcome, StopMode},
    record::{Accepted, AttemptKey, accept},
    run::{
        clock::Now,
        seam::{ExecutorId, GRADERS, MachineName},
        stop::Cause,
    },
};

impl<E: Effects> Dispatcher<E> {
    /// What an executor works on.
    pub(super) fn work_of(&mut self, who: ExecutorId) -> &mut Work {
        match who {
            GRADERS => &mut self.grading.work,
            _ => &mut self.work,
        }
    }

    /// Everybody who executes something.
    pub(super) fn executors(&self) -> Vec<ExecutorId> {
        let graders = self.grading.work.executors.ids();
        self.work.executors.ids().chain(graders).collect()
    }

    /// Tells whether graders have to speak of an attempt that has held so far; then they are told of it when its row is on
    /// disk.
    pub(super) fn is_to_be_graded(
        &mut self,
        lane: usize,
        trial: &Trial,
        attempt: &Attempt,
    ) -> bool {
        let is_graded =
            attempt.outcome == Outcome::Passed && !trial.test.expect.graders().is_empty();
        if is_graded {
            let provider = self.work.provider(lane);
            self.grading.expect(trial.ordinal, &trial.test, provider);
        }
        is_graded
    }

    /// How much may be assigned now. What may kill the process is alone with it, be it an attempt or a grader.
    pub(super) fn room(&mut self) -> io::Result<AssignBounds> {
        let is_all_written = self.unwritten.rows() == 0;
        if is_all_written && self.grading.holds() && !self.work.is_left()? {
            self.grading.begin_held();
        }
        Ok(AssignBounds {
            most: (self.rules).most_in_flight(self.bad, self.work.executors.slots()),
            is_all_written: is_all_written && self.grading.is_quiet(),
        })
    }

    /// Takes what a grader's attempt came to.
    pub(super) fn graded(&mut self, now: Now, mut attempt: Attempt) {
        let key = AttemptKey::from(&attempt);
        let work = &mut self.grading.work;
        let Some(flight) = work.release(GRADERS, key) else {
            tracing::debug!(trial = %attempt.trial, "dropped a late report of a grader");
            return;
        };
        if accept(&mut work.state, key) != Accepted::New {
            return;
        }
        let trial = flight.trial;
        if let Some(failed) = self
            .lacking
            .look(Some(&MachineName::default()), &mut attempt)
        {
            match failed.may_try_again() {
                true => {
                    let (at, again) = (now.at + failed.pause(), trial.untried());
                    self.grading.work.begin_later(at, flight.lane, again);
                }
                false => {
                    self.lacking.give_up(key.ordinal, None);
                    self.grading.give_up(key.ordinal);
                }
            }
            if let Some(fault) = failed.hopeless() {
                self.begin_stop(now, StopMode::Drain, Cause::of(fault.reason()));
            }
            return;
        }
        if attempt.outcome == Outcome::Stopped {
            // It is graded when the run goes on, if that is not now.
            let (at, again) = (now.at + AGAIN_AFTER, trial.untried());
            self.grading.work.begin_later(at, flight.lane, again);
            return;
        }
        work_measured(&mut self.grading.work, flight.lane, &attempt);
        self.rules
            .spending
            .add(attempt.trial.provider.as_str(), &attempt.metrics);
        match retry::next(&trial, &attempt, now.at, self.rules.ends) {
            Some((at, again)) => {
                self.grading.tried(&attempt);
                self.grading.work.begin_later(at, flight.lane, again);
            }
            None => self.grading.answered(&attempt),
        }
        if let Some(cause) = self.rules.gives_up(self.bad) {
            self.begin_stop(now, StopMode::Drain, cause);
        }
    }

    /// Takes that a grader's attempt was given back, or that nobody will say what it came to.
    pub(super) fn lose_grading(&mut self, now: Now, key: AttemptKey) {
        let work = &mut self.grading.work;
        let Some(flight) = work.release(GRADERS, key) else {
            return;
        };
        match flight.begun {
            Some(_) => drop(accept(&mut work.state, key)),
            None => drop(work.state.release(key)),
        }
        let again = flight.trial.untried();
        work.begin_later(now.at + AGAIN_AFTER, flight.lane, again);
    }

    /// Lets go of graders that do not answer a stop: their trials are graded when the run goes on.
    pub(super) fn forget_graders(&mut self) {
        for (who, key) in self.grading.work.flights.keys() {
            self.grading.work.release(who, key);
        }
    }

    /// Reads on in what is on disk and has yet to be judged; says whether there is more that could be read now.
    fn read_backlog(&mut self) -> io::Result<bool> {
        if self.stop.is_some() || self.storage.is_some() || self.unwritten.is_too_much() {
            return Ok(false);
        }
        for judgement in self.grading.read_on()? {
            self.unwritten.judge(judgement);
        }
        Ok(self.grading.can_read_on() && !self.unwritten.is_too_much())
    }

    /// Puts what graders have said on the way to the disk, and what of earlier attempts they need not be asked of; says
    /// whether there are more of these that could be read now.
    pub(super) fn enter_judgements(&mut self, now: Now) -> io::Result<bool> {
        let has_more = self.read_backlog()?;
        let state = &self.work.state;
        let mut is_any = false;
        while let Some(judgement) = self.grading.judgement(|ordinal| state.is_shaky(ordinal)) {
            if self.storage.is_some() {
                continue;
            }
            self.bad += u64::from(judgement.mark.outcome.is_bad());
            self.unwritten.judge(judgement);
            is_any = true;
        }
        while let Some(answers) = self.grading.part() {
            if self.storage.is_none() {
                self.unwritten.judge(answers);
            }
        }
        if is_any && let Some(cause) = self.rules.gives_up(self.bad) {
            self.begin_stop(now, StopMode::Drain, cause);
        }
        Ok(has_more)
    }
}

fn work_measured(work: &mut Work, lane: usize, attempt: &Attempt) {
    work.pace.measure(attempt.duration);
    work.measure_memory(lane, attempt.usage.peak_memory);
}
