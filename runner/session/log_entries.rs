//! What a run's `runner.log` tells of a session: how it began, what became of it, how it ended. The values of secrets are
//! not in it, because nothing that is told here has them but the address of an engine, of which that is left out.

use std::collections::BTreeSet;

use super::Host;
use crate::{
    error::ExitStatus,
    fleet::without_user,
    model::{Counts, ShownDuration, cores, granted_text, plural, quoted},
    plugin,
    record::{Conclusion, Recorder, Swept},
    run::{Event, Plan},
};

/// Tells what was asked for, of which program, on which machine, and what will run.
pub(super) fn begin(plan: &Plan, recorder: &Recorder, host: &Host) {
    let arguments = host.arguments.iter();
    let words: Vec<_> = arguments
        .map(|argument| quoted(&without_user(&argument.to_string_lossy())))
        .collect();
    tracing::info!("command: runner {}", words.join(" "));
    let system = rustix::system::uname();
    tracing::info!(
        "runner {}, {}, on {} {} {}, {}, pid {}",
        env!("CARGO_PKG_VERSION"),
        plugin::ENGINE,
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy(),
        plural(cores() as u64, "core"),
        std::process::id()
    );
    tracing::info!(
        "run {}, session {}: scenario `{}`, {} on {}, {} at a time, plan {}",
        recorder.run_id(),
        recorder.session(),
        plan.scenario().name(),
        plural(plan.trial_count(), "trial"),
        plural(plan.provider_count() as u64, "provider"),
        plan.jobs(),
        plan.digest()
    );
    for (role, provider, limits, grants) in plan.access() {
        for line in granted_text(role, provider, limits, grants, &BTreeSet::new()).lines() {
            tracing::info!("{line}");
        }
    }
}

/// Tells what happens to the session as a whole; of its trials there are rows.
pub(super) fn goes_on(event: &Event<'_>) {
    match event {
        Event::Linked { provider, took } => {
            let took = ShownDuration(*took);
            tracing::info!("provider `{provider}` is ready after {took:.1}");
        }
        Event::Stopping {
            mode,
            reason,
            why,
            in_flight,
        } => tracing::info!(
            "stopping ({}, {reason}): {}; {} in flight",
            mode.as_str(),
            // Somebody's own words may be in it, which begin no line.
            why.replace('\n', " "),
            plural(*in_flight as u64, "attempt")
        ),
        Event::Linking { .. }
        | Event::Begun { .. }
        | Event::Requests { .. }
        | Event::Rows { .. }
        | Event::Judged { .. }
        | Event::Progress { .. }
        // Whoever pauses it says so.
        | Event::Paused { .. }
        | Event::Unpaused
        | Event::Awaiting { .. } => {}
    }
}

/// Tells how the session ended.
pub(super) fn end(end: &Conclusion) {
    let why = [
        end.reason.map(|reason| reason.as_str()),
        end.signal.map(|signal| signal.as_str()),
    ];
    let why: Vec<_> = why.into_iter().flatten().collect();
    let why = match why.is_empty() {
        true => String::new(),
        false => format!(" ({})", why.join(", ")),
    };
    let Counts {
        planned,
        passed,
        failed,
        error,
        timeout,
        skipped,
        ..
    } = end.counts;
    tracing::info!(
        "ended: {}{why}, verdict {}, {} of {planned} done: {passed} passed, {failed} failed, {error} errors, {timeout} timeouts, {skipped} skipped; exit code {}",
        end.status,
        end.verdict,
        end.counts.done(),
        ExitStatus::of(end).code()
    );
}

/// How many runs were swept, and which, where it was nobody's wish.
pub fn swept_text(runs: &[Swept]) -> String {
    let ids: Vec<_> = runs.iter().map(|swept| swept.run.id.as_str()).collect();
    let (count, had) = match runs.len() {
        1 => ("one run".to_owned(), "its process had died"),
        count => (format!("{count} runs"), "their processes had died"),
    };
    format!("swept {count}, because {had}: {}", ids.join(", "))
}
