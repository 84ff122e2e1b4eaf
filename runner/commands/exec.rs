//! `runner exec`.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

use miette::{IntoDiagnostic as _, WrapErr as _};
use tokio::{runtime, sync::mpsc};

use super::{
    Surroundings,
    plugins::{self, Build},
    session_log::SessionLog,
};
use crate::{
    cli::{ExecArgs, TalkArgs},
    error::{Error, ExitStatus},
    model::{Counts, Reason, RunStatus, Stage, StopSignal, Verdict},
    output::{Begin, Finish, Mode, Output, Report},
    plugin::{Engine, EngineOptions, Interrupt},
    record::{End, Recorder, Store},
    run::{
        self, Ending, Message, Overrides, Plan, PlanError, ReadyError, Session, SessionError,
        StopSignals,
    },
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
    let signals = StopSignals::install().map_err(|error| setup("cannot handle signals", error))?;
    let mode = mode(&args);
    let is_verbose = args.talk.verbose;
    let is_dry = args.dry_run;
    let root = args.results.root.clone();

    let plan = plan(args, &signals, output)?;
    if is_dry {
        return dry_run(&plan, output);
    }
    let log = SessionLog::start(surroundings.log_filter.as_deref(), output);
    let store = Store::open(&root).map_err(Error::record)?;
    let report = Report::new(output.clone(), mode, is_verbose);
    let session = Live::begin(&plan, &store, &signals, report, &log)?;
    session.run(&plan, engine_options(surroundings, &root))
}

/// Everything that happens before a run exists.
fn plan(args: ExecArgs, signals: &StopSignals, output: &Output) -> Result<Plan, Error> {
    let scenario = scenario::load(&args.scenario).map_err(Error::usage)?;
    let build = if args.build { Build::Always } else { Build::Ask };
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
    Plan::new(scenario, &args.scenario, &plugins, selection, overrides).map_err(|error| {
        let status = match &error {
            PlanError::NothingSelected { .. } => ExitStatus::NothingSelected,
            _ => ExitStatus::Usage,
        };
        Error {
            status,
            report: error.into(),
        }
    })
}

/// Prints the trials that would run.
fn dry_run(plan: &Plan, output: &Output) -> Result<ExitStatus, Error> {
    let listed = plan.each_trial(|trial| output.data(&trial.to_string()));
    listed.map_err(|error| setup("cannot read the normalised tests", error))?;
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
        let (to_dispatcher, asked) = (sender.clone(), interrupt.clone());
        signals.listen(move |signal| {
            asked.request();
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
    fn run(mut self, plan: &Plan, options: EngineOptions) -> Result<ExitStatus, Error> {
        let guests = runtime::Builder::new_multi_thread()
            .worker_threads(plan.jobs().min(cores()))
            .thread_name("guest")
            .enable_all()
            .build()
            .map_err(|error| setup("cannot start the threads of guests", error));
        let ended = guests.and_then(|guests| {
            let ended = self.execute(plan, options, guests.handle());
            // A guest inside one long instruction cannot be joined.
            guests.shutdown_background();
            ended
        });
        self.finish(End2::of(ended))
    }
}
