//! `plugin run`.

use std::{path::Path, time::Duration};

use owo_colors::OwoColorize as _;
use serde_json::{Value, json};

use super::{
    Output,
    format::{self, pretty, quoted, visible, visible_line},
    grants,
    inspection::{Loaded, loaded_text},
    runs::dim_field,
    table::{Cell, Column, Table},
};
use crate::{
    model::{Attempt, AttemptError, Check, CheckVerdict, Denied, Grant, LogRecord, Metric},
    plugin::Heard,
    run::Rehearsed,
};

/// What came of calling a plugin.
pub struct RehearsalReport<'a> {
    /// The plugin's file.
    pub path: &'a Path,
    /// How it was loaded.
    pub loaded: Loaded,
    /// Its calls, at least one; the last one is shown.
    pub calls: &'a [Rehearsed],
    /// Whether a string that it replied is shown as it is.
    pub is_text: bool,
    /// Where its artifacts were written to.
    pub artifacts: Option<&'a Path>,
}

/// What a plugin asks for and is not granted, and the flags that would grant it.
pub fn requested_text(requests: &[&str], flags: &[String]) -> String {
    let requests = grants::listed(requests);
    match flags {
        [] => format!("requested, and not granted: {requests}"),
        flags => {
            let flags = visible_line(&flags.join(" "));
            format!("requested, and not granted: {requests}; `{flags}` grants it")
        }
    }
}

/// A line of what a plugin says while it runs; none for an empty one.
pub fn heard_line(heard: Heard<'_>) -> Option<String> {
    Some(match heard {
        Heard::Stdout(line) | Heard::Stderr(line) if line.trim().is_empty() => return None,
        Heard::Log(record) => record_line(record),
        Heard::Stdout(line) => format!("{} {}", label("stdout").dimmed(), visible_line(line)),
        Heard::Stderr(line) => format!("{} {}", label("stderr").dimmed(), visible_line(line)),
        Heard::Progress { fraction, message } => {
            let percent = fraction.map(|fraction| format!("{:.0} % ", fraction * 100.0));
            let percent = percent.unwrap_or_default();
            let message = indented(message);
            format!("{} {percent}{message}", label("progress").dimmed())
        }
    })
}

