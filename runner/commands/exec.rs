//! `runner exec`.

use std::{io::IsTerminal as _, num::NonZeroUsize, path::Path, time::Duration};

use miette::miette;
use tokio::{
    runtime::{self, Runtime},
    sync::mpsc,
};

use super::{
    Surroundings,
    closing::{Closing, close},
    plugins::{self, Build},
    session_log::SessionLog,
};
use crate::{
    cli::ExecArgs,
    error::{Error, ExitStatus},
    output::{Begin, Mode, Output, Report},
    plugin::{Engine, EngineOptions, Interrupt},
    record::{Recorder, Store},
    run::{self, Message, Overrides, Plan, PlanError, Session, StopSignals},
    scenario::{self, Selection},
};

/// How long compiling one plugin may take.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(300);

/// Runs a scenario.
pub(super) fn exec(
    args: ExecArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let signals = StopSignals::install()
        .map_err(|error| Error::internal(miette!("cannot handle signals: {error}")))?;
    let report = Report::new(output.clone(), mode(&args), args.talk.verbose);
    let root = args.results.root.clone();
    let is_dry = args.dry_run;

    let plan = plan(args, &signals, output)?;
    if is_dry {
        return dry_run(&plan, output);
    }
    let log = SessionLog::start(surroundings.log_filter.as_deref(), output);
    let store = Store::open(&root).map_err(Error::record)?;
    let live = Live::begin(&plan, &store, &signals, report, &log)?;
    Ok(live.run(&plan, engine_options(surroundings, &root)))
}

/// Everything that happens before a run exists.
fn plan(args: ExecArgs, signals: &StopSignals, output: &Output) -> Result<Plan, Error> {
    let scenario = scenario::load(&args.scenario).map_err(Error::usage)?;
    let build = if args.build {
        Build::Always
    } else {
        Build::Ask
    };
    let plugins = plugins::find(&scenario, build, signals, output)?;
    let selection = Selection {
        tests: args.tests,
        providers: args.providers,
        tags: args.tags,
        exclude: args.exclude,
        repeat: args.repeat,
    };
    let overrides = Overrides {
        jobs: args.jobs,
        timeout: args.timeout_minutes,
        limits: args.limits,
        fail_fast: args.fail_fast,
        grace: args.grace,
    };
    let plan = Plan::new(scenario, &args.scenario, &plugins, selection, overrides);
    plan.map_err(|error| Error {
        status: match &error {
            PlanError::NothingSelected { .. } => ExitStatus::NothingSelected,
            _ => ExitStatus::Usage,
        },
        report: error.into(),
    })
}

/// Prints the trials that would run.
fn dry_run(plan: &Plan, output: &Output) -> Result<ExitStatus, Error> {
    plan.each_trial(|trial| output.data(&trial.to_string()))
        .map_err(|error| Error::internal(miette!("cannot read the normalised tests: {error}")))?;
    output.talk(&format!("{} trials would run", plan.trial_count()));
    Ok(ExitStatus::Success)
}

/// A run that was born and is not finished.
struct Live {
    recorder: Recorder,
    report: Report,
    sender: mpsc::UnboundedSender<Message>,
    inbox: mpsc::UnboundedReceiver<Message>,
    interrupt: Interrupt,
}

impl Live {
    /// Gives birth to the run; from here on signals stop it in order.
    fn begin(
        plan: &Plan,
        store: &Store,
        signals: &StopSignals,
        mut report: Report,
        log: &SessionLog,
    ) -> Result<Self, Error> {
        let (sender, inbox) = mpsc::unbounded_channel();
        let interrupt = Interrupt::default();
        let (to_dispatcher, guests) = (sender.clone(), interrupt.clone());
        signals.listen(move |signal| {
            guests.request();
            // Without a dispatcher there is nothing left to stop.
            drop(to_dispatcher.send(Message::Stop(signal)));
        });

        let acks = sender.clone();
        let recorder = store
            .begin(plan.birth(run::wall_clock()), move |written| {
                drop(acks.send(Message::Written(written)));
            })
            .map_err(Error::record)?;
        if let Err(error) = log.open(&recorder.log_path()) {
            tracing::warn!("cannot write the session's log: {error}");
        }
        report.begin(&Begin {
            run: recorder.run_id().as_str(),
            run_dir: recorder.run_dir(),
            scenario: plan.scenario().name(),
            planned: plan.trial_count(),
            providers: plan.provider_count(),
            jobs: plan.jobs(),
        });
        Ok(Self {
            recorder,
            report,
            sender,
            inbox,
            interrupt,
        })
    }

    /// Runs the trials, writes down how it ended, and says so.
    fn run(self, plan: &Plan, options: EngineOptions) -> ExitStatus {
        let Self {
            mut recorder,
            mut report,
            sender,
            inbox,
            interrupt,
        } = self;
        let closing = match set_up(plan, options) {
            Err(problem) => Closing::not_set_up(problem, plan.trial_count()),
            Ok((engine, guests, main)) => {
                let session = Session {
                    engine: &engine,
                    guests: guests.handle().clone(),
                    recorder: &mut recorder,
                    sender,
                    inbox,
                    interrupt,
                    observe: &mut |event| report.observe(&event),
                };
                let ended = main.block_on(run::run(plan, session));
                // A guest inside one long instruction cannot be joined.
                guests.shutdown_background();
                Closing::of(ended, plan.trial_count())
            }
        };
        close(recorder, report, closing)
    }
}

/// Makes the engine, the guests' runtime, and the one that the dispatcher has for itself.
fn set_up(plan: &Plan, options: EngineOptions) -> Result<(Engine, Runtime, Runtime), String> {
    let engine = Engine::new(options).map_err(|error| error.to_string())?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let guests = runtime::Builder::new_multi_thread()
        .worker_threads(plan.jobs().min(cores))
        .thread_name("guest")
        .enable_all()
        .build();
    let main = runtime::Builder::new_current_thread().enable_all().build();
    match (guests, main) {
        (Ok(guests), Ok(main)) => Ok((engine, guests, main)),
        (Err(error), _) | (_, Err(error)) => Err(format!("cannot start threads: {error}")),
    }
}

fn mode(args: &ExecArgs) -> Mode {
    if args.json {
        return Mode::Json;
    }
    if args.talk.quiet {
        return Mode::Quiet;
    }
    if std::io::stderr().is_terminal() {
        return Mode::Terminal;
    }
    Mode::Plain
}

fn engine_options(surroundings: &Surroundings, root: &Path) -> EngineOptions {
    let cache = surroundings.cache.clone();
    EngineOptions {
        compiler: surroundings.program.clone(),
        cache: cache.unwrap_or_else(|| root.join(".cache")),
        compile_timeout: COMPILE_TIMEOUT,
    }
}
