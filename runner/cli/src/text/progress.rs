//! Progress of a run: two lines below the others of a terminal, elsewhere a line every 10 seconds.

use std::time::{Duration, Instant};
use std::{collections::VecDeque, fmt, io};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use runner_engine::LongWait;
use runner_model::units::{grouped, plural, show_duration};
use runner_model::{Counts, Time, test_duration, visible::visible_line};
use runner_record::{InFlight, Live, Manifest};
use runner_report::phrases;
use rustix::{process::getpgrp, termios::tcgetpgrp};

use super::{
    Out,
    layout::{cut, cut_middle, width},
    out::message_columns,
};

/// Returns the interval between lines if there is no terminal.
pub fn line_interval() -> Duration {
    test_duration("RUNNER_TEST_LINE_MS", Duration::from_secs(10))
}

/// Time before a rate is shown.
const RATE_AFTER: Duration = Duration::from_secs(2);
/// Trials and time that the estimate of the time left looks back, the longer of both.
const RECENT: (usize, Duration) = (10, Duration::from_secs(5));
/// Times the mean that an attempt may run until there is no estimate of the time left.
const MOST_MEANS: u32 = 5;
/// Shortest mean that is compared.
const MIN_MEAN: Duration = Duration::from_millis(100);
/// Age from which the oldest attempt is named on a terminal.
const NAMED_AFTER: Duration = Duration::from_secs(2);
/// Age from which an attempt is slow.
const SLOW_AFTER: Duration = Duration::from_secs(10);
/// Slow attempts that a line names.
const MOST_SLOW: usize = 3;
/// Columns of a scenario's name.
const MOST_NAME: usize = 20;
/// End of a line that names trials.
const KEY: &str = "; t lists all that run";
/// Columns after a text with its seconds.
const SECONDS_COLUMNS: usize = 8;
/// Columns of the longest and of the shortest bar.
const BAR_COLUMNS: [usize; 2] = [24, 6];

pub struct Progress<'a> {
    out: &'a Out,
    bar: Option<ProgressBar>,
    last_line: Instant,
    /// Whether the last line named a wait of attempts. The first such line is printed before its turn.
    named_wait: bool,
    start: Instant,
    /// Scenario and place of a run of a group.
    name: Option<String>,
    /// Trials whose last attempt failed and that wait for a retry.
    pub retried: u64,
    /// Trials that the session has settled.
    pub settled: u64,
    /// Trials that the session has to do, if some of them have a result of an earlier session. Then only these are shown as done or
    /// left.
    again: Option<u64>,
    /// Number of trials that were done before the session.
    before: u64,
    pace: Pace,
}

/// Recent numbers of done trials, each with the time when it was first seen. Empty before the first update.
#[derive(Default)]
pub struct Pace(VecDeque<(u64, Duration)>);

impl Pace {
    pub fn add(&mut self, done: u64, at: Duration) {
        if self.0.back().is_none_or(|(newest, _)| *newest != done) {
            self.0.push_back((done, at));
        }
        while self.0.len() > RECENT.0 && at.saturating_sub(self.0[1].1) >= RECENT.1 {
            self.0.pop_front();
        }
    }

    /// Returns the recent time between two trials. `None` before the first trial, and while an attempt takes so much longer than
    /// recent ones that they do not predict the rest.
    pub fn per_trial(&self, in_flight: u64, oldest_age: Duration) -> Option<Duration> {
        let ((first, start), (newest, end)) = (self.0.front()?, self.0.back()?);
        let trials =
            u32::try_from(newest.saturating_sub(*first)).ok().filter(|count| *count > 0)?;
        let per_trial = end.saturating_sub(*start) / trials;
        let mean = per_trial.saturating_mul(u32::try_from(in_flight).unwrap_or(u32::MAX).max(1));
        (oldest_age <= mean.max(MIN_MEAN).saturating_mul(MOST_MEANS)).then_some(per_trial)
    }
}

/// Progress of a session's trials.
#[derive(Clone, Copy)]
pub struct Done<'a> {
    pub counts: &'a Counts,
    pub done: u64,
    /// Trials of the plan, or of the session.
    pub planned: u64,
    /// Whether `done` and `planned` are of the session.
    pub is_again: bool,
    /// Trials whose last attempt failed and that wait for a retry.
    pub retried: u64,
    /// Trials that were done before the session.
    pub before: u64,
    pub elapsed: Duration,
    /// Part of `elapsed` until the newest trial was done.
    pub until_newest: Duration,
    /// Result of [`Pace::per_trial`].
    pub per_trial: Option<Duration>,
}

