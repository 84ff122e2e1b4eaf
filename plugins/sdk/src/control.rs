//! How an attempt and its runner keep in touch.

use std::time::Duration;

use crate::host;

/// Tells how far the attempt is; the fraction, where known, is from 0 to 1.
pub fn progress(fraction: Option<f64>, message: &str) {
    host::progress(fraction, message);
}

/// Asks whether the runner wants to stop. A provider that works for long asks now and then, and answers
/// [`Error::stopped`](crate::Error::stopped).
pub fn stop_requested() -> bool {
    host::stop_requested()
}

/// The time until the attempt's deadline.
pub fn remaining() -> Duration {
    host::remaining()
}
