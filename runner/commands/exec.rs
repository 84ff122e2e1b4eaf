//! `runner exec`.

use std::io::IsTerminal as _;

use miette::miette;

use super::{
    Surroundings,
    live::{Around, Live, engine_options},
    plugins::{self, Build},
    session_log::SessionLog,
};
use crate::{
    cli::ExecArgs,
    error::{Error, ExitStatus},
    output::{Mode, Output, Report},
    record::{History, Store},
    run::{self, Overrides, Plan, PlanError, StopSignals},
    scenario::{self, Selection},
};

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
    let around = Around {
        signals: &signals,
        log: &log,
    };
    let birth = plan.birth(run::wall_clock());
    let live = Live::begin(&plan, &around, report, |acks| store.begin(birth, acks))?;
    let history = History::planned(plan.trial_count());
    Ok(live.run(history, engine_options(surroundings, &root)))
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
