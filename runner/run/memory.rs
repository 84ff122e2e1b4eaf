//! How much memory attempts may be promised together.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Three quarters of what this process may use: the machine's memory, or its control group's if that is less.
pub(super) fn default_budget() -> u64 {
    let only_memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(only_memory);
    let group = system.cgroup_limits().map(|limits| limits.total_memory);
    let total = system.total_memory().min(group.unwrap_or(u64::MAX));
    // A system that does not tell must not keep every attempt from starting.
    if total == 0 { u64::MAX } else { total / 4 * 3 }
}
