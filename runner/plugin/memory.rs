//! How much memory there is.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Three quarters of what this process may use: the machine's memory, or its control group's if that is less.
pub fn most_of_the_memory() -> u64 {
    let only_memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let Ok(system) = System::new_with_specifics(only_memory) else {
        // A system that does not tell must not keep every attempt from starting.
        return u64::MAX;
    };
    let group = system.cgroup_limits().map(|limits| limits.total_memory);
    let total = system.total_memory().min(group.unwrap_or(u64::MAX));
    total / 4 * 3
}
