//! What a dispatcher decides of machines that lack what attempts need: these settle nothing and are made again, on another
//! machine if there is one. Where there is none, the session ends.

use std::{io, sync::Arc};

use super::{
    Dispatcher, Effects,
    executors::Executors,
    lacking::{Blamed, Lacked, MAX_IN_A_ROW},
    lane::Trial,
    retry::Later,
};
use crate::{
    model::{Attempt, ShownDuration, StopMode},
    run::{
        clock::Now,
        seam::{Capacity, ExecutorId, MachineName, ToExecutor},
        stop::Cause,
    },
};

impl<E: Effects> Dispatcher<E> {
    /// Lets an executor in.
    pub(super) fn let_in(&mut self, who: ExecutorId, capacity: Capacity, machine: MachineName) {
        let machines = self.work.executors.machines();
        let is_new = !self.work.executors.knows(who);
        if is_new && machine.0.is_some() && machines.iter().all(|(other, _)| *other != machine) {
            // Whoever has started a worker again may have given its machine what it lacked.
            self.lacking.begin_anew(&machine);
        }
        self.work_of(who).executors.join(who, capacity, machine);
        self.revive();
    }

    /// Takes an attempt that its machine could not carry; gives any other back.
    ///
    /// It uses up no retry. Its trial is made again, on another machine if there is one, until several have failed it.
    pub(super) fn take_lack(
        &mut self,
        now: Now,
        (who, blamed): (ExecutorId, Blamed),
        lane: usize,
        trial: &Trial,
        mut attempt: Attempt,
    ) -> Option<Attempt> {
        let machine = self.work.executors.machine_of(who).cloned();
        let looked = match blamed {
            Blamed::Maker => self.lacking.look(machine.as_ref(), &mut attempt),
            Blamed::Keeper => self.lacking.look_at_unkept(&mut attempt),
        };
        let Some(failed) = looked else {
            self.lacking.kept(&attempt);
            return Some(attempt);
        };
        let again = Later {
            at: now.at + failed.pause(),
            lane,
            trial: trial.clone().untried(),
        };
        self.lacking.give_up(trial.ordinal, Some(again));
        self.enter(now, lane, trial, attempt, false);
        if let Some(fault) = failed.hopeless() {
            let machines = self.work.executors.machines();
            let are_others =
                |machine: &MachineName| machines.iter().any(|(other, _)| other != machine);
            match machine {
                Some(machine @ MachineName(Some(_)))
                    if blamed == Blamed::Maker && self.stop.is_none() && are_others(&machine) =>
                {
                    self.set_aside(&machine);
                }
                _ => self.begin_stop(now, StopMode::Drain, Cause::of(fault.reason())),
            }
        }
        self.revive();
        None
    }

    /// Lets a machine have nothing more, and others what it has failed.
    fn set_aside(&mut self, machine: &MachineName) {
        let worker = machine.0.as_deref().unwrap_or_default();
        let lacked = self.lacking.last.as_ref();
        let lacked = lacked.map_or("", |lacked| &lacked.message);
        let failed = self.lacking.failed_in_a_row(machine);
        let why: Arc<str> =
            format!("{MAX_IN_A_ROW} attempts in a row have failed here, {failed}: {lacked}").into();
        tracing::warn!(
            "worker {worker} has failed {MAX_IN_A_ROW} attempts in a row, and gets no more of this run until it is started \
             again: {lacked}"
        );
        for who in self.work.executors.set_aside(machine) {
            let why = Arc::clone(&why);
            self.out.send(who, ToExecutor::SetAside { why });
        }
        self.lacking.set_aside(machine);
        self.revive();
        if !self.lacking.has_given_up() {
            self.lacking.last = None;
        }
    }

    /// Ends the session where nobody is left but machines that were set aside, unless somebody else comes soon: it would end
    /// without them as well.
    pub(super) fn heed_the_forsaken(&mut self, now: Now) -> io::Result<()> {
        let is_somebody_there = |executors: &Executors| !executors.machines().is_empty();
        if self.lacking.aside().next().is_none()
            || self.stop.is_some()
            || is_somebody_there(&self.work.executors)
            || !self.work.flights.is_empty()
            || !self.work.is_left()?
        {
            self.forsaken_until = None;
            return Ok(());
        }
        let Some(until) = self.forsaken_until else {
            self.forsaken_until = Some(now.at + self.rules.forsaken);
            tracing::warn!(
                "nobody is left who makes attempts, but for what was set aside: {}; the run ends in {} unless somebody comes: \
                 start a worker, or one of these again with what it lacked",
                self.lacked_aside(),
                ShownDuration(self.rules.forsaken)
            );
            return Ok(());
        };
        if now.at >= until
            && let Some(lacked) = self.lacking.first_aside()
        {
            self.begin_stop(now, StopMode::Drain, Cause::of(lacked.fault.reason()));
            self.lacking.last = Some(lacked);
        }
        Ok(())
    }

    fn lacked_aside(&self) -> String {
        let lacked: Vec<_> = self.lacking.aside().map(Lacked::text).collect();
        lacked.join("; ")
    }

    /// Lets trials be made again that may be, each in its time.
    fn revive(&mut self) {
        if !self.lacking.has_given_up() {
            return;
        }
        let machines = self.work.executors.machines();
        let work = &self.work;
        let revived = self.lacking.revive(&machines, |lane| work.memory(lane));
        for Later { at, lane, trial } in revived {
            self.work.begin_later(at, lane, trial);
        }
    }
}
