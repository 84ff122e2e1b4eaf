//! Facts and history of a run as lines. All texts are made visible.

use std::{cmp::Reverse, time::Duration};

use runner_model::recent_output::RecentOutput;
use runner_model::row::{Actor, MetricSums, duration};
use runner_model::status::RunVerdict;
use runner_model::units::{grouped, plural, show_duration};
use runner_model::visible::{cut, quoted, visible_line};
use runner_model::{GateResult, GuestPhase, RunStatus, Time};
use runner_record::{
    GroupPlace, Holder, InFlight, JoinedWorker, Live, Manifest, SessionEntry, Transition,
    running_at_death,
};
use runner_results::Paid;

use crate::run::{RunTables, WorkerTable};
use crate::{RunDocument, RunSummary, failures::named, phrases};

/// Maximum number of attempts, waiting trials and workers in a list.
const MOST_NAMED: usize = 10;
/// Characters of a line of output.
const MOST_CHARACTERS: usize = 160;

impl RunTables {
    /// Formats tokens and cost of all attempts. `None` if the tables have no less.
    pub fn paid(&self) -> Option<String> {
        let graders = self.graders.iter().map(|one| &one.results);
        let all = self.providers.iter().map(|one| &one.results).chain(graders);
        let sums = all.map(|results| MetricSums::of(&results.metrics));
        let sums = sums.fold(MetricSums::default(), MetricSums::plus);
        let Paid { tokens, cost_usd } = self.paid;
        // Sums in another order differ by rounding.
        let more = |all: Option<f64>, of: Option<f64>| {
            all.is_some_and(|all| all > of.unwrap_or(0.0) * (1.0 + 1e-9))
        };
        if !more(tokens, sums.tokens) && !more(cost_usd, sums.cost_usd) {
            return None;
        }
        let tokens = tokens.map(|tokens| format!("{} tokens", phrases::number(tokens)));
        let texts: Vec<_> = tokens.into_iter().chain(cost_usd.map(phrases::cost)).collect();
        Some(format!("{} by all attempts and graders", texts.join(", ")))
    }
}

impl RunDocument {
    /// Returns names and values of the run's facts. A value has one or more lines.
    pub fn facts(&self, now: Time) -> Vec<(&'static str, String)> {
        let mut facts = facts(&self.run, &self.manifest, now);
        let workers = self.workers(now);
        facts.extend((!workers.is_empty()).then(|| ("workers", workers.join("\n"))));
        let mut retries: Vec<_> = self.tables.retries.iter().collect();
        retries.sort_by_key(|(_, count)| Reverse(**count));
        let sum = retries.iter().map(|(_, count)| **count).sum();
        let words = retries.iter().map(|(reason, count)| format!("{} {reason}", grouped(**count)));
        let words = words.collect::<Vec<_>>().join(", ");
        let words = if retries.len() == 1 { words } else { format!("{}: {words}", grouped(sum)) };
        facts.extend((sum > 0).then_some(("retries", words)));
        facts.extend(self.tables.paid().map(|paid| ("paid", paid)));
        facts.extend(self.live.as_ref().map(|live| ("now", doing(live))));
        facts
    }

    /// Formats up to [`MOST_NAMED`] workers on other machines, and the number of further workers.
    fn workers(&self, now: Time) -> Vec<String> {
        let mut workers = self.tables.workers.clone();
        let (joined, in_flight) =
            self.live.as_ref().map_or((&[][..], &[][..]), |live| (&*live.joined, &*live.in_flight));
        for JoinedWorker { worker, .. } in joined {
            if workers.iter().all(|one| one.worker != *worker) {
                workers.push(WorkerTable { worker: worker.clone(), attempts: 0, errors: 0 });
            }
        }
        let shown = workers.iter().take(MOST_NAMED).map(|one| {
            let errors = plural(one.errors, "error", "errors");
            let errors = if one.errors > 0 { format!(", {errors}") } else { String::new() };
            let attempts = plural(one.attempts, "attempt", "attempts");
            let running =
                in_flight.iter().filter(|attempt| attempt.worker.as_ref() == Some(&one.worker));
            let running = match running.count() {
                0 => String::new(),
                running => format!(", {running} in flight"),
            };
            let lost = joined.iter().find(|joined| joined.worker == one.worker);
            let lost = lost.and_then(|joined| joined.lost_at);
            let lost =
                lost.map(|at| format!(", lost {}", phrases::ago(now, at))).unwrap_or_default();
            format!("{}: {attempts}{errors}{running}{lost}", visible_line(&one.worker))
        });
        let more = workers.len().saturating_sub(MOST_NAMED);
        shown.chain((more > 0).then(|| format!("{} more", grouped(more as u64)))).collect()
    }

