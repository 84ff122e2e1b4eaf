//! Progress of a run: a bar below the other lines of a terminal, elsewhere a line every 10 seconds.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use runner_model::{Counts, units::show_duration};
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
        Self { out, bar, last_line: Instant::now(), start: None }
    }

    /// Shows the current step before there are trials to count.
    pub fn show(&mut self, step: &str) {
        match (&self.bar, message_columns()) {
            (Some(bar), Some(columns)) => bar.set_message(cut(step, columns - 1)),
            _ => self.out.talk(step),
        }
    }

    pub fn update(
        &mut self,
        counts: &Counts,
        planned: u64,
        in_flight: u64,
        waits_for_memory: bool,
    ) {
        let waiting = if waits_for_memory { "; more wait for memory" } else { "" };
        let (start, done_before) = *self.start.get_or_insert((Instant::now(), counts.done()));
        match (&self.bar, message_columns()) {
            (Some(bar), Some(columns)) => {
                let line = bar_line(columns, counts, planned, start.elapsed(), done_before);
                bar.set_message(cut(&(line + waiting), columns - 1));
            }
            _ if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
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