impl Done<'_> {
    /// Returns the number of trials that are done at the end, at most.
    fn planned(&self) -> u64 {
        if self.is_again { self.planned } else { self.counts.needed_of(self.planned) }
    }
}

impl<'a> Progress<'a> {
    /// Starts to show progress. The bar appears with the first update.
    pub fn new(out: &'a Out) -> Self {
        let bar = bar("{msg}");
        out.set_bar(bar.clone());
        let now = Instant::now();
        Self {
            out,
            bar,
            last_line: now,
            named_wait: false,
            start: now,
            name: None,
            retried: 0,
            settled: 0,
            again: None,
            before: 0,
            pace: Pace::default(),
        }
    }

    /// Shows the start of a compilation. On a terminal, [`update`](Self::update) shows it as long as it takes.
    pub fn compiling(&mut self, plugin: &str) {
        if self.bar.is_none() {
            self.out.talk(&format!("compiling {}", visible_line(plugin)));
            self.last_line = Instant::now();
        }
    }

    /// Marks the start of the first of `pending` trials: the time of compilations is not the run's.
    pub fn start(&mut self, manifest: &Manifest, pending: u64) {
        let done = manifest.counts.done();
        let planned = manifest.metadata.planned_trial_count;
        let left = manifest.counts.needed_of(planned).saturating_sub(done);
        self.again = (pending > left).then_some(pending);
        let done = if self.again.is_some() { self.settled } else { done };
        (self.start, self.before, self.pace) = (Instant::now(), done, Pace::default());
        self.pace.add(done, Duration::ZERO);
        self.name = manifest.group.as_ref().map(|group| {
            let name = cut_middle(&visible_line(&manifest.scenario), MOST_NAME);
            format!("{name} ({}/{})", group.place, group.of)
        });
    }

    /// Removes the bar until the next update.
    pub fn hide(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message("");
        }
    }

    /// Shows the state of the session. `waiting` is the text of [`waiting`]. `has_keys` if pressed keys are read.
    pub fn update(
        &mut self,
        live: &Live,
        planned: u64,
        in_flight: u64,
        waiting: &str,
        has_keys: bool,
    ) {
        // The first attempts may start before the event of their start.
        let oldest_age = live.in_flight.iter().map(|attempt| age(attempt, live.at)).max();
        let oldest_age = oldest_age.unwrap_or_default();
        let elapsed = self.start.elapsed().max(oldest_age);
        let done = if self.again.is_some() { self.settled } else { live.counts.done() };
        if self.pace.0.is_empty() {
            self.before = done;
        }
        self.pace.add(done, elapsed);
        let done = Done {
            counts: &live.counts,
            done,
            planned: self.again.unwrap_or(planned),
            is_again: self.again.is_some(),
            retried: self.retried,
            before: self.before,
            elapsed,
            until_newest: self.pace.0.back().map_or(elapsed, |(_, at)| *at),
            per_trial: self.pace.per_trial(in_flight, oldest_age),
        };
        let compiling = compiling(live);
        match (&self.bar, message_columns()) {
            // The shell or another program has the terminal.
            (Some(_), Some(_)) if is_in_background() => {}
            (Some(bar), Some(columns)) => {
                let lines = match compiling {
                    Some(compiling) => vec![compiling],
                    None => {
                        let key = if has_keys { KEY } else { "" };
                        let oldest = oldest(live, columns.saturating_sub(width(key) + 1));
                        let oldest = oldest.map(|oldest| oldest + key);
                        bar_lines(columns, self.name.as_deref(), done, waiting, oldest)
                    }
                };
                let lines: Vec<_> = lines.iter().map(|line| cut(line, columns - 1)).collect();
                bar.set_message(lines.join("\n"));
            }
            _ if self.last_line.elapsed() >= line_interval()
                || !waiting.is_empty() && !self.named_wait =>
            {
                (self.last_line, self.named_wait) = (Instant::now(), !waiting.is_empty());
                let text = compiling.unwrap_or_else(|| line(done, in_flight, waiting));
                self.out.talk(&text);
                for slow in slow(&live.in_flight, live.at) {
                    self.out.talk(&slow);
                }
            }
            _ => {}
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.out.set_bar(None);
    }
}