    /// Returns warnings of results and lines that `index.jsonl` has lost, with the next steps.
    pub fn damage(&self) -> Vec<String> {
        let head = &self.run.head;
        let mut warnings = Vec::new();
        let resume = self.run.resume_command(&self.run.short);
        let is_damaged = head.verdict == RunVerdict::Damaged;
        if self.lost_results > 0 {
            let lost = plural(self.lost_results, "result is", "results are");
            warnings.push(format!(
                "{lost} lost: benchmark.json counts more than index.jsonl has; to run these trials again: {resume}"
            ));
        } else if is_damaged {
            warnings.push(format!(
                "index.jsonl has other results than benchmark.json counts; to count them again: {resume}"
            ));
        }
        if self.tables.damaged_lines > 0 {
            let lines = plural(
                self.tables.damaged_lines,
                "line of index.jsonl is",
                "lines of index.jsonl are",
            );
            let rest = match head.status.is_terminal() {
                true if self.manifest.rows.is_some() && !is_damaged => {
                    "no result is lost".to_owned()
                }
                true => format!("to run trials without a result: {resume}"),
                false => "trials without a result run when the run is resumed".to_owned(),
            };
            warnings.push(format!("{lines} damaged; {rest}"));
        }
        warnings
    }
}

/// Returns the problem of a process that did not respond to a request about a run, and what users can do.
pub fn no_answer(run: &str, holder: &Holder) -> [String; 2] {
    let pid = holder.pid;
    let host = visible_line(&holder.host);
    match pid {
        _ if holder.is_suspended() => [
            format!("run {run} is suspended by Ctrl-Z"),
            format!("`fg` in its terminal, or kill -CONT {pid}"),
        ],
        0 => {
            [format!("another program holds the lock of run {run}"), "end that program".to_owned()]
        }
        _ => [
            format!("process {pid} on {host} works on run {run} and did not respond in time"),
            "try again, or end the process".to_owned(),
        ],
    }
}

