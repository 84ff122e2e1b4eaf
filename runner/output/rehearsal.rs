//! `plugin run`.

use owo_colors::OwoColorize as _;

use super::{
    Output,
    format::{self, pretty, quoted, visible, visible_line},
    grants,
    inspection::loaded_text,
    runs::dim_field,
    table::{Cell, Column, Table},
};
use crate::{
    model::{CheckVerdict, FsGrant, FsMode, Grants, Limits, LogRecord, Outcome},
    plugin::Heard,
    view::{
        RehearsalReport, RehearsedCheck, RehearsedDenial, RehearsedError, RehearsedGrade,
        TimeSpread, score_words,
    },
};

/// What a plugin asks for and is not granted, and the flags that would grant it.
pub(super) fn requested_text(
    requests: &[&str],
    granted: &Grants,
    wanted: &Grants,
    limits: &Limits,
) -> String {
    let requests = grants::listed(requests);
    match missing_flags(granted, wanted, limits).as_slice() {
        [] => format!("requested, and not granted: {requests}"),
        flags => {
            let flags = visible_line(&flags.join(" "));
            format!("requested, and not granted: {requests}; `{flags}` grants it")
        }
    }
}

/// What `--grant` has to say for `wanted` where `granted` is not enough, and `--limit` with it.
fn missing_flags(granted: &Grants, wanted: &Grants, limits: &Limits) -> Vec<String> {
    let net = wanted.net.iter().filter(|net| !granted.net.contains(net));
    let secrets = wanted.secrets.iter();
    let secrets = secrets.filter(|name| !granted.secrets.contains(name));
    let folders: Vec<_> = wanted
        .fs
        .iter()
        .filter(|folder| !granted.fs.contains(folder))
        .collect();
    let grants = net
        .map(|net| format!("net={net}"))
        .chain(secrets.map(|name| format!("secret={name}")))
        .chain(folders.iter().map(|folder| folder_flag(folder)));
    let mut flags: Vec<_> = grants
        .map(|grant| format!("--grant {}", quoted(&grant)))
        .collect();
    let writes = folders
        .iter()
        .any(|folder| folder.mode == FsMode::ReadWrite);
    if writes && limits.scratch == 0 {
        flags.push("--limit scratch=16MiB".to_owned());
    }
    flags
}

fn folder_flag(FsGrant { path, mount, mode }: &FsGrant) -> String {
    let mode = match mode {
        FsMode::ReadOnly => "",
        FsMode::ReadWrite => ":rw",
    };
    format!("fs={path}:{mount}{mode}")
}

/// A line of what a plugin says while it runs.
pub(super) fn heard_line(heard: Heard<'_>) -> String {
    match heard {
        Heard::Log(record) => record_line(record),
        Heard::Stdout(line) => format!("{} {}", label("stdout").dimmed(), visible_line(line)),
        Heard::Stderr(line) => format!("{} {}", label("stderr").dimmed(), visible_line(line)),
        Heard::Progress { fraction, message } => {
            let percent = fraction.map(|fraction| format!("{:.0} % ", fraction * 100.0));
            let percent = percent.unwrap_or_default();
            let message = indented(message);
            format!("{} {percent}{message}", label("progress").dimmed())
        }
    }
}

/// Prints what came of calling a plugin: the reply as data, the rest as talk.
pub fn print_rehearsal(report: &RehearsalReport, output: &Output) {
    if let Some(reply) = &report.output {
        match reply.as_str().filter(|_| report.is_text) {
            Some(text) => output.reply(text),
            None => output.data(&pretty(reply)),
        }
    }
    output.talk(&text(report));
}

fn text(report: &RehearsalReport) -> String {
    let took = format::duration(report.duration);
    let is_reply = matches!(
        report.outcome,
        Outcome::Passed | Outcome::Failed | Outcome::Skipped
    );
    let outcome = match report.grade.is_some() && is_reply {
        // Whether that lets an output pass is another question.
        true => "replied".to_owned(),
        false => format::outcome(report.outcome),
    };
    let mut lines = vec![format!("{} in {took}", outcome.bold())];
    add_judgement(report, &mut lines);
    for denied in &report.denied {
        add_denied(denied, &mut lines);
    }
    for artifact in &report.artifacts {
        let size = format::size(artifact.bytes);
        let path = artifact.path.as_ref();
        let name = path.map_or_else(|| artifact.name.clone(), |path| format::path(path));
        let name = visible_line(&format!("{name}, {}", artifact.media_type));
        lines.push(dim_field("artifact", &format!("{name}, {size}")));
    }
    add_costs(report, &mut lines);
    lines.join("\n")
}

