//! Attempts that a machine could not carry: they settle nothing, and are made again, elsewhere where that does not help.
//! Where there is no other machine, the session ends.

use std::{collections::HashMap, time::Duration};

use super::{Dispatcher, Effects, lane::Trial};
use crate::{
    model::{Attempt, HostFault, Outcome, StopMode},
    plugin::Moment,
    run::{
        clock::Now,
        seam::{Capacity, ExecutorId, Machine, ToExecutor},
        stop::Cause,
    },
};

/// How many attempts in a row a machine may fail before it gets no more.
const MAX_IN_A_ROW: u32 = 3;
/// How often a trial is attempted that machines fail, while they carry others.
const MAX_TRIES: u32 = 3;
/// How long a trial waits for a machine that may have more to give then; longer each time.
const PAUSE: Duration = Duration::from_millis(200);

/// What machines have lacked so far.
#[derive(Default)]
pub(super) struct Lacking {
    /// By machine, how many attempts it has failed since it has carried one.
    in_a_row: HashMap<Machine, u32>,
    /// By ordinal, who has failed a trial, once for each time. What machines have failed that are set aside is not there.
    failed: HashMap<u64, Vec<Machine>>,
    /// Trials that were failed too often and are not made again, by ordinal, each with its lane; or not graded.
    given_up: HashMap<u64, Option<(usize, Trial)>>,
    /// What was lacking last, in words.
    pub(super) last: Option<(HostFault, String)>,
}

/// An attempt that a machine has failed.
pub(super) struct Failed {
    fault: HostFault,
    /// How many the machine has failed in a row.
    in_a_row: u32,
    /// How often machines have failed its trial.
    tries: u32,
}

impl Failed {
    /// What ends the session, unless others go on: the machine fails one attempt after the other.
    pub(super) fn hopeless(&self) -> Option<HostFault> {
        (self.in_a_row >= MAX_IN_A_ROW).then_some(self.fault)
    }

    /// Tells whether its trial is made again, wherever that is.
    pub(super) fn may_try_again(&self) -> bool {
        self.tries < MAX_TRIES
    }

    /// After how long its trial is made again, if it is.
    pub(super) fn pause(&self) -> Duration {
        PAUSE * self.tries.clamp(1, MAX_TRIES)
    }
}

impl Lacking {
    /// Looks whether the machine is what failed. If so, the attempt settles nothing. Nothing is to be learnt of a machine that
    /// is set aside: then there is none.
    pub(super) fn look(
        &mut self,
        machine: Option<&Machine>,
        attempt: &mut Attempt,
    ) -> Option<Failed> {
        let error = attempt.error.as_ref();
        let Some(fault) = error.and_then(|error| error.fault) else {
            if attempt.outcome != Outcome::Stopped
                && let Some(machine) = machine
            {
                self.in_a_row.remove(machine);
            }
            return None;
        };
        // Not `error`: what a trial has come to when it passes afterwards is not flaky.
        attempt.outcome = Outcome::Stopped;
        let Some(machine) = machine else {
            return Some(Failed {
                fault,
                in_a_row: 0,
                tries: 0,
            });
        };
        self.last = error.map(|error| (fault, error.message.clone()));
        let in_a_row = self.in_a_row.entry(machine.clone()).or_default();
        *in_a_row += 1;
        let failed = self.failed.entry(attempt.ordinal).or_default();
        failed.push(machine.clone());
        Some(Failed {
            fault,
            in_a_row: *in_a_row,
            tries: u32::try_from(failed.len()).unwrap_or(u32::MAX),
        })
    }

    /// Tells whether there is a trial that a machine has failed.
    pub(super) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Tells whether a trial is to be attempted elsewhere than on this machine: that one has failed it, and another one has not
    /// that has so much memory.
    pub(super) fn avoids(
        &self,
        ordinal: u64,
        machine: &Machine,
        machines: &[(Machine, u64)],
        memory: u64,
    ) -> bool {
        let Some(failed) = self.failed.get(&ordinal) else {
            return false;
        };
        failed.contains(machine) && is_elsewhere(failed, machines, memory)
    }

    /// Lets a trial not be made again, in its lane, or not be graded.
    pub(super) fn give_up(&mut self, ordinal: u64, trial: Option<(usize, Trial)>) {
        self.given_up.insert(ordinal, trial);
    }

