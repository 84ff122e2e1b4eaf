//! Lines of the run's log. Lines over the provider's limit are dropped and counted.

use crate::host;

/// Severity of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each step.
    Trace,
    /// Details for debugging.
    Debug,
    /// Normal events.
    Info,
    /// An unexpected event that the provider handles.
    Warn,
    /// A failure.
    Error,
}

/// Logs a line with fields, each a name and a value.
pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    host::log(level, message, fields);
}

/// Logs at [`Level::Debug`].
pub fn debug(message: &str) {
    log(Level::Debug, message, &[]);
}

/// Logs at [`Level::Info`].
pub fn info(message: &str) {
    log(Level::Info, message, &[]);
}

/// Logs at [`Level::Warn`].
pub fn warn(message: &str) {
    log(Level::Warn, message, &[]);
}

/// Logs at [`Level::Error`].
pub fn error(message: &str) {
    log(Level::Error, message, &[]);
}