/// Returns a bar. `None` without a terminal, or without a cursor, such as `TERM=dumb`.
fn bar(template: &str) -> Option<ProgressBar> {
    message_columns()?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        let seconds = |state: &ProgressState, text: &mut dyn fmt::Write| {
            let _ = write!(text, "{} s", state.elapsed().as_secs());
        };
        bar.set_style(style.with_key("seconds", seconds));
    }
    Some(bar).filter(|bar| !bar.is_hidden())
}

/// Shows a text with the seconds since this call, below the lines of a terminal and until [`Out::set_bar`]. Returns `false` if
/// that is not possible.
pub fn show_seconds(out: &Out, text: &str) -> bool {
    let bar = bar("{msg} {seconds}").filter(|_| !is_in_background());
    let is_shown = bar.is_some();
    if let (Some(bar), Some(columns)) = (&bar, message_columns()) {
        bar.set_message(cut(text, columns.saturating_sub(SECONDS_COLUMNS)));
        bar.enable_steady_tick(Duration::from_secs(1));
    }
    out.set_bar(bar);
    is_shown
}

/// Shows the start of the compilation of a plugin that is called outside of runs. On a terminal, with its seconds until
/// [`Out::set_bar`].
pub fn compiling_for_call(out: &Out, plugin: &str) {
    let text = format!("compiling {}", visible_line(plugin));
    if !show_seconds(out, &text) {
        out.hint(&text);
    }
}

/// Returns whether another process group has the terminal of the messages.
fn is_in_background() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|group| group != getpgrp())
}

/// Names the plugins that are being compiled.
fn compiling(live: &Live) -> Option<String> {
    let plugins = live.compiling.iter().map(|one| {
        let seconds = live.at.since(one.since).as_secs();
        format!("{} {seconds} s", visible_line(&one.plugin))
    });
    let plugins: Vec<_> = plugins.collect();
    (!plugins.is_empty()).then(|| format!("compiling {}", plugins.join(", ")))
}

fn age(attempt: &InFlight, now: Time) -> Duration {
    Duration::from_millis(attempt.ms).max(now.since(attempt.since))
}

/// Returns a line for each of the slowest attempts, the slowest first.
pub fn slow(in_flight: &[InFlight], now: Time) -> Vec<String> {
    let slow = in_flight.iter().filter(|attempt| age(attempt, now) >= SLOW_AFTER).take(MOST_SLOW);
    slow.map(|attempt| format!("SLOW {} s {}", age(attempt, now).as_secs(), attempt.name()))
        .collect()
}

/// Names as many of the slowest attempts as have room in these columns, or else the oldest one. `None` if no attempt is old.
pub fn oldest(live: &Live, columns: usize) -> Option<String> {
    let oldest = live.in_flight.iter().max_by_key(|attempt| age(attempt, live.at))?;
    let age = age(oldest, live.at);
    let mut slow = slow(&live.in_flight, live.at).into_iter();
    let first = slow.next().or_else(|| {
        (age >= NAMED_AFTER).then(|| format!("running {} s: {}", age.as_secs(), oldest.name()))
    })?;
    Some(slow.fold(cut_middle(&first, columns), |line, next| {
        let more = format!("{line}, {next}");
        if width(&more) > columns { line } else { more }
    }))
}

/// Formats a line for pipes.
fn line(done: Done<'_>, in_flight: u64, waiting: &str) -> String {
    let mut counts = with_retried(done.counts.to_string(), ", ", done.retried, "to retry");
    if !counts.is_empty() {
        counts = format!(" ({counts})");
    }
    let number = if done.is_again {
        format!("{} of {} done now", grouped(done.done), grouped(done.planned))
    } else {
        phrases::done(done.counts, done.planned)
    };
    format!("{number}{counts}; {in_flight} running{waiting}")
}

/// Adds the number of trials that wait for a retry to counts, if there are some.
fn with_retried(counts: String, separator: &str, retried: u64, word: &str) -> String {
    let retried = (retried > 0).then(|| format!("{} {word}", grouped(retried)));
    let parts = [Some(counts).filter(|counts| !counts.is_empty()), retried];
    parts.into_iter().flatten().collect::<Vec<_>>().join(separator)
}

