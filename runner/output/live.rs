//! [`Live`]: what is seen of a run while somebody works on it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::format;
use crate::{
    model::Counts,
    record::{Holder, RunEntry},
};

/// How many attempts in flight are named.
const MAX_NAMED: usize = 10;

/// What is seen of a run while somebody works on it.
#[derive(Debug, Default)]
pub struct Live {
    /// Who works on it.
    pub owner: Holder,
    /// Since when.
    pub since: Timestamp,
    /// How many trials this session has done.
    pub done: u64,
    /// The attempts that have begun and not ended.
    pub in_flight: Vec<Attempting>,
}

/// What a session was executing when its process died.
#[derive(Debug)]
pub struct Death {
    /// The session.
    pub session: u32,
    /// Some of the attempts.
    pub attempts: Vec<Attempting>,
    /// How many more there were.
    pub more: usize,
}

impl Death {
    /// How many attempts are named at most.
    pub const MAX_NAMED: usize = 5;

    /// The attempts: `a@echo#1, b@echo#1 (attempt 2) and 3 more`.
    pub(super) fn text(&self) -> String {
        let named = self.attempts.iter().map(Attempting::name);
        let named = named.collect::<Vec<_>>().join(", ");
        match self.more {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }
}

/// An attempt that is being executed.
#[derive(Debug)]
pub struct Attempting {
    /// Its trial, or the trial's place in the plan where its name cannot be found.
    pub trial: String,
    /// Which attempt.
    pub number: u32,
    /// When it began, if that was written down.
    pub begun_at: Option<Timestamp>,
}

impl Live {
    /// Each thing with its name, as `show` has them.
    pub(super) fn fields(&self, run: &RunEntry, now: Timestamp) -> Vec<(&'static str, String)> {
        let elapsed = between(self.since, now);
        let since = format::local(self.since);
        let mut fields = vec![(
            "running",
            format!("for {}, since {since}", format::duration(elapsed)),
        )];
        if let Some(pid) = self.owner.pid {
            let host = self.owner.host.as_ref().map(|host| format!(" on {host}"));
            fields.push(("owner", format!("pid {pid}{}", host.unwrap_or_default())));
        }
        fields.push(("progress", self.progress(run.counts, elapsed)));
        let mut name = "in flight";
        for attempt in self.in_flight.iter().take(MAX_NAMED) {
            fields.push((std::mem::take(&mut name), attempt.text(now)));
        }
        let more = self.in_flight.len().saturating_sub(MAX_NAMED);
        if more > 0 {
            fields.push(("", format!("… and {more} more")));
        }
        fields
    }

    pub(super) fn json(&self, now: Timestamp) -> Value {
        let in_flight = self.in_flight.iter();
        let in_flight: Vec<_> = in_flight.map(|attempt| attempt.json(now)).collect();
        json!({
            "pid": self.owner.pid,
            "host": self.owner.host,
            "since": self.since.to_string(),
            "elapsed_ms": format::millis(between(self.since, now)),
            "done": self.done,
            "in_flight": in_flight,
        })
    }

    /// How far it is, how fast this session goes, and how long that would take.
    fn progress(&self, counts: Counts, elapsed: Duration) -> String {
        let done = counts.done();
        let part = done * 100 / counts.planned.max(1);
        let mut text = format!(
            "{} of {} ({part} %)",
            format::count(done),
            format::count(counts.planned)
        );
        let rate = self.done as f64 / elapsed.as_secs_f64();
        if self.done > 0 && rate.is_finite() {
            let left = counts.planned.saturating_sub(done) as f64 / rate;
            let left = Duration::try_from_secs_f64(left.ceil()).unwrap_or(Duration::MAX);
            text += &format!(", {rate:.1}/s, about {} left", format::duration(left));
        }
        text
    }
}

impl Attempting {
    fn text(&self, now: Timestamp) -> String {
        let elapsed = self.begun_at.map(|at| between(at, now));
        let elapsed = elapsed.map(|elapsed| format!(" for {}", format::duration(elapsed)));
        format!("{}{}", self.name(), elapsed.unwrap_or_default())
    }

    fn name(&self) -> String {
        match self.number {
            1 => self.trial.clone(),
            number => format!("{} (attempt {number})", self.trial),
        }
    }

    fn json(&self, now: Timestamp) -> Value {
        let elapsed = self.begun_at.map(|at| format::millis(between(at, now)));
        json!({ "trial": self.trial, "attempt": self.number, "elapsed_ms": elapsed })
    }
}

fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    let between = later.duration_since(earlier);
    between.try_into().unwrap_or_default()
}
