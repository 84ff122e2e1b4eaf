//! Output of running attempts, and `runner.log`.