/// Describes what attempts wait for, as the end of a line. Empty if they do not wait.
pub fn waiting(for_memory: bool, waits: Option<&LongWait>) -> String {
    let mut texts = Vec::new();
    if let Some(LongWait { retries, rates, graders, next }) = waits {
        let mut waiting = Vec::new();
        if *retries > 0 {
            waiting.push(format!("{} for a retry", plural(*retries, "trial waits", "trials wait")));
        }
        for (count, one, many) in [
            (*rates, "provider waits", "providers wait"),
            (*graders, "grader waits", "graders wait"),
        ] {
            if count > 0 {
                waiting.push(format!("{} for the rate limit", plural(count, one, many)));
            }
        }
        let next = show_duration(Duration::from_secs(next.as_millis().div_ceil(1000) as u64));
        texts.push(format!("{}, next start in {next}", waiting.join(" and ")));
    }
    if for_memory {
        texts.push("more wait for memory".to_owned());
    }
    texts.iter().map(|text| format!("; {text}")).collect()
}

/// Formats the lines of the bar: name, time, bar, counts, rate and time left, then waits and slow attempts. On a narrow terminal the
/// bar is shorter or missing, and counts have signs in place of words.
pub fn bar_lines(
    columns: usize,
    name: Option<&str>,
    done: Done<'_>,
    waiting: &str,
    oldest: Option<String>,
) -> Vec<String> {
    let seconds = done.elapsed.as_secs();
    let time = match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    };
    let head = name.map_or_else(|| time.clone(), |name| format!("{name} {time}"));
    let ungraded = done.counts.ungraded;
    let [number, executed] = [done.done, done.done + ungraded].map(grouped);
    let planned = if done.is_again {
        grouped(done.planned)
    } else {
        phrases::planned(done.counts, done.planned)
    };
    let number = match ungraded {
        _ if done.is_again => format!("{number}/{planned} now"),
        0 => format!("{number}/{planned}"),
        _ => format!("{executed}/{planned}, {number} graded"),
    };
    let new = done.done.saturating_sub(done.before);
    let left = (new > 0 && done.elapsed >= RATE_AFTER).then(|| {
        let trials = done.planned().saturating_sub(done.done) as f64;
        // Until the next trial is done the estimate counts down, and is left out when its time has passed.
        let since = done.elapsed.saturating_sub(done.until_newest).as_secs_f64();
        let left = done.per_trial.map(|per_trial| per_trial.as_secs_f64() * trials - since);
        let left = left.filter(|left| *left > 0.0);
        let left = left.map(|left| show_duration(Duration::from_secs(left.ceil() as u64)));
        let rate = new as f64 / done.elapsed.as_secs_f64();
        let rate = if rate < 100.0 { format!("{rate:.1}") } else { grouped(rate as u64) };
        left.map_or_else(|| format!("{rate}/s"), |left| format!("{rate}/s, {left} left"))
    });
    let rest = |counts: String| {
        let parts = [Some(number.clone()), Some(counts), left.clone()];
        let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        parts.join("  ")
    };
    let mut rest_of_line =
        rest(with_retried(done.counts.to_string(), ", ", done.retried, "to retry"));
    let room = |rest: &str| columns.saturating_sub(width(&head) + width(rest) + 3);
    if room(&rest_of_line) < BAR_COLUMNS[1] {
        let counts = phrases::short_counts(done.counts);
        rest_of_line = rest(with_retried(counts, "  ", done.retried, "to retry"));
    }
    let bar = match room(&rest_of_line).min(BAR_COLUMNS[0]) {
        bar if bar < BAR_COLUMNS[1] => String::new(),
        bar => {
            let full = (bar as u64 * done.done).checked_div(done.planned()).unwrap_or(0);
            let full = (full as usize).min(bar);
            format!("{}{} ", "━".repeat(full), "─".repeat(bar - full))
        }
    };
    let mut lines = vec![format!("{head} {bar}{rest_of_line}")];
    lines.extend(waiting.strip_prefix("; ").map(str::to_owned));
    lines.extend(oldest);
    lines
}
