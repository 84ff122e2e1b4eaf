//! How the values of documents are written.

use std::{fmt::Display, path::Path, time::Duration};

use jiff::Timestamp;
use serde::Serializer;

use crate::record::RunPause;

/// Milliseconds with the microseconds behind the point.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// How long it is from one point in time to another; nothing if that is before.
pub(super) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    let between = later.duration_since(earlier);
    between.try_into().unwrap_or_default()
}

/// The same without the time that a session was paused.
pub fn worked_between(earlier: Timestamp, later: Timestamp, pauses: &[RunPause]) -> Duration {
    let paused = pauses.iter().map(|pause| pause.within(earlier, later));
    between(earlier, later).saturating_sub(paused.sum())
}

/// `#[serde(serialize_with)]` for durations: milliseconds.
pub(super) fn duration<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(millis(*duration))
}

/// The same for durations that may be missing.
pub(super) fn optional_duration<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_f64(millis(*duration)),
        None => serializer.serialize_none(),
    }
}

/// `#[serde(serialize_with)]` for paths. JSON has only text, so what of a path is no text is replaced.
pub(super) fn path<S: Serializer>(
    path: impl AsRef<Path>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.as_ref().to_string_lossy())
}

/// The same for paths that may be missing.
pub(super) fn optional_path<P: AsRef<Path>, S: Serializer>(
    path: &Option<P>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.serialize_str(&path.as_ref().to_string_lossy()),
        None => serializer.serialize_none(),
    }
}

/// `#[serde(serialize_with)]` for values that are written as they are shown.
pub(super) fn shown<S: Serializer>(value: impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&value)
}
