//! Where the runner's own tracing output goes: into the run's `runner.log`, warnings to the screen as well.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use fs_err::File;
use tracing::{Event, Subscriber, field::Visit};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::LevelFilter,
    fmt::MakeWriter,
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use crate::output::Output;

/// The file that tracing output goes to, once there is one.
#[derive(Clone, Default)]
pub(super) struct SessionLog(Arc<Mutex<Option<File>>>);

impl SessionLog {
    /// Starts to receive the process's tracing output; what comes before [`SessionLog::open`] is only shown.
    pub(super) fn start(filter: Option<&str>, output: &Output) -> Self {
        let log = Self::default();
        let filter = EnvFilter::builder().parse_lossy(filter.unwrap_or("info"));
        let file = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            // A full disk is told where a row cannot be stored, and not by a line in the middle of the screen.
            .log_internal_errors(false)
            .with_writer(log.clone())
            .with_filter(filter);
        // A layer without a filter would switch on everything that wasmtime traces, which costs more than a small guest.
        let screen = Warnings(output.clone()).with_filter(LevelFilter::WARN);
        // A second session in one process, as in tests, keeps the first one's.
        drop(
            tracing_subscriber::registry()
                .with(file)
                .with(screen)
                .try_init(),
        );
        log
    }

    /// Writes into `file` from now on.
    pub(super) fn go_to(&self, file: File) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }
}

impl io::Write for SessionLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for SessionLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Shows warnings and errors of the runner itself on the screen.
struct Warnings(Output);

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("runner") || self.0.is_log() {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.warn(&message.0);
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
