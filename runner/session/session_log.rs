//! Where the runner's own tracing output goes: into the run's `runner.log`, warnings to whoever has started it as well.
//!
//! Only what this program's own code traces goes anywhere, whatever `RUNNER_LOG` says: wasmtime, its WASI and the HTTP client
//! trace what guests hand to them and what servers answer, secrets among it, in forms that nobody can list.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fs_err::File;
use tracing::{Event, Metadata, Subscriber, field::Visit, subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, LevelFilter, filter_fn},
    fmt::MakeWriter,
    layer::{Context, SubscriberExt as _},
};

use crate::{model::visible_line, plugin::Secrets};

/// The file that tracing output goes to, once there is one. One that nobody has started receives nothing.
#[derive(Clone, Default)]
pub struct SessionLog(Arc<Mutex<LogState>>);

#[derive(Default)]
struct LogState {
    /// Whether warnings are shown.
    has_begun: bool,
    file: Option<File>,
    /// What must not be written down.
    secrets: Vec<Arc<Secrets>>,
}

impl SessionLog {
    /// Starts to receive the process's tracing output, of which `filter` chooses what is written down. What comes before
    /// there is a run's log is not, and warnings before a session has begun are not shown to `warn` either.
    pub fn start(filter: Option<&str>, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let log = Self::default();
        let filter = EnvFilter::builder().parse_lossy(filter.unwrap_or("info"));
        let file = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            // A full disk is told where a row cannot be stored, and not by a line in the middle of the screen.
            .log_internal_errors(false)
            .with_writer(log.clone())
            .with_filter(filter.and(filter_fn(is_ours)));
        // A layer without a filter would switch on everything that wasmtime traces, which costs more than a small guest.
        let screen = Warnings {
            log: log.clone(),
            warn: Box::new(warn),
        };
        let screen = screen.with_filter(LevelFilter::WARN);
        let registry = tracing_subscriber::registry().with(file).with(screen);
        // Not by `try_init`, which lets the `log` crate's records in as well: wasmtime writes dozens of them for a sandbox, and
        // none is the runner's own. A second session in one process, as in tests, keeps the first one's.
        drop(subscriber::set_global_default(registry));
        log
    }

    /// Shows warnings from now on.
    pub fn begin(&self) {
        self.lock().has_begun = true;
    }

    /// Writes into `file` from now on, and the values of `secrets` nowhere.
    pub(super) fn go_to(&self, file: File, secrets: impl Iterator<Item = Arc<Secrets>>) {
        let mut inner = self.lock();
        inner.file = Some(file);
        inner.secrets = secrets.collect();
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for SessionLog {
    /// Writes an event, which comes as a whole, as one line: what a guest has said in it begins no other.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.lock();
        let LogState {
            file: Some(file),
            secrets,
            ..
        } = &mut *inner
        else {
            return Ok(bytes.len());
        };
        let mut event = String::from_utf8_lossy(bytes).into_owned();
        if event.ends_with('\n') {
            event.pop();
        }
        secrets
            .iter()
            .for_each(|secrets| secrets.redact(&mut event));
        let line = visible_line(&event).into_owned() + "\n";
        file.write_all(line.as_bytes())?;
        Ok(bytes.len())
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

/// Tells whether this program's own code traces it. What else there is, spans of the code that is generated for the
/// interfaces of guests included, is in modules of other crates, or has no place to be looked at.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let crate_name = target.split_once("::").map_or(target, |(name, _)| name);
    crate_name == "runner" && metadata.is_event()
}

/// Shows warnings and errors of the runner itself.
struct Warnings {
    log: SessionLog,
    warn: Box<dyn Fn(&str) + Send + Sync>,
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !is_ours(event.metadata()) || !self.log.lock().has_begun {
            return;
        }
        let mut message = EventMessage(String::new());
        event.record(&mut message);
        (self.warn)(&message.0);
    }
}

struct EventMessage(String);

impl Visit for EventMessage {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