impl RehearsalReport<'_> {
    /// Prints it: the reply as data, the rest as talk.
    pub fn print(&self, output: &Output) {
        let attempt = &self.shown().attempt;
        if let Some(reply) = &attempt.output {
            match reply.as_str().filter(|_| self.is_text) {
                Some(text) => output.reply(text),
                None => output.data(&pretty(reply)),
            }
        }
        output.talk(&self.text());
    }

    /// One document with everything.
    pub fn json(&self) -> String {
        let shown = self.shown();
        let attempt = &shown.attempt;
        let usage = attempt.usage;
        pretty(&json!({
            "v": 1,
            "file": self.path,
            "outcome": attempt.outcome.as_str(),
            "output": attempt.output,
            "score": attempt.score,
            "summary": attempt.summary,
            "checks": attempt.checks.iter().map(check_json).collect::<Vec<_>>(),
            "metrics": attempt.metrics.iter().map(metric_json).collect::<Vec<_>>(),
            "error": attempt.error.as_ref().map(error_json),
            "log": attempt.log.iter().map(record_json).collect::<Vec<_>>(),
            "stdout": attempt.stdout,
            "stderr": attempt.stderr,
            "denied": attempt.denied.iter().map(denied_json).collect::<Vec<_>>(),
            "artifacts": self.artifacts_json(),
            "times": {
                "load_ms": format::millis(self.loaded.took),
                "cached": self.loaded.compiled.is_cached,
                "instantiate_ms": format::millis(shown.instantiate),
                "call_ms": format::millis(call_time(shown)),
            },
            "usage": {
                "peak_memory": usage.peak_memory,
                "host_calls": usage.host_calls,
                "http_requests": usage.http_requests,
                "bytes_in": usage.bytes_in,
                "bytes_out": usage.bytes_out,
                "fuel": usage.fuel,
            },
            "repeats": {
                "count": self.calls.len(),
                "instantiate_ms": self.spread(instantiate_time).json(),
                "call_ms": self.spread(call_time).json(),
            },
        }))
    }

    fn shown(&self) -> &Rehearsed {
        self.calls.last().expect("a report has a call")
    }

    fn text(&self) -> String {
        let attempt = &self.shown().attempt;
        let took = format::duration(attempt.duration);
        let mut lines = vec![format!(
            "{} in {took}",
            format::outcome(attempt.outcome).bold()
        )];
        add_judgement(attempt, &mut lines);
        for denied in &attempt.denied {
            add_denied(denied, &mut lines);
        }
        for artifact in &attempt.artifacts {
            let size = format::size(artifact.content.size());
            let folder = self.artifacts.map(|folder| folder.join(&artifact.name));
            let name = folder.map_or(artifact.name.clone(), |path| format::path(&path));
            let name = visible_line(&format!("{name}, {}", artifact.media_type));
            lines.push(dim_field("artifact", &format!("{name}, {size}")));
        }
        self.add_costs(&mut lines);
        lines.join("\n")
    }

    fn add_costs(&self, lines: &mut Vec<String>) {
        let shown = self.shown();
        let usage = shown.attempt.usage;
        let mut field = |name, value: &str| lines.push(dim_field(name, value));
        field(
            "time",
            &format!(
                "load {}; instantiate {}; call {}",
                loaded_text(self.loaded),
                format::duration(shown.instantiate),
                format::duration(call_time(shown))
            ),
        );
        field(
            "memory",
            &format!("{} at most", format::size(usage.peak_memory)),
        );
        field(
            "host",
            &format!(
                "{}, {}, {} in, {} out",
                format::plural(usage.host_calls, "call"),
                format::plural(usage.http_requests, "HTTP request"),
                format::size(usage.bytes_in),
                format::size(usage.bytes_out)
            ),
        );
        if let Some(fuel) = usage.fuel {
            field("fuel", &format::count(fuel));
        }
        if self.calls.len() > 1 {
            lines.push(String::new());
            lines.push(self.repeats());
        }
    }

    /// A table of how the times of all calls are spread.
    fn repeats(&self) -> String {
        let calls = format::plural(self.calls.len() as u64, "call");
        let times = ["least", "median", "most"].map(|name| Column::new(name).right());
        let columns: Vec<_> = [Column::new(calls)].into_iter().chain(times).collect();
        let mut table = Table::new(columns);
        for (name, spread) in [
            ("instantiate", self.spread(instantiate_time)),
            ("call", self.spread(call_time)),
        ] {
            let times = [spread.least, spread.median, spread.most];
            let cells = times.map(|time| Cell::from(format::duration(time)));
            let cells: Vec<_> = [Cell::from(name)].into_iter().chain(cells).collect();
            table.row(cells);
        }
        table.fitted(None)
    }

    fn spread(&self, time: fn(&Rehearsed) -> Duration) -> Spread {
        let mut times: Vec<_> = self.calls.iter().map(time).collect();
        times.sort();
        Spread {
            least: times[0],
            median: times[times.len() / 2],
            most: times[times.len() - 1],
        }
    }

    fn artifacts_json(&self) -> Vec<Value> {
        let artifacts = self.shown().attempt.artifacts.iter();
        artifacts
            .map(|artifact| {
                json!({
                    "name": artifact.name,
                    "media_type": artifact.media_type,
                    "bytes": artifact.content.size(),
                    "path": self.artifacts.map(|folder| folder.join(&artifact.name)),
                })
            })
            .collect()
    }
}

/// How some times are spread.
struct Spread {
    least: Duration,
    median: Duration,
    most: Duration,
}

impl Spread {
    fn json(&self) -> Value {
        json!({
            "min": format::millis(self.least),
            "median": format::millis(self.median),
            "max": format::millis(self.most),
        })
    }
}

fn instantiate_time(rehearsed: &Rehearsed) -> Duration {
    rehearsed.instantiate
}

fn call_time(rehearsed: &Rehearsed) -> Duration {
    let attempt = &rehearsed.attempt;
    attempt.duration.saturating_sub(rehearsed.instantiate)
}

