//! How far a run is, while it goes on: a bar at the foot of a terminal, a line every 10 seconds elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use runner_model::{Counts, units::show_duration};
use runner_report::phrases;

use super::{Out, layout::cut, out::message_columns};

/// How often a line comes where there is no terminal.
const BEAT: Duration = Duration::from_secs(10);
/// What a rate is counted over at least.
const RATE_AFTER: Duration = Duration::from_secs(2);
/// Columns of the bar itself.
const BAR: usize = 24;

/// How far a run is.
pub struct Progress<'a> {
    out: &'a Out,
    bar: Option<ProgressBar>,
    told: Instant,
    /// When the first update came, and the trials that were done then.
    began: Option<(Instant, u64)>,
}

impl<'a> Progress<'a> {
    /// Begins to show progress; the bar comes with the first update.
    pub fn new(out: &'a Out) -> Self {
        let bar = message_columns().map(|_| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        out.set_bar(bar.clone());
        Self { out, bar, told: Instant::now(), began: None }
    }

    /// Says what is being done before there are trials to count.
    pub fn say(&mut self, what: &str) {
        match (&self.bar, message_columns()) {
            (Some(bar), Some(columns)) => bar.set_message(cut(what, columns - 1)),
            _ => self.out.talk(what),
        }
    }

    /// Shows how far the run is.
    pub fn update(
        &mut self,
        counts: &Counts,
        planned: u64,
        in_flight: u64,
        waits_for_memory: bool,
    ) {
        let more = match waits_for_memory {
            true => "; more wait for memory",
            false => "",
        };
        let done = counts.done();
        let (began, before) = *self.began.get_or_insert((Instant::now(), done));
        match (&self.bar, message_columns()) {
            (Some(bar), Some(columns)) => {
                let line = line(columns, counts, planned, began.elapsed(), before);
                bar.set_message(cut(&(line + more), columns - 1));
            }
            _ if self.told.elapsed() >= BEAT => {
                self.told = Instant::now();
                let said = match phrases::counts(counts) {
                    words if words.is_empty() => "none".to_owned(),
                    words => words,
                };
                self.out
                    .talk(&format!("{done} of {planned} done: {said}; {in_flight} running{more}"));
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

/// The line of the bar. Below 80 columns it has no rate, below 60 no bar.
fn line(columns: usize, counts: &Counts, planned: u64, elapsed: Duration, before: u64) -> String {
    let done = counts.done();
    let mut line = format!("{}:{:02} ", elapsed.as_secs() / 60, elapsed.as_secs() % 60);
    if columns >= 60 {
        let full = (BAR as u64 * done).checked_div(planned).unwrap_or(0) as usize;
        let full = full.min(BAR);
        line.push_str(&"━".repeat(full));
        line.push_str(&"─".repeat(BAR - full));
        line.push(' ');
    }
    line.push_str(&format!("{done}/{planned}"));
    let counted = phrases::counts(counts);
    if !counted.is_empty() {
        line.push_str(&format!("  {counted}"));
    }
    let made = done.saturating_sub(before);
    if columns >= 80 && made > 0 && elapsed >= RATE_AFTER {
        let rate = made as f64 / elapsed.as_secs_f64();
        let left = planned.saturating_sub(done) as f64 / rate;
        let left = show_duration(Duration::from_secs(left.ceil() as u64));
        line.push_str(&format!("  {rate:.1}/s, {left} left"));
    }
    line
}
