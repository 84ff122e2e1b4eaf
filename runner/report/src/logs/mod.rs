//! Logs and output of guests: of ended attempts, and [`LiveLines`], which follows the output of running ones.

mod entries;

use std::collections::{HashMap, HashSet};

use runner_model::recent_output::{MAX_RECENT, RecentOutput};
use runner_model::{TrialId, log::Level};
use runner_record::{InFlight, Live};
use runner_results::hash;

pub(crate) use self::entries::{JsonRecord, without_records};
pub use self::entries::{LogEntry, Reading, Stream};

/// The output of running attempts that was read.
#[derive(Default)]
pub struct LiveLines(HashMap<Attempt, FollowedOutput>);

/// An attempt of a trial's provider or grader.
#[derive(PartialEq, Eq, Hash)]
struct Attempt {
    trial: TrialId,
    grader: Option<String>,
    number: u32,
}

#[derive(Default)]
struct FollowedOutput {
    /// Bytes of output that were read or missed.
    bytes: u64,
    /// The start of a line that has no end yet.
    partial: String,
    /// Numbers of equal lines that were passed on and are not yet read in the logs, by their hash.
    lines: HashMap<u64, u32>,
    /// Whether the logs of the whole attempt were read.
    has_ended: bool,
}

impl LiveLines {
    /// Passes the attempts with new lines to `each`. A line `…` replaces output that was missed.
    pub fn read(&mut self, live: &Live, mut each: impl FnMut(&InFlight, Vec<String>)) {
        let running: HashSet<_> = live.in_flight.iter().map(Attempt::running).collect();
        // An attempt is in `live.json` for a moment after its row is written.
        self.0.retain(|attempt, followed| !followed.has_ended || running.contains(attempt));
        for one in &live.in_flight {
            if let Some(output) = &one.output {
                let lines = self.0.entry(Attempt::running(one)).or_default().read(output);
                if !lines.is_empty() {
                    each(one, lines);
                }
            }
        }
    }

    /// Removes the lines of an attempt's logs that were passed on while it ran. `None` if no line is left.
    pub fn rest(&mut self, mut entry: LogEntry) -> Option<LogEntry> {
        let attempt = Attempt {
            trial: entry.trial.clone(),
            grader: entry.grader.clone(),
            number: entry.attempt,
        };
        let Some(followed) = self.0.get_mut(&attempt) else { return Some(entry) };
        followed.has_ended = true;
        if entry.level.is_some() {
            // Records on standard error of a command have no fields in their lines.
            let fields = entry.fields.iter().map(|(name, value)| format!(" {name}={value}"));
            let whole = format!("{}{}", entry.text, fields.collect::<String>());
            let is_known = followed.remove_all(&whole) || followed.remove_all(&entry.text);
            return (!is_known).then_some(entry);
        }
        let left = entry.text.lines().filter(|line| !followed.remove(message(line)));
        entry.text = left.collect::<Vec<_>>().join("\n");
        (!entry.text.trim().is_empty()).then_some(entry)
    }
}

impl Attempt {
    fn running(one: &InFlight) -> Self {
        let InFlight { trial, grader, attempt, .. } = one;
        Self { trial: trial.clone(), grader: grader.clone(), number: *attempt }
    }
}

impl FollowedOutput {
    /// Removes a line that was passed on. Returns whether there was one.
    fn remove(&mut self, line: &str) -> bool {
        let count = self.lines.get_mut(&hash(&line)).filter(|count| **count > 0);
        count.map(|count| *count -= 1).is_some()
    }

    /// Removes the lines of a record if all of them were passed on. Returns whether they were.
    fn remove_all(&mut self, record: &str) -> bool {
        let mut counts = record.lines().map(|line| self.lines.get(&hash(&line)));
        let is_known = counts.all(|count| count.is_some_and(|count| *count > 0));
        for line in record.lines().filter(|_| is_known) {
            self.remove(line);
        }
        is_known
    }

    /// Returns the whole lines that were added since the last call.
    fn read(&mut self, output: &RecentOutput) -> Vec<String> {
        let RecentOutput { bytes, text } = output;
        let added = usize::try_from(bytes.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        if self.has_ended || added == 0 {
            return Vec::new();
        }
        self.bytes = *bytes;
        let mut lines = Vec::new();
        if added > text.len() {
            self.partial.clear();
            lines.push("…".to_owned());
        }
        self.partial += &text[text.ceil_char_boundary(text.len().saturating_sub(added))..];
        let whole = match self.partial.rfind('\n') {
            Some(last) => last + 1,
            None if self.partial.len() > MAX_RECENT => self.partial.len(),
            None => 0,
        };
        for line in self.partial.drain(..whole).as_str().lines() {
            let line = match JsonRecord::parse(line) {
                Some(JsonRecord { level, message }) => format!("{level}: {}", &*message),
                None => line.to_owned(),
            };
            *self.lines.entry(hash(&message(&line))).or_default() += 1;
            lines.push(line);
        }
        lines
    }
}

/// Returns the message of a log record's line, or the whole of another line.
fn message(line: &str) -> &str {
    let record = line.split_once(": ");
    let record = record.filter(|(level, _)| Level::parse(level).is_some());
    record.map_or(line, |(_, message)| message)
}

#[cfg(test)]
mod tests {
    use runner_record::Live;
    use serde_json::json;

    use super::{Level, LiveLines, LogEntry, Stream};

    #[test]
    fn repeated_lines_of_ended_attempts_are_shown() {
        let in_flight = serde_json::from_value(json!([{
            "trial": "a@p#1", "attempt": 1, "ms": 0, "phase": null, "since": "2026-11-20T10:00:00Z",
            "output": { "bytes": 13, "text": "x\nx\ninfo: r\nx" },
        }]))
        .unwrap();
        let live = Live { in_flight, ..Live::default() };
        let mut lines = LiveLines::default();
        let mut passed = Vec::new();
        lines.read(&live, |_, lines| passed.extend(lines));
        assert_eq!(passed, ["x", "x", "info: r"]);
        let mut rest = |level, text| {
            let entry = LogEntry::new(&live.in_flight[0].trial, 1, 1, Stream::Stdout, text);
            lines.rest(LogEntry { level, ..entry }).map(|entry| entry.text)
        };
        assert_eq!(rest(Some(Level::Info), "r"), None);
        assert_eq!(rest(Some(Level::Info), "r").as_deref(), Some("r"));
        assert_eq!(rest(None, "x\nx\nx\nx").as_deref(), Some("x\nx"));
    }
}
