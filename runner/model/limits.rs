//! [`Limits`]: what one attempt may use.

use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What one attempt may use. Every limit is always present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Caps the attempt's `timeout`, where the scenario or the command line sets it.
    pub time: Option<Duration>,
    /// Bytes of the test's input as JSON, of its configuration as JSON, and of standard input.
    pub input: u64,
    /// Bytes of all of the guest's memories together.
    pub memory: u64,
    /// Elements of all of the guest's tables together.
    pub table_elements: u64,
    /// Bytes of the plugin's file.
    pub file: u64,
    /// Bytes of a reply: its output, checks, metrics and texts together; for a plain command, of its standard output.
    pub reply: u64,
    /// Bytes of log messages and fields; what is over is dropped and counted.
    pub log: u64,
    /// Log records; what is over is dropped and counted.
    pub log_records: u64,
    /// Bytes kept of each of standard output and standard error, once from the start and once from the end.
    pub stdio: u64,
    /// Bytes of all artifacts together.
    pub artifacts: u64,
    /// How many artifacts.
    pub artifact_files: u64,
    /// HTTP requests.
    pub http_requests: u64,
    /// Bytes of one HTTP response's body.
    pub http_response: u64,
    /// Bytes that may be written to files in all; a file that grows without them and each new file, folder or link
    /// (4 KiB) count too. 0 leaves the guest without any place to write to.
    pub scratch: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: None,
            input: 4 * MIB,
            memory: 256 * MIB,
            table_elements: 1_000_000,
            file: 64 * MIB,
            reply: 4 * MIB,
            log: MIB,
            log_records: 10_000,
            stdio: 64 * KIB,
            artifacts: 64 * MIB,
            artifact_files: 100,
            http_requests: 100,
            http_response: 10 * MIB,
            scratch: 0,
        }
    }
}
