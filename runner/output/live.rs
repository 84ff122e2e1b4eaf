//! A run while somebody works on it, and what was in flight when a process died.

use std::time::Duration;

use super::format;
use crate::{
    model::Counts,
    view::{AttemptName, Death, InFlightAttempt, LiveSession},
};

/// How many attempts in flight are named.
const MAX_NAMED: usize = 10;

impl Death {
    /// The attempts: `a@echo#1, b@echo#1 (attempt 2) and 3 more`.
    pub(super) fn text(&self) -> String {
        let named = self.attempts.iter().map(|attempt| attempt.name.text());
        let named = named.collect::<Vec<_>>().join(", ");
        match self.more {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }
}

impl LiveSession {
    /// Each thing with its name, as `show` has them.
    pub(super) fn fields(&self, counts: Counts) -> Vec<(&'static str, String)> {
        let since = format::local(self.since);
        let mut fields = vec![(
            "running",
            format!("for {}, since {since}", format::duration(self.elapsed)),
        )];
        if let Some(pid) = self.pid {
            let host = self.host.as_ref().map(|host| format!(" on {host}"));
            fields.push(("owner", format!("pid {pid}{}", host.unwrap_or_default())));
        }
        fields.push(("progress", self.progress(counts)));
        let mut name = "in flight";
        for attempt in self.in_flight.iter().take(MAX_NAMED) {
            fields.push((std::mem::take(&mut name), attempt.text()));
        }
        let more = self.in_flight.len().saturating_sub(MAX_NAMED);
        if more > 0 {
            fields.push(("", format!("… and {more} more")));
        }
        fields
    }

    /// How far it is, how fast this session goes, and how long that would take.
    fn progress(&self, counts: Counts) -> String {
        let done = counts.done();
        let part = done * 100 / counts.planned.max(1);
        let mut text = format!(
            "{} of {} ({part} %)",
            format::count(done),
            format::count(counts.planned)
        );
        let rate = self.done as f64 / self.elapsed.as_secs_f64();
        if self.done > 0 && rate.is_finite() {
            let left = counts.planned.saturating_sub(done) as f64 / rate;
            let left = Duration::try_from_secs_f64(left.ceil()).unwrap_or(Duration::MAX);
            text += &format!(", {rate:.1}/s, about {} left", format::duration(left));
        }
        text
    }
}

impl InFlightAttempt {
    fn text(&self) -> String {
        let elapsed = self
            .elapsed
            .map(|elapsed| format!(" for {}", format::duration(elapsed)));
        format!("{}{}", self.name.text(), elapsed.unwrap_or_default())
    }
}

impl AttemptName {
    fn text(&self) -> String {
        match self.number {
            1 => self.trial.clone(),
            number => format!("{} (attempt {number})", self.trial),
        }
    }
}