/// What the plugin said of the test, and what is wrong.
fn add_judgement(attempt: &Attempt, lines: &mut Vec<String>) {
    let mut field = |name, value: &str| lines.push(dim_field(name, value));
    if let Some(error) = &attempt.error {
        field(
            "error",
            &format!(
                "{}\n{}",
                visible_line(&error_name(error)).red(),
                visible(without_stderr(&error.message))
            ),
        );
    }
    if let Some(summary) = &attempt.summary {
        field("summary", &visible(summary));
    }
    if let Some(score) = attempt.score {
        field("score", &score.to_string());
    }
    for check in &attempt.checks {
        field("check", &check_line(check));
    }
    for metric in &attempt.metrics {
        let unit = metric.unit.as_deref().unwrap_or_default();
        let value = format!("{} {} {unit}", metric.name, metric.value);
        field("metric", &visible_line(value.trim_end()));
    }
}

/// A message without the end of standard error, which was shown as it came.
fn without_stderr(message: &str) -> &str {
    let parts = message.split_once("; its standard error ends with");
    parts.map_or(message, |(message, _)| message)
}

fn add_denied(denied: &Denied, lines: &mut Vec<String>) {
    let mut field = |name, value: &str| lines.push(dim_field(name, value));
    field("denied", &visible_line(&denied.what).yellow().to_string());
    if let Some(grant) = &denied.grant {
        let flag = visible_line(&quoted(&grant.flag()));
        field("", &format!("granted here by           --grant {flag}"));
        let line = grant.to_string();
        let line = visible_line(&line);
        field("", &format!("in a scenario's `grants`  {line}"));
    }
}

fn check_line(check: &Check) -> String {
    let sign = match check.verdict {
        CheckVerdict::Pass => "✓".green().to_string(),
        CheckVerdict::Fail => "✗".red().to_string(),
        CheckVerdict::Skip => "-".dimmed().to_string(),
    };
    let message = check.message.as_ref();
    let message = message.map(|message| {
        let message = without_stderr(message);
        format!(": {}", visible(message))
    });
    let score = check.score.map(|score| format!(" (score {score})"));
    format!(
        "{sign} {}{}{}",
        visible_line(&check.name),
        message.unwrap_or_default(),
        score.unwrap_or_default()
    )
}

fn record_line(record: &LogRecord) -> String {
    let level = label(record.level);
    let level = match record.level {
        "error" => level.red().to_string(),
        "warn" => level.yellow().to_string(),
        "info" => level.green().to_string(),
        _ => level.dimmed().to_string(),
    };
    let fields = record.fields.iter();
    let fields = fields.map(|(name, value)| {
        let name = format!("{}=", visible_line(name));
        format!(" {}{}", name.dimmed(), indented(value))
    });
    let message = indented(&record.message);
    format!("{level} {message}{}", fields.collect::<String>())
}

/// A text of which only the first line stands beside a label, so that no other looks like a line of ours.
fn indented(text: &str) -> String {
    visible(text).replace('\n', "\n         ")
}

/// The first column of what is heard.
fn label(text: &str) -> String {
    format!("{text:<8}")
}

fn error_name(error: &AttemptError) -> String {
    let class = error.class.map_or("", |class| class.as_str());
    let code = if error.code == class { "" } else { &error.code };
    format!("{class} {code}").trim().to_owned()
}

fn error_json(error: &AttemptError) -> Value {
    json!({
        "class": error.class.map(|class| class.as_str()),
        "code": error.code,
        "message": error.message,
        "retry_after_ms": error.retry_after.map(format::millis),
    })
}

fn check_json(check: &Check) -> Value {
    json!({
        "name": check.name,
        "verdict": check.verdict.as_str(),
        "score": check.score,
        "message": check.message,
        "details": check.details,
    })
}

fn metric_json(metric: &Metric) -> Value {
    json!({ "name": metric.name, "value": metric.value, "unit": metric.unit })
}

fn record_json(record: &LogRecord) -> Value {
    let fields = record.fields.iter();
    let fields = fields.map(|(name, value)| json!([name, value]));
    json!({
        "level": record.level,
        "message": record.message,
        "fields": fields.collect::<Vec<_>>(),
    })
}

fn denied_json(denied: &Denied) -> Value {
    let grant = denied.grant.as_ref();
    let flags: Vec<_> = grant.into_iter().map(Grant::flag).collect();
    json!({ "what": denied.what, "grant": grant.map(Grant::to_string), "flags": flags })
}
