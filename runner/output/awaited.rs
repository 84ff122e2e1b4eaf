//! What a stop that takes long is waiting for.

use owo_colors::OwoColorize as _;

use super::format;
use crate::{model::StopMode, run};

/// How many attempts are named.
const MAX_NAMED: usize = 5;

/// That a stop begins.
pub(super) fn stopping(mode: StopMode, why: &str, in_flight: usize) -> String {
    let how = match mode {
        StopMode::Drain => "finishing:",
        StopMode::Stop | StopMode::Cancel => "stopping:",
        StopMode::Kill => "stopping at once:",
    };
    format!(
        "{} {}; {} in flight",
        how.yellow().bold(),
        format::visible_line(why),
        format::plural(in_flight as u64, "attempt")
    )
}

/// That a run is paused; nothing where its process is stopped, which a shell says.
pub(super) fn paused(by: &str) -> Option<String> {
    let line = || {
        format!(
            "{} asked by {}; `runner unpause` lets it go on",
            "paused:".yellow().bold(),
            format::visible_line(by)
        )
    };
    (by != "SIGTSTP").then(line)
}

/// What is awaited, and what ends the waiting.
pub(super) fn text(mode: StopMode, running: &[run::Running<'_>], rows: usize) -> String {
    let mut parts = Vec::new();
    if !running.is_empty() {
        let named = running.iter().take(MAX_NAMED).map(|running| {
            let elapsed = format::duration(running.elapsed);
            format!("{} for {elapsed}", format::visible_line(running.trial))
        });
        let mut named: Vec<_> = named.collect();
        let more = running.len().saturating_sub(MAX_NAMED);
        if more > 0 {
            named.push(format!("{more} more"));
        }
        let attempts = format::plural(running.len() as u64, "attempt");
        parts.push(format!("{attempts} ({})", named.join(", ")));
    }
    if rows > 0 {
        let rows = format::plural(rows as u64, "row");
        parts.push(format!("{rows} on the way to the disk"));
    }
    if parts.is_empty() {
        parts.push("providers to be torn down".to_owned());
    }
    let way_out = match mode {
        StopMode::Drain => "Ctrl-C interrupts them",
        StopMode::Stop | StopMode::Cancel | StopMode::Kill => {
            "a second Ctrl-C, or `runner stop --kill`, does not wait for them"
        }
    };
    format!(
        "{} {}; {way_out}",
        "waiting for".yellow().bold(),
        parts.join(" and ")
    )
}
