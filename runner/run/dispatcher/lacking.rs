//! [`Lacking`]: the attempts that machines could not carry, and the trials that are not made again for that.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::retry::Later;
use crate::{
    model::{Attempt, HostFault, Outcome, TrialId},
    run::seam::MachineName,
};

/// How many attempts in a row a machine may fail before it gets no more.
pub(super) const MAX_IN_A_ROW: u32 = 3;
/// How often a trial is attempted that machines fail, while they carry others.
const MAX_TRIES: u32 = 3;
/// How long a trial waits for a machine that may have more to give then; longer each time.
const PAUSE: Duration = Duration::from_millis(200);

/// What machines have lacked so far.
#[derive(Default)]
pub(super) struct Lacking {
    /// By machine, the attempts that it has failed since it has carried one.
    in_a_row: HashMap<MachineName, Vec<(TrialId, u32)>>,
    /// By ordinal, who has failed a trial, once for each time. What machines have failed that are set aside is not there.
    failed: HashMap<u64, Vec<MachineName>>,
    /// How many attempts in a row have left what the run's own machine could not keep, whoever has made them.
    unkept_in_a_row: u32,
    /// By ordinal, how often that was: nobody else could keep it either.
    unkept: HashMap<u64, u32>,
    /// Trials that were failed too often and are not made again, by ordinal, or not graded.
    given_up: HashMap<u64, Option<Later>>,
    /// What was lacking last.
    pub(super) last: Option<Lacked>,
    /// The machines that were set aside and have not come back, with what they lacked.
    aside: BTreeMap<MachineName, Lacked>,
}

/// What a machine lacked.
#[derive(Clone)]
pub(super) struct Lacked {
    pub(super) fault: HostFault,
    machine: MachineName,
    pub(super) message: String,
}

impl Lacked {
    /// What it was, and of which worker, for people.
    pub(super) fn text(&self) -> String {
        match &self.machine.0 {
            Some(worker) => format!("worker {worker}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// Who may have lacked something where an attempt was not carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blamed {
    /// The machine that has made it.
    Maker,
    /// The run's own, which is to keep what it has left.
    Keeper,
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
        machine: Option<&MachineName>,
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
        self.last = error.map(|error| Lacked {
            fault,
            machine: machine.clone(),
            message: error.message.clone(),
        });
        let in_a_row = self.in_a_row.entry(machine.clone()).or_default();
        in_a_row.push((attempt.trial.clone(), attempt.number));
        let in_a_row = u32::try_from(in_a_row.len()).unwrap_or(u32::MAX);
        let failed = self.failed.entry(attempt.ordinal).or_default();
        failed.push(machine.clone());
        Some(Failed {
            fault,
            in_a_row,
            tries: u32::try_from(failed.len()).unwrap_or(u32::MAX),
        })
    }

    /// The same of an attempt that was made, and has left what the run's own machine could not keep.
    pub(super) fn look_at_unkept(&mut self, attempt: &mut Attempt) -> Option<Failed> {
        let error = attempt.error.as_ref()?;
        let fault = error.fault?;
        attempt.outcome = Outcome::Stopped;
        self.last = Some(Lacked {
            fault,
            machine: MachineName::default(),
            message: error.message.clone(),
        });
        self.unkept_in_a_row += 1;
        let tries = self.unkept.entry(attempt.ordinal).or_default();
        *tries += 1;
        Some(Failed {
            fault,
            in_a_row: self.unkept_in_a_row,
            tries: *tries,
        })
    }

    /// Notes that what an attempt has left could be kept.
    pub(super) fn kept(&mut self, attempt: &Attempt) {
        if attempt.outcome != Outcome::Stopped {
            self.unkept_in_a_row = 0;
        }
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
        machine: &MachineName,
        machines: &[(MachineName, u64)],
        memory: u64,
    ) -> bool {
        let Some(failed) = self.failed.get(&ordinal) else {
            return false;
        };
        failed.contains(machine) && is_elsewhere(failed, machines, memory)
    }

    /// Lets a trial not be made again, or not be graded.
    pub(super) fn give_up(&mut self, ordinal: u64, trial: Option<Later>) {
        self.given_up.insert(ordinal, trial);
    }

    /// Takes back the trials that may be made again, in the order of the plan. `memory` is what one of a lane takes.
    pub(super) fn revive(
        &mut self,
        machines: &[(MachineName, u64)],
        memory: impl Fn(usize) -> u64,
    ) -> Vec<Later> {
        let (failed, unkept) = (&self.failed, &self.unkept);
        let may_be_made = |ordinal, lane| {
            if unkept
                .get(&ordinal)
                .is_some_and(|tries| *tries >= MAX_TRIES)
            {
                return false;
            }
            let failed = failed.get(&ordinal).map_or(&[][..], Vec::as_slice);
            failed.len() < MAX_TRIES as usize || is_elsewhere(failed, machines, memory(lane))
        };
        let revived = self.given_up.extract_if(|ordinal, trial| {
            let lane = trial.as_ref().map(|later| later.lane);
            lane.is_some_and(|lane| may_be_made(*ordinal, lane))
        });
        let mut revived: Vec<_> = revived.filter_map(|(_, later)| later).collect();
        revived.sort_unstable_by_key(|later| later.trial.ordinal);
        revived
    }

    /// Notes that a machine has begun anew.
    pub(super) fn begin_anew(&mut self, machine: &MachineName) {
        self.in_a_row.remove(machine);
        self.aside.remove(machine);
    }

    /// Notes that a machine is set aside for what was lacking last, and forgets what it has failed.
    pub(super) fn set_aside(&mut self, machine: &MachineName) {
        self.in_a_row.remove(machine);
        self.failed.retain(|_, machines| {
            machines.retain(|other| other != machine);
            !machines.is_empty()
        });
        if let Some(last) = &self.last {
            self.aside.insert(machine.clone(), last.clone());
        }
    }

    /// What the first of the machines that are set aside lacked.
    pub(super) fn first_aside(&self) -> Option<Lacked> {
        self.aside.values().next().cloned()
    }

    /// What the machines that are set aside lacked.
    pub(super) fn aside(&self) -> impl Iterator<Item = &Lacked> {
        self.aside.values()
    }

    /// Which attempts a machine has failed in a row, for people.
    pub(super) fn failed_in_a_row(&self, machine: &MachineName) -> String {
        let failed = self.in_a_row.get(machine).map_or(&[][..], Vec::as_slice);
        let failed = failed.iter().map(|(trial, number)| match number {
            1 => trial.to_string(),
            number => format!("{trial} (attempt {number})"),
        });
        failed.collect::<Vec<_>>().join(", ")
    }

    /// Tells whether there are trials that are not made again.
    pub(super) fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }
}

/// Tells whether a machine is there that has not failed a trial, and has so much memory.
fn is_elsewhere(failed: &[MachineName], machines: &[(MachineName, u64)], memory: u64) -> bool {
    let mut machines = machines.iter();
    machines.any(|(machine, most)| memory <= *most && !failed.contains(machine))
}
