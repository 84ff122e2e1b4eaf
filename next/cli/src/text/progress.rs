//! Progress of a run: a bar below the other lines of a terminal, elsewhere a line every 10 seconds.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use runner_engine::LongWait;
use runner_model::Counts;
use runner_model::units::{plural, show_duration};
use runner_report::phrases;

use super::{Out, layout::cut, out::message_columns};

/// Interval between lines if there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Time before a rate is shown.
const RATE_AFTER: Duration = Duration::from_secs(2);
const BAR_COLUMNS: usize = 24;

pub struct Progress<'a> {
    out: &'a Out,
    bar: Option<ProgressBar>,
    last_line: Instant,
    /// Whether the last line named what attempts wait for. The first such line does not wait for its turn.
    named_wait: bool,
    /// Time of the first update, and the trials that were done before it.
    start: Option<(Instant, u64)>,
}

impl<'a> Progress<'a> {
    /// Starts to show progress. The bar appears with the first update.
    pub fn new(out: &'a Out) -> Self {
        let bar = message_columns().map(|_| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        out.set_bar(bar.clone());
        Self { out, bar, last_line: Instant::now(), named_wait: false, start: None }
    }

    /// Shows the current step before there are trials to count.
    pub fn show(&mut self, step: &str) {
        match (&self.bar, message_columns()) {
            (Some(bar), Some(columns)) => bar.set_message(cut(step, columns - 1)),
            _ => self.out.talk(step),
        }
    }

    /// Shows the counts. `waiting` is the text of [`waiting`].
    pub fn update(&mut self, counts: &Counts, planned: u64, in_flight: u64, waiting: &str) {
        let (start, done_before) = *self.start.get_or_insert((Instant::now(), counts.done()));
        match (&self.bar, message_columns()) {
            (Some(bar), Some(columns)) => {
                let line = bar_line(columns, counts, planned, start.elapsed(), done_before);
                bar.set_message(cut(&(line + waiting), columns - 1));
            }
            _ if self.last_line.elapsed() >= LINE_INTERVAL
                || !waiting.is_empty() && !self.named_wait =>
            {
                (self.last_line, self.named_wait) = (Instant::now(), !waiting.is_empty());
                let (done, mut counts) = (counts.done(), phrases::counts(counts));
                if !counts.is_empty() {
                    counts = format!(" ({counts})");
                }
                self.out.talk(&format!(
                    "{done} of {planned} done{counts}; {in_flight} running{waiting}"
                ));
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

/// Describes what attempts wait for, as the end of a line. Empty if they do not wait.
pub fn waiting(for_memory: bool, waits: Option<&LongWait>) -> String {
    let mut texts = Vec::new();
    if let Some(LongWait { retries, rates, next }) = waits {
        let mut waiting = Vec::new();
        if *retries > 0 {
            waiting.push(format!("{} for a retry", plural(*retries, "trial waits", "trials wait")));
        }
        if *rates > 0 {
            let providers = plural(*rates, "provider waits", "providers wait");
            waiting.push(format!("{providers} for the rate limit"));
        }
        let next = show_duration(Duration::from_secs(next.as_millis().div_ceil(1000) as u64));
        texts.push(format!("{}, next start in {next}", waiting.join(" and ")));
    }
    if for_memory {
        texts.push("more wait for memory".to_owned());
    }
    texts.iter().map(|text| format!("; {text}")).collect()
}

/// Formats the line of the bar. Below 80 columns it has no rate, below 60 no bar.
pub fn bar_line(
    columns: usize,
    counts: &Counts,
    planned: u64,
    elapsed: Duration,
    done_before: u64,
) -> String {
    let done = counts.done();
    let mut line = format!("{}:{:02} ", elapsed.as_secs() / 60, elapsed.as_secs() % 60);
    if columns >= 60 {
        let full = (BAR_COLUMNS as u64 * done).checked_div(planned).unwrap_or(0) as usize;
        let full = full.min(BAR_COLUMNS);
        line.push_str(&"━".repeat(full));
        line.push_str(&"─".repeat(BAR_COLUMNS - full));
        line.push(' ');
    }
    line.push_str(&format!("{done}/{planned}"));
    let counted = phrases::counts(counts);
    if !counted.is_empty() {
        line.push_str(&format!("  {counted}"));
    }
    let new = done.saturating_sub(done_before);
    if columns >= 80 && new > 0 && elapsed >= RATE_AFTER {
        let rate = new as f64 / elapsed.as_secs_f64();
        let left = planned.saturating_sub(done) as f64 / rate;
        let left = show_duration(Duration::from_secs(left.ceil() as u64));
        line.push_str(&format!("  {rate:.1}/s, {left} left"));
    }
    line
}
