//! Ascending numbers as ranges.

use std::ops::Range;

/// Adds a number to ascending ranges without their ends, unless they have it; none of theirs is greater.
pub fn add_to_ranges(ranges: &mut Vec<Range<u64>>, number: u64) {
    match ranges.last_mut() {
        Some(last) if last.end == number => last.end += 1,
        Some(last) if last.end > number => {}
        _ => ranges.push(number..number + 1),
    }
}
