//! Lines for the session's log, which a worker has no file for.

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tracing::{Event, Level, Metadata, Subscriber, field::Visit, subscriber};
use tracing_subscriber::{
    Layer,
    filter::filter_fn,
    layer::{Context, SubscriberExt as _},
};

use super::wire::LogLevel;

/// A line for the session's log.
#[derive(Debug)]
pub(super) struct WorkerLine {
    pub(super) level: LogLevel,
    pub(super) text: String,
}

/// Gathers from now on what the runner's own code traces in this process, as a session of the runner does.
pub(super) fn gather() -> UnboundedReceiver<WorkerLine> {
    let (lines, gathered) = mpsc::unbounded_channel();
    let ours = filter_fn(|metadata| level(metadata).is_some());
    let registry = tracing_subscriber::registry().with(Gatherer { lines }.with_filter(ours));
    // Not by `try_init`, which lets in what wasmtime logs of every sandbox. Nobody else has one in a worker.
    drop(subscriber::set_global_default(registry));
    gathered
}

struct Gatherer {
    lines: UnboundedSender<WorkerLine>,
}

impl<S: Subscriber> Layer<S> for Gatherer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(level) = level(event.metadata()) else {
            return;
        };
        let mut text = LineText(String::new());
        event.record(&mut text);
        drop(self.lines.send(WorkerLine {
            level,
            text: text.0,
        }));
    }
}

struct LineText(String);

impl Visit for LineText {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// How much a line matters that this program's own code traces; others trace what guests hand to them.
fn level(metadata: &Metadata<'_>) -> Option<LogLevel> {
    let target = metadata.target();
    let crate_name = target.split_once("::").map_or(target, |(name, _)| name);
    if crate_name != "runner" || !metadata.is_event() {
        return None;
    }
    match *metadata.level() {
        Level::ERROR => Some(LogLevel::Error),
        Level::WARN => Some(LogLevel::Warn),
        Level::INFO => Some(LogLevel::Info),
        Level::DEBUG | Level::TRACE => None,
    }
}
