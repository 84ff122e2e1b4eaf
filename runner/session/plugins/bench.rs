//! [`Bench`]: what it takes to call a plugin outside of any run, and to be stopped meanwhile.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use miette::miette;
use tokio::runtime::{self, Handle, Runtime};

use crate::{
    error::Error,
    model::{StopSignal, chain},
    plugin::{
        Engine, EngineError, EngineOptions, Interrupt, LinkError, Plugin, PluginFile, SandboxPool,
        child::Helper,
    },
    run::StopSignals,
    session::{Host, engine::engine_options},
};

/// Where the cache of compiled plugins is if the environment names no place: as in the default results root.
const ROOT: &str = "results";

/// What came of something that a signal may end.
#[derive(Debug)]
pub enum Interruptible<T> {
    /// It was done.
    Done(T),
    /// A signal has ended it, and nothing came of it.
    Interrupted(StopSignal),
}

/// An engine, threads, and a way to be stopped.
pub(crate) struct Bench {
    engine: Engine,
    /// For guests only; taken when the bench goes.
    guests: Option<Runtime>,
    main: Runtime,
    /// Set by the first signal: there is nothing here that has to be ended in order.
    pub(crate) interrupt: Interrupt,
    signal: Arc<OnceLock<StopSignal>>,
    /// Those that interrupt what happens here, until the bench goes.
    signals: Option<StopSignals>,
}

impl Bench {
    /// Sets up an engine made by `engine`, and lets signals interrupt what happens on this bench.
    pub(crate) fn new(
        engine: fn(EngineOptions) -> Result<Engine, EngineError>,
        host: &Host,
    ) -> Result<Self, Error> {
        // Nothing opens a file for it: it shows warnings.
        host.log.begin();
        let pool = host.pools_sandboxes.then(|| SandboxPool::of_any(1, 1));
        let engine = engine(engine_options(host, Path::new(ROOT), pool))
            .map_err(|error| Error::internal(miette!("{}", chain(&error))))?;
        let guests = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("guest")
            .enable_all()
            .build();
        let main = runtime::Builder::new_current_thread().enable_all().build();
        let cannot_start = |error| Error::internal(miette!("cannot start threads: {error}"));
        let (interrupt, signal) = interrupt_by(host.signals.as_ref());
        Ok(Self {
            engine,
            guests: Some(guests.map_err(cannot_start)?),
            main: main.map_err(cannot_start)?,
            interrupt,
            signal,
            signals: host.signals.clone(),
        })
    }

    /// Compiles and links a plugin, and tells how long that took.
    pub(crate) fn link(&self, file: &PluginFile) -> (Result<Plugin, LinkError>, Duration) {
        let start = Instant::now();
        let plugin = self.wait(self.engine.link(file, &self.interrupt));
        (plugin, start.elapsed())
    }

    /// Waits for something that happens here.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.main.block_on(future)
    }

    /// The program that does what needs a process of its own.
    pub(crate) fn helper(&self) -> &Helper {
        self.engine.helper()
    }

    /// Where guests run.
    pub(crate) fn guests(&self) -> &Handle {
        let guests = self.guests.as_ref();
        guests.expect("it is taken in `drop` only").handle()
    }

    /// The signal that has interrupted what happens here.
    pub(crate) fn interrupted(&self) -> Option<StopSignal> {
        self.signal.get().copied()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(signals) = &self.signals {
            signals.stop_listening();
        }
        // A guest inside one long instruction cannot be joined.
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}

/// Lets the first signal interrupt, and tells which one it was.
fn interrupt_by(signals: Option<&StopSignals>) -> (Interrupt, Arc<OnceLock<StopSignal>>) {
    let (interrupt, signal) = (Interrupt::default(), Arc::new(OnceLock::new()));
    if let Some(signals) = signals {
        let (now, first) = (interrupt.clone(), Arc::clone(&signal));
        signals.listen(move |request| {
            if let Some(signal) = request.signal {
                // A second one changes nothing.
                let _ = first.set(signal);
            }
            now.now();
        });
    }
    (interrupt, signal)
}
