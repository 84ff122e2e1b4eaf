//! What a session takes of a machine on which others work as well.

use std::fmt;

use bytesize::ByteSize;

use super::planned::Plan;
use crate::{
    model::{MachineShare, cores, plural},
    record::RunId,
};

/// What a session does not get because others have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftToOthers {
    /// The run that has most of it, and how many others there are.
    by: (RunId, usize),
    /// What they have.
    taken: MachineShare,
    /// The cores that this session works with, where they are fewer than there are.
    cores: Option<usize>,
    /// The memory that its attempts may hold together, where it is less than they could.
    memory: Option<u64>,
}

impl Plan {
    /// What a session of it works with.
    pub fn share(&self) -> MachineShare {
        let trials = usize::try_from(self.trial_count()).unwrap_or(usize::MAX);
        MachineShare {
            cores: self.jobs().min(self.cores).min(trials),
            memory: self.most_memory().min(self.memory()),
        }
    }

    /// Leaves others what they work with, as far as nobody has said how much this session is to have; at least one core, and
    /// memory for the largest attempt.
    pub fn leave_to_others(&mut self, others: &[(RunId, MachineShare)]) -> Option<LeftToOthers> {
        let largest = others
            .iter()
            .max_by_key(|(_, share)| (share.cores, share.memory));
        let by = (largest?.0.clone(), others.len() - 1);
        let taken = others
            .iter()
            .fold(MachineShare::default(), |sum, (_, share)| MachineShare {
                cores: sum.cores.saturating_add(share.cores),
                memory: sum.memory.saturating_add(share.memory),
            });
        let mut left = LeftToOthers {
            by,
            taken,
            cores: None,
            memory: None,
        };
        let wanted = self.share();
        if self.options.jobs.is_none() && self.options.workers.is_none() {
            let free = cores().saturating_sub(taken.cores).max(1);
            if free < wanted.cores {
                left.cores = Some(free);
            }
            self.cores = free;
        }
        let free = self.memory().saturating_sub(taken.memory);
        let free = free.max(self.largest_attempt());
        if self.options.memory.is_none() && free < self.share().memory {
            self.memory = free;
            left.memory = Some(free);
        }
        (left.cores.is_some() || left.memory.is_some()).then_some(left)
    }

    /// What the attempts that run at once may hold together, if each holds all that it may.
    pub(super) fn most_memory(&self) -> u64 {
        let limits = self.providers.iter().flatten();
        let largest = limits.map(|provider| provider.limits.memory).max();
        let most = largest
            .unwrap_or_default()
            .saturating_mul(self.jobs() as u64);
        let graders = self.graders.iter().flatten().map(|grader| {
            let slots = self.grader_concurrency(grader) as u64;
            grader.plugin.limits.memory.saturating_mul(slots)
        });
        graders.fold(most, u64::saturating_add)
    }

    /// The most that one attempt of a provider or a grader may hold.
    fn largest_attempt(&self) -> u64 {
        let providers = self.providers.iter().flatten();
        let graders = self.graders.iter().flatten().map(|grader| &grader.plugin);
        let limits = providers.chain(graders).map(|plugin| plugin.limits.memory);
        limits.max().unwrap_or_default()
    }
}

impl fmt::Display for LeftToOthers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            by: (run, more),
            taken,
            cores: own_cores,
            memory,
        } = self;
        let others = match more {
            0 => format!("run `{run}`"),
            more => format!("run `{run}` and {}", plural(*more as u64, "other")),
        };
        let works = if *more == 0 { "works" } else { "work" };
        let mut parts = Vec::new();
        if let Some(own) = own_cores {
            let all = plural(cores() as u64, "core");
            parts.push(format!(
                "{own} of {all}, because {others} {works} with {}; `--jobs` says how many attempts run at once all the same",
                taken.cores
            ));
        }
        if let Some(memory) = memory {
            parts.push(format!(
                "{} of memory, because attempts of {others} may hold {}; `memory` of `[run]` says how much all the same",
                ByteSize(*memory),
                ByteSize(taken.memory)
            ));
        }
        write!(
            formatter,
            "this run works with {}",
            parts.join(", and with ")
        )
    }
}
