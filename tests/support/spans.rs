//! When attempts ran, by their rows.

use serde_json::Value;

/// When an attempt ran, in milliseconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: f64,
    end: f64,
}

/// The rows' spans, by start.
pub(crate) fn spans<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Vec<Span> {
    let mut spans: Vec<_> = rows.into_iter().map(span).collect();
    spans.sort_by(|one, other| one.start.total_cmp(&other.start));
    spans
}

/// How many spans share an instant, at most. Starts are rounded down to a millisecond, so an overlap counts above two.
pub(crate) fn most_at_once(spans: &[Span]) -> usize {
    let at = |time: f64| {
        spans
            .iter()
            .filter(move |span| span.start <= time && time + 2.0 < span.end)
    };
    spans
        .iter()
        .map(|span| at(span.start).count())
        .max()
        .unwrap_or(0)
}

fn span(row: &Value) -> Span {
    let started: jiff::Timestamp = row["started_at"].as_str().unwrap().parse().unwrap();
    let start = started.as_millisecond() as f64;
    Span {
        start,
        end: start + row["duration_ms"].as_f64().unwrap(),
    }
}
