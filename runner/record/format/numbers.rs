//! How numbers are written into rows and manifests.

use std::time::Duration;

/// JSON has no word for what is not finite; such a number is left out.
pub(in crate::record) fn finite(number: Option<f64>) -> Option<f64> {
    number.filter(|number| number.is_finite())
}

/// Milliseconds with three decimals: what is finer is noise, and makes rows long.
pub(in crate::record) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

pub(in crate::record) fn some_milliseconds(duration: Duration) -> Option<f64> {
    (!duration.is_zero()).then(|| milliseconds(duration))
}
