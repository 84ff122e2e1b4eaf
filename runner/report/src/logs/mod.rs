//! Logs and output of guests: of ended attempts, and [`LiveLines`], which follows the output of running ones.

mod entries;

use std::collections::{HashMap, HashSet};

use runner_model::TrialId;
use runner_model::log::Level;
use runner_model::recent_output::{MAX_RECENT, RecentOutput};
use runner_record::{InFlight, Live};

pub(crate) use self::entries::{JsonRecord, StoredLog, hash, without_records};
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
    /// Hashes of the lines that were passed on.
    lines: HashSet<u64>,
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
        let is_known = |line: &str| followed.lines.contains(&hash(&line));
        if entry.level.is_some() {
            // Records on standard error of a command have no fields in their lines.
            let fields = entry.fields.iter().map(|(name, value)| format!(" {name}={value}"));
            let whole = format!("{}{}", entry.text, fields.collect::<String>());
            let is_known = |text: &str| text.lines().all(is_known);
            return (!is_known(&whole) && !is_known(&entry.text)).then_some(entry);
        }
        let left = entry.text.lines().filter(|line| !is_known(message(line)));
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
            self.lines.insert(hash(&message(&line)));
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
