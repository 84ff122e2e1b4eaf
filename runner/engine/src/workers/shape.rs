//! [`Shape`]: the share of a session's slots and memory that one worker gets.

/// The slots of a worker, and the memory of all its guests in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) slots: u32,
    pub(crate) memory: u64,
}

/// Splits `jobs` slots and `memory` bytes among workers, at most one per core. Each gets at least `largest` bytes, the largest
/// limit of a provider.
pub(crate) fn shapes(jobs: u32, cores: u32, memory: u64, largest: u64) -> Vec<Shape> {
    let jobs = jobs.max(1);
    let fitting = memory.checked_div(largest).unwrap_or(u64::MAX);
    let workers = u64::from(cores.min(jobs)).min(fitting).max(1) as u32;
    let shape = |worker| Shape {
        slots: jobs / workers + u32::from(worker < jobs % workers),
        // Each attempt must fit, even if the machine has less memory than its limit.
        memory: (memory / u64::from(workers)).max(largest),
    };
    (0..workers).map(shape).collect()
}

#[cfg(test)]
mod tests {
    use super::{Shape, shapes};

    #[test]
    fn workers_share_jobs_and_memory() {
        let all = |jobs, memory| -> Vec<_> {
            let shapes = shapes(jobs, 2, memory, 60);
            let numbers = |shape: &Shape| (shape.slots, shape.memory);
            shapes.iter().map(numbers).collect()
        };
        assert_eq!(all(5, 200), [(3, 100), (2, 100)]);
        assert_eq!(all(1, 200), [(1, 200)]);
        // Two attempts with the largest limit do not fit, or not even one does.
        assert_eq!(all(4, 100), [(4, 100)]);
        assert_eq!(all(4, 10), [(4, 60)]);
    }
}
