//! `history`: what tests came to over many runs.

use jiff::{Timestamp, tz::TimeZone};
use owo_colors::OwoColorize as _;

use super::{
    format,
    table::{Cell, Column, Table},
    tone::Tone,
};
use crate::view::{TestTrend, TestTrends, TrendOutcome, TrendRun};

/// How many tests are told.
const MAX_TESTS: usize = 30;
/// How many of the slowest, and of those that got slower.
const MAX_SLOW: usize = 5;
/// Lines of the picture of pass rates.
const LINES: u32 = 5;
/// How wide a picture is where nobody has a screen.
const WIDTH: usize = 80;
/// Columns beside the glyphs and the bars that a screen keeps.
const MARGIN: usize = 8;

/// What tests came to, for people: on a screen of so many characters, if there is one.
pub fn trends_text(trends: &TestTrends, width: Option<usize>) -> String {
    let mut parts = vec![title(&trends.runs)];
    parts.extend(
        trends
            .filter
            .as_ref()
            .map(|filter| format!("only tests that `{}` means", format::visible_line(filter))),
    );
    parts.extend(rates(&trends.runs, width.unwrap_or(WIDTH)));
    parts.extend(tests(trends, width));
    parts.extend(slowest(&trends.tests, width));
    parts.extend(slower(&trends.tests, width));
    parts.join("\n\n")
}

fn title(runs: &[TrendRun]) -> String {
    let day = |at: Timestamp| {
        at.to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M")
            .to_string()
    };
    let mut names: Vec<&str> = runs.iter().map(|run| &*run.scenario).collect();
    names.sort_unstable();
    names.dedup();
    let which = match names[..] {
        [name] => format!("`{}`", format::visible_line(name)),
        _ => format::plural(names.len() as u64, "scenario"),
    };
    let span = match (runs.first(), runs.last()) {
        (Some(first), Some(last)) => {
            format!(", {} to {}", day(first.started_at), day(last.started_at))
        }
        _ => String::new(),
    };
    format!(
        "{} of {which}{span}",
        format::plural(runs.len() as u64, "run")
    )
}

/// The pass rates as bars, the newest at the right; nothing for fewer than two.
fn rates(runs: &[TrendRun], width: usize) -> Option<String> {
    let rates: Vec<f64> = runs.iter().filter_map(|run| run.pass_rate).collect();
    if rates.len() < 2 {
        return None;
    }
    let bars = averaged(&rates, width.saturating_sub(MARGIN).max(1));
    let least = bars.iter().copied().fold(1.0, f64::min);
    // The next ten below, so that small changes of high rates are seen.
    let ground = (((least * 10.0).ceil() - 1.0) / 10.0).clamp(0.0, 0.9);
    let mut lines = vec!["pass rate".dimmed().to_string()];
    for line in (0..LINES).rev() {
        let label = match line {
            _ if line + 1 == LINES => "100 %".to_owned(),
            0 => percent(ground),
            _ => String::new(),
        };
        let filled: String = bars.iter().map(|rate| block(*rate, ground, line)).collect();
        lines.push(format!("{label:>5}  {}", filled.trim_end()));
    }
    Some(lines.join("\n"))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// As many values as there is room for, each the mean of as many runs as the others.
#[expect(clippy::cast_precision_loss, reason = "nobody has so many runs")]
fn averaged(rates: &[f64], room: usize) -> Vec<f64> {
    let each = rates.len().div_ceil(room);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    rates.chunks(each.max(1)).map(mean).collect()
}

/// What of a bar is on a line, from 0 at the ground.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a block's eighths is one of them"
)]
fn block(rate: f64, ground: f64, line: u32) -> char {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = (rate - ground) / (1.0 - ground) * f64::from(LINES) * 8.0;
    // A rate at the ground is still a bar.
    let eighths = (height.round() as u32)
        .max(1)
        .saturating_sub(line * 8)
        .min(8);
    BLOCKS[eighths as usize]
}