fn facts(run: &RunSummary, manifest: &Manifest, now: Time) -> Vec<(&'static str, String)> {
    let head = &run.head;
    let session = manifest.sessions.last();
    let is_over = head.status.is_terminal();
    let started = since(head.started_at, now);
    let started = format!("{started}; {}", plural(head.sessions, "session", "sessions"));
    let labels = head.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let labels = labels.collect::<Vec<_>>().join(", ");
    let merged = manifest.merged.iter().take(MOST_NAMED).map(|one| one.run.clone());
    let merged = named(&merged.collect::<Vec<_>>(), manifest.merged.len() as u64);
    let running = session.filter(|_| !is_over);
    let running = running.map(|by| format!("{}, since {}", process(by), since(by.started_at, now)));
    let paused = head.paused.as_ref().map(|pause| {
        format!("since {}, by {}", since(pause.from, now), phrases::pauser(pause.by.as_ref()))
    });
    let (stopped, stopped_by) = stop(manifest).unzip();
    let died = session.filter(|session| is_over && !session.in_flight.is_empty());
    let died = died.map(|session| running_at_death(&session.in_flight).trim_start().to_owned());
    let group = head.group.as_ref();
    let group = group.map(|GroupPlace { id, place, of }| format!("{id}, run {place} of {of}"));
    let pinned = head.pinned.as_ref().map(|pin| &pin.by);
    let lost = head.lost_report.as_ref();
    let lost = lost.map(|lost| format!("lost: {lost}\n{}", run.report_advice(&run.short)));
    let gate = manifest.gate.as_ref();
    let gate_label = match gate.map(GateResult::title) {
        Some("known.strict") => "known",
        _ => "gate",
    };
    let facts = [
        ("report", lost),
        ("scenario", Some(manifest.scenario_path.clone())),
        ("started", Some(started)),
        ("results", Some(run.run_dir.to_string_lossy().into_owned())),
        ("group", group),
        ("shard", head.shard.map(|shard| format!("{} of {}", shard.index(), shard.count()))),
        ("replay", run.replayed().map(|replayed| format!("a replay of {replayed}"))),
        ("merged", Some(format!("from {merged}")).filter(|_| !merged.is_empty())),
        ("dev form", development_forms(manifest)),
        ("labels", Some(labels).filter(|labels| !labels.is_empty())),
        (gate_label, gate.map(|gate| gate_lines(gate).join("\n"))),
        ("running", running),
        ("died", died),
        ("paused", paused),
        (stopped.unwrap_or_default(), stopped_by.map(|by| format!("by {}", phrases::actor(by)))),
        ("pinned", pinned.map(|by| format!("by {}", phrases::actor(by)))),
    ];
    let visible = facts.into_iter().filter_map(|(name, text)| {
        let text = text?;
        // The lines of the gate are visible already. `visible_line` would escape the breaks between them.
        Some((
            name,
            if matches!(name, "gate" | "known") { text } else { visible_line(&text).into_owned() },
        ))
    });
    visible.collect()
}

/// Returns the names of the providers whose plugin is a development form. `None` without any.
pub fn development_forms(manifest: &Manifest) -> Option<String> {
    let forms = manifest.providers.iter().filter(|provider| provider.is_development);
    let names: Vec<_> = forms.map(|provider| provider.name.clone()).collect();
    let shown = &names[..names.len().min(MOST_NAMED)];
    (!names.is_empty()).then(|| named(shown, names.len() as u64))
}

fn since(time: Time, now: Time) -> String {
    format!("{}, {}", phrases::zoned_clock(time), phrases::ago(now, time))
}

/// Formats the result of a gate: `failed:`, and a line for each condition. A single condition is in the first line.
pub fn gate_lines(gate: &GateResult) -> Vec<String> {
    let word = if gate.held { "passed:" } else { "failed:" };
    let lines = gate.conditions.iter().map(|condition| {
        let mark = if condition.held { '✓' } else { '✗' };
        visible_line(&format!("{mark} {condition}")).into_owned()
    });
    let mut lines: Vec<_> = lines.collect();
    match &mut lines[..] {
        [one] => *one = format!("{word} {one}"),
        _ => lines.insert(0, word.to_owned()),
    }
    lines
}

/// Formats the result of a gate as one line: `failed: ✗ pass rate …; ✓ mean score …`.
pub fn gate(gate: &GateResult) -> String {
    let lines = gate_lines(gate);
    format!("{} {}", lines[0], lines[1..].join("; ")).trim_end().to_owned()
}

/// Returns the author of the request that stopped or cancelled a run, after that word.
pub fn stop(manifest: &Manifest) -> Option<(&'static str, &Actor)> {
    let word = if manifest.status == RunStatus::Cancelled { "cancelled" } else { "stopped" };
    let change = manifest.transitions.last().filter(|change| change.to == manifest.status);
    let session = manifest.sessions.last().and_then(|session| session.stopped_by.as_ref());
    Some((word, change.and_then(|change| change.by.as_ref()).or(session)?))
}

fn process(by: &SessionEntry) -> String {
    format!("process {} of {} on {}", by.pid, by.user, by.host)
}

