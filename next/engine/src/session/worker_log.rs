//! [`WorkerLog`]: the lines of and about workers in `runner.log`.

use runner_model::protocol::LOG_LINE;
use runner_record::Owned;

/// Bytes of a session's lines about workers in `runner.log`, also if each attempt ends its worker.
const MAX_WORKER_LOG: usize = 4 << 20;

/// Lines of and about workers in `runner.log`.
pub(super) struct WorkerLog {
    bytes_left: usize,
}

impl WorkerLog {
    pub(super) fn new() -> Self {
        Self { bytes_left: MAX_WORKER_LOG }
    }

    pub(super) fn add(&mut self, owned: &Owned, line: &str) {
        if self.bytes_left == 0 {
            return;
        }
        owned.log(line);
        self.bytes_left = self.bytes_left.saturating_sub(line.len() + LOG_LINE);
        if self.bytes_left == 0 {
            owned.log(
                "the workers of this session have logged too much; their later lines are left out",
            );
        }
    }
}