fn tests(trends: &TestTrends, width: Option<usize>) -> Option<String> {
    let shown = &trends.tests[..trends.tests.len().min(MAX_TESTS)];
    if shown.is_empty() {
        return Some("no test has a final row in them".to_owned());
    }
    let room = width.map_or(usize::MAX, |width| (width / 2).max(MARGIN) - MARGIN / 2);
    let glyphs = trends.runs.len().min(room);
    let is_flaky = shown.iter().any(|test| test.flaky > 0);
    let several = shown.iter().any(|test| test.scenario != shown[0].scenario);
    let header = match glyphs == trends.runs.len() {
        true => "newest at the right".to_owned(),
        false => format!("newest {glyphs}"),
    };
    let mut table = Table::new([
        Column::new("test").cut(3, 12),
        Column::new("passed").right(),
        Column::new(if is_flaky { "flaky" } else { "" })
            .right()
            .go(1),
        Column::new("median").right().go(0),
        Column::new(header),
    ]);
    for test in shown {
        let is_always = test.passed == test.judged;
        let name = match several {
            true => format!("{}: {}", test.scenario, name(test)),
            false => name(test),
        };
        table.row([
            name.into(),
            Cell::new(format!("{}/{}", test.passed, test.judged)).painted(match is_always {
                true => Tone::Plain,
                false => Tone::Bad,
            }),
            test.flake_rate
                .filter(|rate| *rate > 0.0)
                .map_or_else(String::new, percent)
                .into(),
            test.duration_ms
                .map_or_else(|| "–".to_owned(), millis)
                .into(),
            glyph_line(test, glyphs),
        ]);
    }
    let more = match trends.tests.len() - shown.len() {
        0 => String::new(),
        more => format!(
            "\n… and {} more: `--test` chooses some, `--json` has all",
            format::count(more as u64)
        ),
    };
    Some(format!(
        "{}{more}\n{}",
        table.fitted(width),
        LEGEND.dimmed()
    ))
}

/// What the glyphs say.
const LEGEND: &str = "✓ passed  ~ flaky  ✗ failed  ! error  T timeout  - skipped  · no row";

fn name(test: &TestTrend) -> String {
    format!("{}@{}", test.test, test.provider)
}

fn glyph_line(test: &TestTrend, glyphs: usize) -> Cell<'static> {
    let newest = &test.outcomes[test.outcomes.len() - glyphs..];
    let line: String = newest
        .iter()
        .map(|outcome| TrendOutcome::glyph(*outcome))
        .collect();
    let latest = test.outcomes.iter().rev().flatten().next();
    Cell::new(line).painted(match latest {
        Some(TrendOutcome::Failed | TrendOutcome::Error | TrendOutcome::Timeout) => Tone::Bad,
        Some(TrendOutcome::Flaky) => Tone::Open,
        Some(TrendOutcome::Passed) => Tone::Good,
        Some(TrendOutcome::Skipped) | None => Tone::Plain,
    })
}

fn slowest(tests: &[TestTrend], width: Option<usize>) -> Option<String> {
    let mut timed: Vec<_> = tests
        .iter()
        .filter_map(|test| Some((test.duration_ms?, test)))
        .collect();
    if timed.len() < 2 {
        return None;
    }
    timed.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let mut table = Table::new([
        Column::new("slowest").cut(0, 12),
        Column::new("median").right(),
    ]);
    for (duration, test) in timed.into_iter().take(MAX_SLOW) {
        table.row([name(test).into(), millis(duration).into()]);
    }
    Some(table.fitted(width))
}

fn slower(tests: &[TestTrend], width: Option<usize>) -> Option<String> {
    let mut slower: Vec<_> = tests
        .iter()
        .filter_map(|test| Some((test.slower?, test)))
        .collect();
    slower.sort_by(|(one, _), (other, _)| {
        let ratio = |slower: &crate::view::SlowerTest| slower.now_ms / slower.before_ms;
        ratio(other).total_cmp(&ratio(one))
    });
    let all = slower.len();
    let mut table = Table::new([
        Column::new("got slower").cut(0, 12),
        Column::new("before").right(),
        Column::new("newest five").right(),
    ]);
    for (slower, test) in slower.into_iter().take(MAX_SLOW) {
        table.row([
            name(test).into(),
            millis(slower.before_ms).into(),
            Cell::new(millis(slower.now_ms)).painted(Tone::Bad),
        ]);
    }
    let more = match all.saturating_sub(MAX_SLOW) {
        0 => String::new(),
        more => format!("\n… and {more} more"),
    };
    (all > 0).then(|| table.fitted(width) + &more)
}

/// Milliseconds as people read them.
fn millis(millis: f64) -> String {
    std::time::Duration::try_from_secs_f64(millis / 1e3)
        .map_or_else(|_| "–".to_owned(), format::duration)
}

#[cfg(test)]
mod tests {
    use super::{averaged, block};

    #[test]
    fn bars_are_as_high_as_their_rates() {
        let bar = |rate| -> String { (0..5).map(|line| block(rate, 0.5, line)).collect() };
        assert_eq!(bar(1.0), "█████");
        assert_eq!(bar(0.75), "██▄  ");
        assert_eq!(bar(0.5), "▁    ");
    }

    #[test]
    fn more_runs_than_there_is_room_for_are_averaged() {
        assert_eq!(averaged(&[0.0, 1.0, 0.5], 3), [0.0, 1.0, 0.5]);
        assert_eq!(averaged(&[0.0, 1.0, 0.5], 2), [0.5, 0.5]);
    }
}