    /// Takes back the trials that may be made again, in the order of the plan. `memory` is what one of a lane takes.
    fn revive(
        &mut self,
        machines: &[(Machine, u64)],
        memory: impl Fn(usize) -> u64,
    ) -> Vec<(usize, Trial)> {
        let failed = &self.failed;
        let may_be_made = |ordinal, lane| {
            let failed = failed.get(&ordinal).map_or(&[][..], Vec::as_slice);
            failed.len() < MAX_TRIES as usize || is_elsewhere(failed, machines, memory(lane))
        };
        let revived = self.given_up.extract_if(|ordinal, trial| {
            let lane = trial.as_ref().map(|(lane, _)| *lane);
            lane.is_some_and(|lane| may_be_made(*ordinal, lane))
        });
        let mut revived: Vec<_> = revived.filter_map(|(_, trial)| trial).collect();
        revived.sort_unstable_by_key(|(_, trial)| trial.ordinal);
        revived
    }

    /// Forgets what a machine has failed.
    fn forget(&mut self, machine: &Machine) {
        self.in_a_row.remove(machine);
        self.failed.retain(|_, machines| {
            machines.retain(|other| other != machine);
            !machines.is_empty()
        });
    }
}

/// Tells whether a machine is there that has not failed a trial, and has so much memory.
fn is_elsewhere(failed: &[Machine], machines: &[(Machine, u64)], memory: u64) -> bool {
    let mut machines = machines.iter();
    machines.any(|(machine, most)| memory <= *most && !failed.contains(machine))
}

impl<E: Effects> Dispatcher<E> {
    /// Lets an executor in.
    pub(super) fn let_in(
        &mut self,
        now: Now,
        who: ExecutorId,
        capacity: Capacity,
        machine: Machine,
    ) {
        let machines = self.work.executors.machines();
        if machine.0.is_some() && machines.iter().all(|(other, _)| *other != machine) {
            // Whoever has started a worker again may have given its machine what it lacked.
            self.lacking.in_a_row.remove(&machine);
        }
        self.work_of(who).executors.join(who, capacity, machine);
        self.revive(now.at);
    }

    /// Takes an attempt that its machine could not carry; gives any other back.
    ///
    /// It uses up no retry. Its trial is made again, on another machine if there is one, until several have failed it.
    pub(super) fn take_lack(
        &mut self,
        now: Now,
        who: ExecutorId,
        lane: usize,
        trial: &Trial,
        mut attempt: Attempt,
    ) -> Option<Attempt> {
        let machine = self.work.executors.machine_of(who).cloned();
        let Some(failed) = self.lacking.look(machine.as_ref(), &mut attempt) else {
            return Some(attempt);
        };
        let (at, again) = (now.at + failed.pause(), trial.clone().untried());
        self.lacking.give_up(trial.ordinal, Some((lane, again)));
        self.enter(now, lane, trial, attempt, false);
        if let (Some(machine), Some(fault)) = (machine, failed.hopeless()) {
            let machines = self.work.executors.machines();
            let are_others = machines.iter().any(|(other, _)| *other != machine);
            match &machine.0 {
                Some(worker) if self.stop.is_none() && are_others => {
                    self.set_aside(at, worker, &machine);
                }
                _ => self.begin_stop(now, StopMode::Drain, Cause::of(fault.reason())),
            }
        }
        self.revive(at);
        None
    }

    /// Lets a machine have nothing more, and others what it has failed, not before `at`.
    fn set_aside(&mut self, at: Moment, worker: &str, machine: &Machine) {
        let lacked = self.lacking.last.as_ref();
        let lacked = lacked.map_or("", |(_, message)| message);
        tracing::warn!(
            "worker {worker} has failed {MAX_IN_A_ROW} attempts in a row, and gets no more of this run until it is started \
             again: {lacked}"
        );
        for who in self.work.executors.set_aside(machine) {
            self.out.send(who, ToExecutor::SetAside);
        }
        self.lacking.forget(machine);
        self.revive(at);
        if self.lacking.given_up.is_empty() {
            self.lacking.last = None;
        }
    }

    /// Lets trials be made again that may be, but not before `at`.
    fn revive(&mut self, at: Moment) {
        if self.lacking.given_up.is_empty() {
            return;
        }
        let machines = self.work.executors.machines();
        let work = &self.work;
        let revived = self.lacking.revive(&machines, |lane| work.memory(lane));
        for (lane, trial) in revived {
            self.work.begin_later(at, lane, trial);
        }
    }
}