fn add_costs(report: &RehearsalReport, lines: &mut Vec<String>) {
    let usage = report.usage;
    let mut field = |name, value: &str| lines.push(dim_field(name, value));
    field(
        "time",
        &format!(
            "load {}; instantiate {}; call {}",
            loaded_text(&report.loaded),
            format::duration(report.times.instantiate),
            format::duration(report.times.call)
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
    if report.repeats.count > 1 {
        lines.push(String::new());
        lines.push(repeats(report));
    }
}

/// A table of how the times of all calls are spread.
fn repeats(report: &RehearsalReport) -> String {
    let calls = format::plural(report.repeats.count as u64, "call");
    let times = ["least", "median", "most"].map(|name| Column::new(name).right());
    let columns: Vec<_> = [Column::new(calls)].into_iter().chain(times).collect();
    let mut table = Table::new(columns);
    for (name, spread) in [
        ("instantiate", report.repeats.instantiate),
        ("call", report.repeats.call),
    ] {
        let TimeSpread {
            least,
            median,
            most,
        } = spread;
        let cells = [least, median, most].map(|time| Cell::from(format::duration(time)));
        let cells: Vec<_> = [Cell::from(name)].into_iter().chain(cells).collect();
        table.row(cells);
    }
    table.fitted(None)
}

/// What the plugin said of the test, and what is wrong.
fn add_judgement(report: &RehearsalReport, lines: &mut Vec<String>) {
    let mut field = |name, value: &str| lines.push(dim_field(name, value));
    if let Some(error) = &report.error {
        field(
            "error",
            &format!(
                "{}\n{}",
                visible_line(&error_name(error)).red(),
                visible(without_stderr(&error.message))
            ),
        );
    }
    if let Some(grade) = &report.grade {
        field("grade", &grade_text(grade));
    }
    if let Some(summary) = &report.summary {
        field("summary", &visible(summary));
    }
    if let Some(score) = report.score {
        field("score", &score.to_string());
    }
    for check in &report.checks {
        field("check", &check_line(check));
    }
    for metric in &report.metrics {
        let unit = metric.unit.as_deref().unwrap_or_default();
        let value = format!("{} {} {unit}", metric.name, metric.value);
        field("metric", &visible_line(value.trim_end()));
    }
}

/// What a run would read of the reply: `pass, score 0.9 of at least 0.7`, and why.
fn grade_text(grade: &RehearsedGrade) -> String {
    let verdict = match grade.verdict {
        None => "no verdict".red().to_string(),
        Some(CheckVerdict::Pass) => "pass".green().to_string(),
        Some(CheckVerdict::Fail) => "fail".red().to_string(),
        Some(CheckVerdict::Skip) => "skip".to_owned(),
    };
    let score = score_words(grade.score, grade.least);
    let error = grade.error.as_ref().map(|error| &error.message);
    match error.or(grade.explanation.as_ref()) {
        Some(why) => format!("{verdict}{score}\n{}", visible(why)),
        None => format!("{verdict}{score}"),
    }
}

/// A message without the end of standard error, which was shown as it came.
fn without_stderr(message: &str) -> &str {
    let parts = message.split_once("; its standard error ends with");
    parts.map_or(message, |(message, _)| message)
}

fn add_denied(denied: &RehearsedDenial, lines: &mut Vec<String>) {
    let mut field = |name, value: &str| lines.push(dim_field(name, value));
    field("denied", &visible_line(&denied.what).yellow().to_string());
    if let Some(grant) = &denied.grant {
        for flag in &denied.flags {
            let flag = visible_line(&quoted(flag));
            field("", &format!("granted here by           --grant {flag}"));
        }
        let line = visible_line(grant);
        field("", &format!("in a scenario's `grants`  {line}"));
    }
}

fn check_line(check: &RehearsedCheck) -> String {
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

fn error_name(error: &RehearsedError) -> String {
    let class = error.class.map_or("", |class| class.as_str());
    let code = if error.code == class { "" } else { &error.code };
    format!("{class} {code}").trim().to_owned()
}
