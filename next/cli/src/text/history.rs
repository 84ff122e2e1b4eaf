//! The history of a run: the sessions that worked on it, and every change of its status.

use std::time::Duration;

use runner_model::{Time, units::show_duration, visible::visible_line};
use runner_record::{Manifest, Pause, SessionEntry, Transition};
use runner_report::words;

use super::style;
use crate::args::quoted;

/// The lines of a history, oldest first.
pub fn lines(manifest: &Manifest) -> Vec<String> {
    let mut lines = vec![style::bold("sessions:")];
    for session in &manifest.sessions {
        lines.extend(session_lines(session));
    }
    lines.push(format!("\n{}", style::bold("changes of the status (UTC):")));
    lines.extend(manifest.transitions.iter().map(change));
    lines
}

fn session_lines(session: &SessionEntry) -> Vec<String> {
    let command: Vec<_> = session.command.iter().map(|word| quoted(word)).collect();
    let command = visible_line(&command.join(" ")).into_owned();
    let (pid, user, host) = (session.pid, &session.user, &session.host);
    let mut about = format!("process {pid} of {user} on {host}, ");
    about += &span(session.started_at, session.ended_at);
    if let Some(worked) = session.worked_ms {
        let worked = show_duration(Duration::from_millis(worked));
        about += &format!(", worked {worked}");
    }
    if session.suspended_ms > 0 {
        let suspended = show_duration(Duration::from_millis(session.suspended_ms));
        about += &format!(", paused or suspended {suspended}");
    }
    let mut lines = vec![
        format!("{:>3}  {command}", session.number),
        format!("     {}", visible_line(&about)),
    ];
    if session.adopted.is_some() {
        lines.push("     took over changes of the scenario".to_owned());
    }
    lines.extend(session.pauses.iter().map(pause));
    if let Some(by) = &session.stopped_by {
        lines.push(format!("     stopped by {}", words::actor(by)));
    }
    lines
}

fn pause(pause: &Pause) -> String {
    let by = words::pauser(pause.by.as_ref());
    format!("     paused {}, by {by}", span(pause.from, pause.to))
}

fn span(from: Time, to: Option<Time>) -> String {
    let to = to.map_or_else(|| "now".to_owned(), words::clock);
    format!("{} to {to}", words::clock(from))
}

fn change(change: &Transition) -> String {
    let reason = change.reason.map(|reason| format!(" ({reason})"));
    let by = change.by.as_ref().map(words::actor);
    format!(
        "{}  {}{}, written by {}{}",
        words::clock(change.at),
        change.to,
        reason.unwrap_or_default(),
        visible_line(&change.writer),
        by.map_or_else(String::new, |by| format!(", asked by {by}"))
    )
}
