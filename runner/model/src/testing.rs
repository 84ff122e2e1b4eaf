//! What tests change in debug builds.

use std::{env, time::Duration};

/// Returns the value of an environment variable by which a test changes the program. Release builds have none.
pub fn test_setting(name: &str) -> Option<String> {
    cfg!(debug_assertions).then(|| env::var(name).ok()).flatten()
}

/// Returns the milliseconds in an environment variable that a test has set, or else the `limit`.
pub fn test_duration(name: &str, limit: Duration) -> Duration {
    let time = test_setting(name).and_then(|text| text.parse().ok());
    time.map_or(limit, Duration::from_millis)
}