/// Formats the attempts of a session, each with its age, its step and the last line of its output, oldest first, and the waits. Times are as of the last `live.json`, so they stand still in a pause.
pub fn doing(live: &Live) -> String {
    let attempts = plural(live.in_flight.len() as u64, "attempt", "attempts");
    let stopping = if live.stopping { "stopping, " } else { "" };
    let mut lines = vec![format!("{stopping}{attempts} in flight")];
    for attempt in live.in_flight.iter().take(MOST_NAMED) {
        lines.push(running(attempt, live.at));
        let last = attempt.output.as_ref().map(RecentOutput::last_line).unwrap_or_default();
        if !last.is_empty() {
            lines.push(format!("    {}", cut(&visible_line(last), MOST_CHARACTERS)));
        }
    }
    for waiting in live.waiting.iter().take(MOST_NAMED) {
        let trial = &waiting.trial;
        let what = match (waiting.why.as_str(), &waiting.grader) {
            ("retry", None) => "a retry".to_owned(),
            ("retry", Some(grader)) => format!("a retry of {grader}"),
            (_, Some(grader)) => format!("the rate of {grader}"),
            (_, None) => format!("the rate of {}", trial.provider),
        };
        let left = match waiting.until.since(live.at) {
            Duration::ZERO => String::new(),
            left => format!(", {} more", show_duration(left)),
        };
        lines.push(format!("{trial} waits for {what}{left}"));
    }
    let more = live.waiting.len().saturating_sub(MOST_NAMED) as u64;
    lines.extend((more > 0).then(|| plural(more, "more trial waits", "more trials wait")));
    if live.waits_for_memory {
        lines.push("more wait for memory".to_owned());
    }
    lines.join("\n")
}

/// Formats a running attempt at a time: its age, its name and its step.
pub fn running(attempt: &InFlight, at: Time) -> String {
    let [age, took] =
        [Duration::from_millis(attempt.ms), at.since(attempt.since)].map(show_duration);
    let colon = if attempt.grader.is_some() { ":" } else { "" };
    format!("{age} {}{colon} {} for {took}", attempt.name(), step(attempt))
}

/// Formats the current step of an attempt.
fn step(attempt: &InFlight) -> String {
    let step = match (attempt.phase, &attempt.what) {
        (_, Some(what)) => what,
        (None, None) => "running",
        (Some(GuestPhase::Computing), None) => "computing",
        (Some(_), None) => "waiting for the processor",
    };
    visible_line(step).into_owned()
}

/// Formats a session: its command, then its process, times and pauses.
pub fn session(session: &SessionEntry) -> Vec<String> {
    let command: Vec<_> = session.command.iter().map(|word| quoted(word)).collect();
    let mut about = format!("{}, {}", process(session), span(session.started_at, session.ended_at));
    if let Some(worked) = session.worked_ms {
        about += &format!(", worked {}", show_duration(duration(worked)));
    }
    if let Some(sandbox) = &session.wall {
        about += &format!(", sandbox {sandbox}");
    }
    if session.suspended_ms > 0 {
        let suspended = show_duration(Duration::from_millis(session.suspended_ms));
        about += &format!(", paused or suspended {suspended}");
    }
    let mut lines =
        [command.join(" "), about].map(|line| visible_line(&line).into_owned()).to_vec();
    if session.adopted.is_some() {
        lines.push("took over changes of the scenario".to_owned());
    }
    lines.extend(session.pauses.iter().map(|pause| {
        let by = phrases::pauser(pause.by.as_ref());
        format!("paused {}, by {by}", span(pause.from, pause.to))
    }));
    if !session.in_flight.is_empty() {
        lines.push(format!("its process died{}", running_at_death(&session.in_flight)));
    }
    let stopped = session.stopped_by.as_ref();
    lines.extend(stopped.map(|by| format!("stopped by {}", phrases::actor(by))));
    lines
}

fn span(from: Time, to: Option<Time>) -> String {
    let to = to.map_or_else(|| "now".to_owned(), phrases::clock);
    format!("{} to {to}", phrases::clock(from))
}

/// Formats a change of a run's status.
pub fn change(change: &Transition) -> String {
    let at = phrases::clock(change.at);
    let reason = change.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let writer = visible_line(&change.writer);
    let by = change.by.iter().map(|by| format!(", requested by {}", phrases::actor(by)));
    format!("{at}  {}{reason}, written by {writer}{}", change.to, by.collect::<String>())
}

#[cfg(test)]
#[path = "tests/run_facts.rs"]
mod tests;
