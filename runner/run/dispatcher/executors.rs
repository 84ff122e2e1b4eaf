//! [`Executors`]: the executors that are there, what each carries, and what each has.

use super::pace::MAX_AHEAD;
use crate::run::seam::{Assignment, Capacity, ExecutorId, MachineName};

/// The executors of a session.
#[derive(Default)]
pub(super) struct Executors {
    members: Vec<Member>,
    /// The most memory that an attempt may take, in bytes.
    largest: u64,
}

/// One executor.
pub(super) struct Member {
    pub(super) who: ExecutorId,
    pub(super) machine: MachineName,
    /// With no slots once it is set aside.
    capacity: Capacity,
    is_aside: bool,
    /// Attempts that it has and did not answer.
    assigned: usize,
    /// What is reserved for these, in bytes.
    memory_in_use: u64,
    /// Whether attempts in all of its slots could need more memory than it has.
    is_memory_scarce: bool,
    /// What it is assigned in this turn.
    batch: Vec<Assignment>,
    /// Whether nothing more was found for it in this turn.
    is_passed_over: bool,
    /// Whether it has so little that it is assigned more in this turn.
    is_filled_up: bool,
}

impl Executors {
    /// Nobody yet. `largest` is the most memory that an attempt may take, in bytes.
    pub(super) fn new(largest: u64) -> Self {
        Self {
            members: Vec::new(),
            largest,
        }
    }

    /// Lets an executor in, or another capacity replace the one that it had, unless it is set aside.
    pub(super) fn join(&mut self, who: ExecutorId, capacity: Capacity, machine: MachineName) {
        let needed = self.largest.saturating_mul(capacity.slots as u64);
        let is_memory_scarce = needed > capacity.memory;
        if let Some(member) = self.find(who) {
            if !member.is_aside {
                member.capacity = capacity;
                member.is_memory_scarce = is_memory_scarce;
            }
            return;
        }
        self.members.push(Member {
            who,
            machine,
            capacity,
            is_aside: false,
            assigned: 0,
            memory_in_use: 0,
            is_memory_scarce,
            batch: Vec::new(),
            is_passed_over: false,
            is_filled_up: true,
        });
    }

    /// Lets an executor go.
    pub(super) fn leave(&mut self, who: ExecutorId) {
        self.members.retain(|member| member.who != who);
    }

    /// Lets no executor of this machine have anything more, and says who they are. One that comes there later is another.
    pub(super) fn set_aside(&mut self, machine: &MachineName) -> Vec<ExecutorId> {
        let members = self.members.iter_mut();
        let own = members.filter(|member| member.machine == *machine && !member.is_aside);
        let aside = own.map(|member| {
            member.is_aside = true;
            member.capacity.slots = 0;
            member.who
        });
        aside.collect()
    }

    /// The machines of those who may be assigned something, each with the memory that an attempt may take there.
    pub(super) fn machines(&self) -> Vec<(MachineName, u64)> {
        let members = self.members.iter();
        let there = members.filter(|member| member.capacity.slots > 0);
        let machines = there.map(|member| {
            let memory = match member.is_memory_scarce {
                true => member.capacity.memory,
                false => u64::MAX,
            };
            (member.machine.clone(), memory)
        });
        machines.collect()
    }

    /// Where an executor is, unless it is set aside or gone.
    pub(super) fn machine_of(&self, who: ExecutorId) -> Option<&MachineName> {
        let mut members = self.members.iter();
        let found = members.find(|member| member.who == who && !member.is_aside)?;
        Some(&found.machine)
    }

    /// Tells whether an executor is there, set aside or not.
    pub(super) fn knows(&self, who: ExecutorId) -> bool {
        self.members.iter().any(|member| member.who == who)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Who is there.
    pub(super) fn ids(&self) -> impl Iterator<Item = ExecutorId> + use<'_> {
        self.members.iter().map(|member| member.who)
    }

    /// How many attempts run at the same time, at most.
    pub(super) fn slots(&self) -> usize {
        let slots = self.members.iter().map(|member| member.capacity.slots);
        slots.sum()
    }

    /// How many attempts may lie ready, if `each` of them may for every slot.
    pub(super) fn ahead(&self, each: usize) -> usize {
        let members = self.members.iter();
        members.map(|member| member.ahead(each)).sum()
    }

    /// Puts an attempt into the batch that an executor is assigned in this turn.
    pub(super) fn assign(&mut self, who: ExecutorId, assignment: Assignment) {
        if let Some(member) = self.find(who) {
            member.assigned += 1;
            member.memory_in_use += assignment.memory;
            member.batch.push(assignment);
        }
    }

    /// An executor that has room for an attempt of so much memory, while nobody has anything to do.
    pub(super) fn idle_with(&self, memory: u64) -> Option<ExecutorId> {
        let mut members = self.members.iter();
        let found = members.find(|member| member.takes(memory, false))?;
        Some(found.who)
    }

    /// Tells whether somebody has less to do than it could.
    pub(super) fn have_idle(&self) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.assigned < member.capacity.slots)
    }

    /// Notes that an executor does not have one of its attempts any more.
    pub(super) fn release(&mut self, who: ExecutorId, memory: u64) {
        if let Some(member) = self.find(who) {
            member.assigned -= 1;
            member.memory_in_use -= memory;
        }
    }

    /// Forgets what was found in the turn before. Whoever has more ready than `least_ahead` for each slot gets nothing.
    pub(super) fn begin_turn(&mut self, least_ahead: usize) {
        for member in &mut self.members {
            member.is_passed_over = false;
            let least = member.capacity.slots + member.ahead(least_ahead);
            member.is_filled_up = member.assigned <= least;
        }
    }

    /// The executor that has least to do for its slots, of those that may be assigned more in this turn.
    pub(super) fn most_idle(&mut self, each_ahead: usize) -> Option<&mut Member> {
        let members = self.members.iter_mut();
        members
            .filter(|member| !member.is_passed_over && member.has_room(each_ahead))
            .min_by(|a, b| {
                let load = |own: &Member, other: &Member| own.assigned * other.capacity.slots;
                load(a, b).cmp(&load(b, a))
            })
    }

    /// What was assigned in this turn, to whom.
    pub(super) fn batches(&mut self) -> impl Iterator<Item = (ExecutorId, Vec<Assignment>)> {
        let members = self.members.iter_mut();
        members
            .filter(|member| !member.batch.is_empty())
            .map(|member| (member.who, std::mem::take(&mut member.batch)))
    }

    fn find(&mut self, who: ExecutorId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.who == who)
    }
}

impl Member {
    /// Tells whether an attempt of so much memory may be assigned to it now. One `may_wait` if it may lie ready there.
    pub(super) fn takes(&self, memory: u64, may_wait: bool) -> bool {
        let is_idle = self.assigned < self.capacity.slots;
        // An attempt that lies ready uses none, so memory matters only where it is scarce.
        if !self.is_memory_scarce {
            return is_idle || may_wait;
        }
        let left = self.capacity.memory.saturating_sub(self.memory_in_use);
        is_idle && memory <= left
    }

    /// Notes that nothing more was found for it in this turn.
    pub(super) fn pass_over(&mut self) {
        self.is_passed_over = true;
    }

    fn has_room(&self, each_ahead: usize) -> bool {
        self.is_filled_up && self.assigned < self.capacity.slots + self.ahead(each_ahead)
    }

    fn ahead(&self, each: usize) -> usize {
        (each * self.capacity.slots).min(MAX_AHEAD)
    }
}
