//! A run while somebody works on it, and what was in flight when a process died.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Output, format, runs,
    table::{Cell, Column, Table},
};
use crate::{
    model::Counts,
    record::WaitReason,
    view::{
        AttemptName, ComingAttempt, Death, InFlightAttempt, LiveSession, PlacedAttempt, RunActivity,
    },
};

/// How many attempts in flight are named.
const MAX_NAMED: usize = 10;

impl Death {
    /// The attempts: `a@echo#1, b@echo#1 (attempt 2), c@echo#1 (graded by judge) and 3 more`.
    pub(super) fn text(&self) -> String {
        let executed = self.attempts.iter().map(AttemptName::text);
        let graded = self.graded.iter().map(|graded| match &graded.grader {
            Some(grader) => format!("{} (graded by {grader})", graded.trial),
            None => format!("{} (graded)", graded.trial),
        });
        let named = executed.chain(graded).collect::<Vec<_>>().join(", ");
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
        let RunActivity {
            in_flight,
            waiting,
            more_waiting,
            without_workers_since,
            paused: _,
        } = &self.activity;
        let in_flight = in_flight.iter().map(InFlightAttempt::text);
        fields.extend(named("in flight", in_flight, 0));
        let for_workers = without_workers_since.map(|since| {
            let started = "`runner worker --engine URL` starts one";
            format!("{}; {started}", for_workers(since))
        });
        let trials = waiting.iter().map(ComingAttempt::text);
        let waiting: Vec<_> = for_workers.into_iter().chain(trials).collect();
        fields.extend(named("waiting", waiting.into_iter(), *more_waiting));
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

/// For what a run waits that has no worker.
fn for_workers(since: Timestamp) -> String {
    format!("for workers: none is there since {}", format::local(since))
}

/// The first of some things, and how many more there are.
fn named(
    name: &'static str,
    mut things: impl ExactSizeIterator<Item = String>,
    beyond: u64,
) -> Vec<(&'static str, String)> {
    let mut name = name;
    let first = things.by_ref().take(MAX_NAMED);
    let mut fields: Vec<_> = first
        .map(|text| (std::mem::take(&mut name), text))
        .collect();
    let more = things.len() as u64 + beyond;
    if more > 0 {
        fields.push(("", format!("… and {} more", format::count(more))));
    }
    fields
}

/// Prints what is in flight and what waits, while a run goes on.
pub fn print_activity(activity: &RunActivity, output: &Output) {
    let text = activity_text(activity, output.talk_columns());
    output.talk(&format!("\n{text}\n"));
}

/// A table of what is in flight and of what waits; it has at most `width` characters.
fn activity_text(activity: &RunActivity, width: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new("trial").cut(1, 12),
        Column::new("attempt").go(2),
        Column::new("for").right().go(0),
        Column::new("doing").cut(1, 12),
        Column::new("for").right(),
    ]);
    for attempt in &activity.in_flight {
        let (doing, elapsed) = attempt.doing();
        table.row([
            format::visible_line(&attempt.place.name.trial).into(),
            attempt.place.count().into(),
            attempt
                .elapsed
                .map(format::duration)
                .unwrap_or_default()
                .into(),
            Cell::new(doing),
            elapsed.map(format::duration).unwrap_or_default().into(),
        ]);
    }
    for attempt in &activity.waiting {
        table.row([
            format::visible_line(&attempt.place.name.trial).into(),
            attempt.place.count().into(),
            "".into(),
            Cell::new(format!("waits, {}", attempt.why())),
            attempt
                .left_text()
                .unwrap_or_else(|| "now".to_owned())
                .into(),
        ]);
    }
    let mut lines = Vec::new();
    if let Some(paused) = &activity.paused {
        lines.push(format!("paused {}", runs::paused(paused)));
    }
    if let Some(since) = activity.without_workers_since {
        lines.push(format!("waits {}", for_workers(since)));
    }
    if activity.in_flight.is_empty() {
        lines.push("nothing is in flight".to_owned());
    }
    if !activity.in_flight.is_empty() || !activity.waiting.is_empty() {
        lines.push(table.fitted(width));
    }
    if activity.more_waiting > 0 {
        lines.push(format!(
            "… and {} more wait",
            format::count(activity.more_waiting)
        ));
    }
    lines.join("\n")
}

