//! What guests have said in their attempts.

use owo_colors::OwoColorize as _;
use serde_json::{Value, json};

use super::{
    failure,
    format::{self, pretty},
};
use crate::record::{Row, RunEntry};

/// What was said in one attempt.
pub struct Said {
    /// The attempt.
    pub row: Row<'static>,
    /// Its log, a JSON object on each line.
    pub log: String,
    /// Its standard output, where that is not the reply itself.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Each attempt with what was said in it.
pub fn said_text(attempts: &[Said]) -> String {
    let attempts: Vec<_> = attempts.iter().map(Said::text).collect();
    attempts.join("\n\n")
}

/// One document with what was said.
pub fn said_json(run: &RunEntry, attempts: &[Said]) -> String {
    let attempts: Vec<_> = attempts.iter().map(Said::json).collect();
    pretty(&json!({ "v": 1, "run": run.id.as_str(), "attempts": attempts }))
}

impl Said {
    fn text(&self) -> String {
        let mut text = failure::head(&self.row);
        let log: Vec<_> = self.log.lines().map(record).collect();
        for (name, lines) in [
            ("log", log.join("\n")),
            ("stdout", self.stdout.clone()),
            ("stderr", self.stderr.clone()),
        ] {
            if lines.is_empty() {
                continue;
            }
            text += &format!("\n  {}", name.dimmed());
            // A guest begins no line of its own.
            for line in format::visible(&lines).lines() {
                text += &format!("\n    {line}");
            }
        }
        if self.log.is_empty() && self.stdout.is_empty() && self.stderr.is_empty() {
            text += &format!("\n  {}", "nothing was said".dimmed());
        }
        text
    }

    fn json(&self) -> Value {
        let log = self.log.lines();
        let log: Vec<Value> = log
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        json!({
            "trial": self.row.trial,
            "attempt": self.row.attempt,
            "outcome": self.row.outcome.as_str(),
            "log": log,
            "stdout": self.stdout,
            "stderr": self.stderr,
        })
    }
}

/// A log record on one line: `info message key=value`.
fn record(line: &str) -> String {
    let Ok(record) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let mut words = vec![text("level"), text("message")];
    for (name, value) in record["fields"].as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .map_or_else(|| format::compact(value), str::to_owned);
        words.push(format!("{name}={value}"));
    }
    format::visible_line(&words.join(" "))
}
