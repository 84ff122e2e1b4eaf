//! Times and durations. Nothing here reads a clock.

use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};
use std::{fmt, sync::OnceLock};

use jiff::{Timestamp, Zoned, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::enum_text::{serde_text, text_schema};

/// A point in time in milliseconds since 1970, UTC. Written as RFC 3339 with three digits: `2026-11-20T09:18:04.015Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(i64);

/// The last time of `jiff`, which is in the year 9999 in every time zone.
const MAX_TIME: i64 = 253_402_207_200_000;

impl Time {
    /// Converts milliseconds since 1970, clamped to the years 1970 to 9999.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, MAX_TIME))
    }

    /// Returns milliseconds since 1970.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Parses RFC 3339, and cuts digits below the millisecond.
    pub fn parse(text: &str) -> Option<Self> {
        let time: Timestamp = text.parse().ok()?;
        (0..=MAX_TIME).contains(&time.as_millisecond()).then(|| Self(time.as_millisecond()))
    }

    /// Returns the time from `earlier` to `self`, or zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_millis(since.as_millis().try_into().unwrap_or(MAX_TIME))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_millis(
            self.0.saturating_add(duration.as_millis().try_into().unwrap_or(MAX_TIME)),
        )
    }
}

/// The zone of [`show_time`]. UTC until it is set.
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Makes [`show_time`] use the zone of the user, by `TZ` or else by the system.
pub fn use_local_zone() {
    // Only the first call counts.
    let _ = ZONE.set(TimeZone::system());
}

/// Formats a time for people, with a format of `strftime`.
pub fn show_time(time: Time, format: &str) -> String {
    let zone = ZONE.get().cloned().unwrap_or(TimeZone::UTC);
    let zoned = Zoned::new(Timestamp::from_millisecond(time.0).unwrap_or_default(), zone);
    zoned.strftime(format).to_string()
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| formatter.write_str(text))
    }
}

impl Time {
    /// Calls `write` with the time's text. Each row has a time, and a general printer takes ten times as long.
    fn with_text<T>(self, write: impl FnOnce(&str) -> T) -> T {
        let days = self.0 / 86_400_000;
        let millis = self.0 % 86_400_000;
        // `civil_from_days` of https://howardhinnant.github.io/date_algorithms.html, for days from 1970 on. Its years start
        // in March.
        let days = days + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);

        let mut text = *b"0000-00-00T00:00:00.000Z";
        let seconds = millis / 1_000;
        for (at, digits, mut number) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, seconds / 3_600),
            (14, 2, seconds / 60 % 60),
            (17, 2, seconds % 60),
            (20, 3, millis % 1_000),
        ] {
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit += (number % 10) as u8;
                number /= 10;
            }
        }
        write(std::str::from_utf8(&text).unwrap_or_default())
    }
}

text_schema!(Time, "format": "date-time", "description": "A time in UTC.");

serde_text!(
    Time,
    |text| Time::parse(text).ok_or("expected a time such as 2026-11-20T09:18:04.015Z"),
    |this, serializer| this.with_text(|text| serializer.serialize_str(text))
);

/// A duration in microseconds.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub struct Micros(pub u64);

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self(duration.as_micros().try_into().unwrap_or(u64::MAX))
    }
}

impl From<Micros> for Duration {
    fn from(micros: Micros) -> Self {
        Self::from_micros(micros.0)
    }
}

/// Time of a run in microseconds since the start of its session, without pauses and suspensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunTime(pub u64);

impl Add<Micros> for RunTime {
    type Output = Self;

    fn add(self, duration: Micros) -> Self {
        Self(self.0.saturating_add(duration.0))
    }
}

impl Sub for RunTime {
    type Output = Micros;

    /// Returns zero if `earlier` is later.
    fn sub(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

/// A time between two updates of a [`RunClock`] that shows a suspension: a running process updates it more often.
const GAP: Duration = Duration::from_secs(1);

/// Computes [`RunTime`] from a monotonic clock. Subtracts pauses, and gaps in which SIGSTOP or a frozen control group
/// suspended the process. Must be updated several times a second.
#[derive(Clone, Debug, Default)]
pub struct RunClock {
    updated: Duration,
    /// Processor time of the process, and the time when it was read.
    cpu: (Duration, Duration),
    running: Duration,
    suspended: Duration,
    is_paused: bool,
}

impl RunClock {
    /// Starts a clock.
    pub fn new(now: Duration) -> Self {
        Self { updated: now, ..Self::default() }
    }

    /// Updates the clock. `cpu` returns the processor time of the process, and is called at most ten times a second.
    pub fn look(&mut self, now: Duration, cpu: impl FnOnce() -> Duration) -> RunTime {
        let gap = now.saturating_sub(self.updated);
        let mut is_suspended = gap > GAP;
        if now.saturating_sub(self.cpu.1) > GAP / 10 {
            let cpu = cpu();
            // A process that computed for half of the gap was not suspended.
            is_suspended &= cpu.saturating_sub(self.cpu.0) < gap / 2;
            self.cpu = (cpu, now);
        }
        if is_suspended || self.is_paused {
            self.suspended += gap;
        } else {
            self.running += gap;
        }
        self.updated = self.updated.max(now);
        self.run_time()
    }

    /// Starts or ends a pause, as of the last update.
    pub fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Returns the run time of the last update.
    pub fn run_time(&self) -> RunTime {
        RunTime(Micros::from(self.running).0)
    }

    /// Returns the time that did not count, as of the last update.
    pub fn suspended(&self) -> Duration {
        self.suspended
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{RunClock, RunTime, Time};

    #[test]
    fn run_time_excludes_pauses_and_suspensions() {
        let ms = Duration::from_millis;
        let mut clock = RunClock::new(ms(5_000));
        let mut look = |at, cpu| clock.look(ms(at), || ms(cpu)).0 / 1000;
        assert_eq!(look(5_900, 800), 900);
        // The process was suspended for an hour after a little computing.
        assert_eq!(look(3_605_900, 900), 900);
        assert_eq!(look(3_606_000, 950), 1_000);
        // It computed for two seconds without an update.
        assert_eq!(look(3_608_000, 2_900), 3_000);
        clock.pause(true);
        assert_eq!(clock.look(ms(3_608_500), || ms(2_900)), RunTime(3_000_000));
        assert_eq!(clock.look(ms(3_618_500), || ms(2_900)), RunTime(3_000_000));
        clock.pause(false);
        assert_eq!(clock.look(ms(3_618_600), || ms(2_900)), RunTime(3_100_000));
        assert_eq!(clock.suspended(), ms(3_600_000 + 10_500));
    }

    #[test]
    fn written_times_are_those_of_jiff() {
        // Steps of some 11 days, at another time of day each.
        for millis in (0..super::MAX_TIME).step_by(950_400_123) {
            let printed = jiff::Timestamp::from_millisecond(millis).unwrap().strftime("%FT%T%.3fZ");
            assert_eq!(Time::from_millis(millis).to_string(), printed.to_string());
        }
    }

    #[test]
    fn a_time_always_has_three_digits() {
        for text in
            ["2026-11-20T09:18:04.015Z", "1970-01-01T00:00:00.000Z", "9999-12-30T22:00:00.000Z"]
        {
            assert_eq!(Time::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Time::parse("2026-11-20T10:18:04+01:00").unwrap().to_string(),
            "2026-11-20T09:18:04.000Z"
        );
        assert_eq!(Time::parse("1969-12-31T23:59:59Z"), None);
        assert_eq!(Time::parse("yesterday"), None);
    }
}
