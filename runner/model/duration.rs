//! Durations as people write them: `1h30m`, and ages: `30d`.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// The longest duration that a text may name: longer ones are slips, and sums of these cannot overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads a duration such as `200ms`, `10s` or `1h30m`.
///
/// # Errors
///
/// Says what is wrong with the text, as the rest of a sentence that begins with it.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let duration: SignedDuration = text.parse().map_err(|_| "is not a duration")?;
    let duration = Duration::try_from(duration).map_err(|_| "is negative")?;
    if duration > MAX_DURATION {
        return Err("is longer than a year");
    }
    Ok(duration)
}

/// Reads an age such as `30d` or `12h`, whose days have 24 hours each.
///
/// # Errors
///
/// Says what was expected instead.
pub fn parse_age(text: &str) -> Result<Duration, &'static str> {
    let span: Span = text
        .parse()
        .map_err(|_| "expected an age such as `30d` or `12h`")?;
    span.to_duration(SpanRelativeTo::days_are_24_hours())
        .ok()
        .and_then(|age| age.try_into().ok())
        .ok_or("expected an age in weeks, days, hours or less")
}
