//! [`Workbench`]: what it takes to call a plugin outside of any run, and to be stopped meanwhile.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use miette::miette;
use tokio::runtime::{self, Handle, Runtime};

use crate::{
    commands::Surroundings,
    error::{Error, ExitStatus},
    model::{StopSignal, chain},
    output::Output,
    plugin::{
        Engine, EngineError, EngineOptions, Interrupt, LinkError, Plugin, PluginFile, child::Helper,
    },
    run::StopSignals,
    session::engine_options,
};

/// Where the cache of compiled plugins is if the environment names no place: as in the default results root.
const ROOT: &str = "results";

/// An engine, threads, and a way to be stopped.
pub(super) struct Workbench {
    engine: Engine,
    /// For guests only; taken when the workbench goes.
    guests: Option<Runtime>,
    main: Runtime,
    /// Set by the first signal: there is nothing here that has to be ended in order.
    pub(super) interrupt: Interrupt,
    signal: Arc<OnceLock<StopSignal>>,
}

impl Workbench {
    /// Sets up an engine made by `engine`, and lets signals interrupt what happens on this workbench.
    pub(super) fn new(
        engine: fn(EngineOptions) -> Result<Engine, EngineError>,
        surroundings: &Surroundings,
        output: &Output,
    ) -> Result<Self, Error> {
        // Nothing opens a file for it: it shows warnings.
        surroundings.log(output).begin();
        let engine = engine(engine_options(&surroundings.host, Path::new(ROOT)))
            .map_err(|error| Error::internal(miette!("{}", chain(&error))))?;
        let guests = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("guest")
            .enable_all()
            .build();
        let main = runtime::Builder::new_current_thread().enable_all().build();
        let cannot_start = |error| Error::internal(miette!("cannot start threads: {error}"));
        let (interrupt, signal) = interrupt_by_signals()?;
        Ok(Self {
            engine,
            guests: Some(guests.map_err(cannot_start)?),
            main: main.map_err(cannot_start)?,
            interrupt,
            signal,
        })
    }

    /// Compiles and links a plugin, and tells how long that took.
    pub(super) fn link(&self, file: &PluginFile) -> (Result<Plugin, LinkError>, Duration) {
        let start = Instant::now();
        let plugin = self.wait(self.engine.link(file, &self.interrupt));
        (plugin, start.elapsed())
    }

    /// Waits for something that happens here.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.main.block_on(future)
    }

    /// The program that does what needs a process of its own.
    pub(super) fn helper(&self) -> &Helper {
        self.engine.helper()
    }

    /// Where guests run.
    pub(super) fn guests(&self) -> &Handle {
        let guests = self.guests.as_ref();
        guests.expect("it is taken in `drop` only").handle()
    }

    /// The exit code of a command that a signal has ended.
    pub(super) fn stopped(&self) -> Option<ExitStatus> {
        self.signal.get().copied().map(ExitStatus::Signalled)
    }
}

impl Drop for Workbench {
    fn drop(&mut self) {
        // A guest inside one long instruction cannot be joined.
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}

fn interrupt_by_signals() -> Result<(Interrupt, Arc<OnceLock<StopSignal>>), Error> {
    let signals = StopSignals::install()
        .map_err(|error| Error::internal(miette!("cannot handle signals: {error}")))?;
    let (interrupt, signal) = (Interrupt::default(), Arc::new(OnceLock::new()));
    let (now, first) = (interrupt.clone(), Arc::clone(&signal));
    signals.listen(move |request| {
        if let Some(signal) = request.signal {
            // A second one changes nothing.
            let _ = first.set(signal);
        }
        now.now();
    });
    Ok((interrupt, signal))
}
