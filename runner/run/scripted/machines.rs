//! [`MachineAudit`]: which executors are there on which machines, and what these have failed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use super::shape::PlanShape;
use crate::run::seam::{Capacity, ExecutorId, MachineName};

/// How long a trial is left alone that a machine has failed, times how often that was, up to a bound.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a trial may be made that machines have failed, and how many attempts in a row a machine may fail.
const MOST: usize = 3;

/// The books of who is there, and of what machines lack.
pub(super) struct MachineAudit {
    shape: Arc<PlanShape>,
    members: BTreeMap<ExecutorId, Member>,
    /// How many attempts machines have failed since they have carried one.
    in_a_row: HashMap<MachineName, usize>,
    /// By ordinal, who has failed a trial, once for each time.
    failed: Vec<Vec<MachineName>>,
    /// How many attempts in a row have left what could not be kept, and by ordinal how often that was.
    unkept_in_a_row: usize,
    unkept: HashMap<u64, usize>,
    /// The machines that were set aside, ever.
    pub(super) aside: BTreeSet<MachineName>,
    /// Those of them that have not come back.
    still_aside: BTreeSet<MachineName>,
    /// Since when nobody is there, but for what is set aside.
    pub(super) forsaken_since: Option<Duration>,
    /// How many attempts were assigned to whom.
    pub(super) assigned: BTreeMap<ExecutorId, usize>,
    /// Whether the last machine has failed one attempt after the other.
    pub(super) are_hopeless: bool,
}

struct Member {
    capacity: Capacity,
    machine: MachineName,
    is_aside: bool,
}

impl MachineAudit {
    pub(super) fn new(shape: Arc<PlanShape>) -> Self {
        Self {
            failed: vec![Vec::new(); shape.trials.len()],
            shape,
            members: BTreeMap::new(),
            in_a_row: HashMap::new(),
            unkept_in_a_row: 0,
            unkept: HashMap::new(),
            aside: BTreeSet::new(),
            still_aside: BTreeSet::new(),
            forsaken_since: None,
            assigned: BTreeMap::new(),
            are_hopeless: false,
        }
    }

    pub(super) fn joined(&mut self, who: ExecutorId, capacity: Capacity, machine: &MachineName) {
        // The run's own machine is the same whichever of its processes comes.
        if machine.0.is_some() && self.there().all(|member| member.machine != *machine) {
            self.in_a_row.remove(machine);
            self.still_aside.remove(machine);
        }
        let member = Member {
            capacity,
            machine: machine.clone(),
            is_aside: false,
        };
        self.members.insert(who, member);
    }

    pub(super) fn left(&mut self, who: ExecutorId) {
        self.members.remove(&who);
    }

    /// Somebody is assigned an attempt, which must not be set aside, nor have failed the trial while there is a machine that
    /// has not. What it carries at a time.
    pub(super) fn assigned(&mut self, who: ExecutorId, ordinal: u64, is_suspect: bool) -> Capacity {
        let member = self.members.get(&who).expect("it is there");
        assert!(!member.is_aside, "{who:?} is set aside and gets {ordinal}");
        let has_failed = self.failed[ordinal as usize].contains(&member.machine);
        assert!(
            is_suspect || !has_failed || !self.is_elsewhere(ordinal),
            "{ordinal} is made by {who:?}, where it has failed"
        );
        *self.assigned.entry(who).or_default() += 1;
        member.capacity
    }

    /// A machine has carried an attempt, and what that has left is kept.
    pub(super) fn carried(&mut self, who: ExecutorId) {
        self.unkept_in_a_row = 0;
        let member = &self.members[&who];
        if !member.is_aside {
            self.in_a_row.remove(&member.machine);
        }
    }

    /// The run's own machine has carried an attempt of a grader.
    pub(super) fn carried_at_home(&mut self) {
        self.in_a_row.remove(&MachineName::default());
    }

    /// A machine has failed an attempt; how long the trial is left alone. What is set aside by then says nothing of any trial.
    pub(super) fn failed(&mut self, who: ExecutorId, ordinal: u64, is_stopping: bool) -> Duration {
        let member = &self.members[&who];
        if member.is_aside {
            return PAUSE;
        }
        let machine = member.machine.clone();
        let failed = &mut self.failed[ordinal as usize];
        failed.push(machine.clone());
        let pause = PAUSE * failed.len().min(MOST) as u32;
        let in_a_row = self.in_a_row.entry(machine.clone()).or_default();
        *in_a_row += 1;
        if *in_a_row < MOST || is_stopping {
            return pause;
        }
        if machine.0.is_none() || self.there().all(|member| member.machine == machine) {
            self.are_hopeless = true;
            return pause;
        }
        let members = self.members.values_mut();
        let own = members.filter(|member| member.machine == machine);
        own.for_each(|member| member.is_aside = true);
        self.in_a_row.remove(&machine);
        for failed in &mut self.failed {
            failed.retain(|other| *other != machine);
        }
        self.still_aside.insert(machine.clone());
        self.aside.insert(machine);
        pause
    }

    /// What an attempt has left cannot be kept, which no machine is set aside for; how long its trial is left alone.
    pub(super) fn could_not_keep(&mut self, ordinal: u64) -> Duration {
        self.unkept_in_a_row += 1;
        self.are_hopeless |= self.unkept_in_a_row >= MOST;
        let times = self.unkept.entry(ordinal).or_default();
        *times += 1;
        PAUSE * (*times).min(MOST) as u32
    }

    /// The dispatcher looks at what has happened until now.
    pub(super) fn looked_at(&mut self, now: Duration, is_idle: bool) {
        let is_nobody_there = is_idle && self.there().next().is_none();
        self.forsaken_since = match is_nobody_there && !self.still_aside.is_empty() {
            true => self.forsaken_since.or(Some(now)),
            false => None,
        };
    }

    /// How many attempts may run at once.
    pub(super) fn slots(&self) -> usize {
        self.there().map(|member| member.capacity.slots).sum()
    }

    /// Whether somebody is there who may be assigned a trial.
    pub(super) fn may_be_made(&self, ordinal: u64) -> bool {
        let memory = self.memory(ordinal);
        let has_room = |member: &Member| member.capacity.memory >= memory;
        !self.have_failed(ordinal) && self.there().any(has_room)
    }

    /// Whether machines have failed a trial too often, or what it leaves could not be kept.
    pub(super) fn have_failed(&self, ordinal: u64) -> bool {
        let unkept = self.unkept.get(&ordinal);
        unkept.is_some_and(|times| *times >= MOST)
            || self.failed[ordinal as usize].len() >= MOST && !self.is_elsewhere(ordinal)
    }

    /// Whether there is a machine that has not failed a trial, and could execute it.
    fn is_elsewhere(&self, ordinal: u64) -> bool {
        let failed = &self.failed[ordinal as usize];
        let memory = self.memory(ordinal);
        let mut there = self.there();
        there.any(|member| member.capacity.memory >= memory && !failed.contains(&member.machine))
    }

    /// Those who may be assigned something.
    fn there(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| !member.is_aside)
    }

    /// What an attempt of a trial may take.
    fn memory(&self, ordinal: u64) -> u64 {
        let provider = self.shape.trials[ordinal as usize].provider;
        self.shape.providers[provider].memory
    }
}
