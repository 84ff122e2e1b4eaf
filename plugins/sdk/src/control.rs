//! Progress, stop requests and the deadline of an attempt.

use std::time::Duration;

use crate::{Metric, host};

/// Reports the progress of the attempt. `fraction` is from 0 to 1, `None` if it is unknown.
pub fn progress(fraction: Option<f64>, message: &str) {
    host::progress(fraction, message);
}

/// Returns whether the runner requests a stop. A provider that runs for long should check this repeatedly, and return
/// [`Error::stopped`](crate::Error::stopped).
pub fn stop_requested() -> bool {
    host::stop_requested()
}

/// Returns the time until the attempt's deadline.
pub fn remaining() -> Duration {
    host::remaining()
}

/// Adds metrics to the attempt, which count even if it fails. Pass only what was used since the last report. A metric of the reply
/// with the same name is ignored.
///
/// Returns the limit of the attempt that is used up, such as `total_tokens`. Further requests then fail, so the provider should end.
pub fn report_usage(metrics: impl IntoIterator<Item = Metric>) -> Option<String> {
    host::report_usage(metrics.into_iter().collect())
}
