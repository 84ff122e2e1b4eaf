//! How values stand in SQLite.

use jiff::Timestamp;

pub(in crate::record) fn instant(instant: Timestamp) -> String {
    format!("{instant:.3}")
}

pub(in crate::record) fn parse_instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// SQLite has no unsigned numbers.
pub(in crate::record) fn signed(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