impl InFlightAttempt {
    /// What it is doing, and for how long.
    fn doing(&self) -> (String, Option<Duration>) {
        let doing = match (self.phase, &self.what) {
            (None, _) => String::new(),
            (Some(_), Some(what)) => format::visible_line(what),
            (Some(_), None) => "computing".to_owned(),
        };
        let doing = match (self.is_grading, &self.grader) {
            (false, _) => doing,
            (true, None) => "graded".to_owned(),
            (true, Some(grader)) => {
                format!("graded by {}: {doing}", format::visible_line(grader))
            }
        };
        (doing, self.phase_elapsed)
    }

    /// `a@echo#1 (attempt 2 of 3) for 3.2 s: http 127.0.0.1:80 for 3.1 s`
    fn text(&self) -> String {
        let elapsed = |elapsed: Option<Duration>| {
            let text = elapsed.map(|elapsed| format!(" for {}", format::duration(elapsed)));
            text.unwrap_or_default()
        };
        let mut text = format!("{}{}", self.place.text(), elapsed(self.elapsed));
        let (doing, since) = self.doing();
        if !doing.is_empty() {
            text += &format!(": {doing}");
            // What it does since it began is said for as long.
            if since != self.elapsed {
                text += &elapsed(since);
            }
        }
        text
    }
}

impl ComingAttempt {
    fn why(&self) -> String {
        match (self.why, &self.place.provider) {
            (WaitReason::Retry, _) => "retry".to_owned(),
            (WaitReason::RateLimit, Some(provider)) => format!("rate limit of {provider}"),
            (WaitReason::RateLimit, None) => "rate limit".to_owned(),
        }
    }

    /// `a@echo#1 (attempt 2 of 3): retry in 3.2 s`
    fn text(&self) -> String {
        let (place, why) = (self.place.text(), self.why());
        match self.left_text() {
            Some(left) => format!("{place}: {why} in {left}"),
            None => format!("{place}: {why}, due now"),
        }
    }

    /// In how long it begins; `None` if its time will have come before anybody has read that.
    fn left_text(&self) -> Option<String> {
        (self.left >= Duration::from_millis(1)).then(|| format::duration(self.left))
    }
}

impl PlacedAttempt {
    /// Which of how many it is, where it could be another: `2 of 3`.
    fn count(&self) -> String {
        let number = self.name.number;
        match self.attempts {
            Some(attempts) if attempts > 1 && number <= attempts => {
                format!("{number} of {attempts}")
            }
            _ if number > 1 => number.to_string(),
            _ => String::new(),
        }
    }

    fn text(&self) -> String {
        match self.count().as_str() {
            "" => self.name.trial.clone(),
            count => format!("{} (attempt {count})", self.name.trial),
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{AttemptName, ComingAttempt, PlacedAttempt, RunActivity, activity_text};
    use crate::record::WaitReason;

    #[test]
    fn an_attempt_whose_time_has_come_is_due_now() {
        let coming = |why, left| ComingAttempt {
            place: PlacedAttempt {
                name: AttemptName {
                    trial: "a@echo#1".to_owned(),
                    number: 2,
                },
                test: None,
                provider: Some("echo".to_owned()),
                repeat: None,
                attempts: Some(3),
            },
            why,
            until: Timestamp::UNIX_EPOCH,
            left,
        };
        let retry = coming(WaitReason::Retry, Duration::from_secs(3));
        assert_eq!(retry.text(), "a@echo#1 (attempt 2 of 3): retry in 3 s");
        let paced = coming(WaitReason::RateLimit, Duration::from_nanos(300));
        assert_eq!(
            paced.text(),
            "a@echo#1 (attempt 2 of 3): rate limit of echo, due now"
        );
        let activity = RunActivity {
            waiting: vec![paced, retry],
            ..RunActivity::default()
        };
        let text = activity_text(&activity, None);
        let ends: Vec<_> = text.lines().skip(2).collect();
        assert!(
            ends[0].ends_with("waits, rate limit of echo  now"),
            "{text}"
        );
        assert!(
            ends[1].ends_with("waits, retry               3 s"),
            "{text}"
        );
    }
}
