//! `runner exec`: runs a scenario, or several as a group.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use runner_engine::{EngineError, ExecRequest, Preview};
use runner_model::visible::{quoted, shown_path, visible_line};
use runner_model::{LimitBound, MAX_REPEAT, MAX_RETRIES, ScenarioOverrides, Shard};
use runner_model::{exit::Exit, id_glob};
use runner_operations::{notify::Receivers, settings::Settings};
use runner_record::{ResultsRoot, Selected};
use runner_report::{PlanLine, PlanPart, ScenarioProblem, VERSION, json::one_line};
use runner_scenario::Filter;

use super::fleet::flags::{MACHINES, RemoteArgs};
use super::root::queue::{self, QueueArgs};
use super::{group, help::completions::test_ids, root::notify, session, watch};
use crate::args::{BACKGROUND, OUTPUT, PLUGINS, RESULTS, SELECTION, SETTINGS};
use crate::args::{RootArgs, SessionArgs, filters, label, number, set_var, whole};
use crate::text::{CommandError, Out, grants, mistake, style};
use crate::{detach, shard, shard::ShardArg, source_build};

/// Run a scenario
///
/// While it runs on a terminal, `t` lists the running trials, Ctrl-Z pauses the run, and Ctrl-C stops it.
#[derive(clap::Args)]
pub struct Args {
    /// A scenario's file; several files, or a folder, run as a group
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<PathBuf>,
    /// Run only tests whose id matches; repeatable
    #[arg(long, value_name = "GLOB", help_heading = SELECTION)]
    test: Vec<String>,
    /// Leave out tests whose id matches; repeatable
    #[arg(long, value_name = "GLOB", help_heading = SELECTION)]
    exclude: Vec<String>,
    /// Run only on providers whose name matches; repeatable
    #[arg(long, value_name = "GLOB", help_heading = SELECTION)]
    provider: Vec<String>,
    /// Run only tests with this tag; repeatable
    #[arg(long, value_name = "TAG", help_heading = SELECTION)]
    tag: Vec<String>,
    /// Run only trials whose newest result is not passed
    #[arg(long, help_heading = SELECTION)]
    last_failed: bool,
    /// Run only the first N selected tests
    #[arg(long, value_name = "N", value_parser = whole(1..=u32::MAX), help_heading = SELECTION)]
    #[arg(conflicts_with = "sample")]
    first: Option<u32>,
    /// Run only N selected tests, chosen by the seed
    #[arg(long, value_name = "N", value_parser = whole(1..=u32::MAX), help_heading = SELECTION)]
    sample: Option<u32>,
    /// Run part I of N of the trials; `auto` in a scheduler
    #[arg(long, value_name = "I/N", value_parser = ShardArg::parse, conflicts_with = "last_failed")]
    #[arg(help_heading = SELECTION)]
    shard: Option<ShardArg>,
    /// Run tests that match `tag(a) & !test(b)`; repeatable
    #[arg(short = 'E', long, value_name = "FILTER", help_heading = SELECTION)]
    filter: Vec<String>,
    /// Run only tests that failed in this run
    #[arg(long, value_name = "RUN", help_heading = SELECTION)]
    failed_in: Option<String>,
    /// Print the trials that would run, and the grants
    #[arg(long, conflicts_with_all = ["detach", "queue"], help_heading = OUTPUT)]
    dry_run: bool,
    /// Run each test N times on each provider
    #[arg(long, value_name = "N", value_parser = whole(1..=MAX_REPEAT), help_heading = SETTINGS)]
    repeat: Option<u32>,
    /// Retry each trial at most N times
    #[arg(long, value_name = "N", value_parser = whole(0..=MAX_RETRIES), help_heading = SETTINGS)]
    retries: Option<u32>,
    /// The seed that all providers receive
    #[arg(long, value_name = "N", value_parser = number::<u32>, help_heading = SETTINGS)]
    seed: Option<u32>,
    /// Lower a limit, such as `memory=64MiB`; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = LimitBound::parse, help_heading = SETTINGS)]
    limit: Vec<LimitBound>,
    /// Record requests, so that attempts can continue
    #[arg(long, help_heading = SETTINGS)]
    journal: bool,
    /// Answer requests from the journal of this run
    #[arg(long, value_name = "RUN", help_heading = SETTINGS)]
    replay: Option<String>,
    /// Set a variable of `[vars]`; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = set_var, help_heading = SETTINGS)]
    set: Vec<(String, String)>,
    /// Label the run; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = label, help_heading = RESULTS)]
    label: Vec<(String, String)>,
    /// Build changed plugins, outside of the sandbox
    #[arg(long, conflicts_with = "queue", help_heading = PLUGINS)]
    build: bool,
    /// Run what has changed after each change of a file
    #[arg(long, conflicts_with_all = ["detach", "queue", "dry_run", "json", "shard", "last_failed"])]
    #[arg(help_heading = OUTPUT)]
    watch: bool,
    /// Run in this folder, or continue the run in it
    #[arg(long, value_name = "DIR", conflicts_with = "queue", help_heading = RESULTS)]
    into: Option<PathBuf>,
    /// Exit with 0 also if trials failed, once all have run
    #[arg(long, help_heading = OUTPUT)]
    scheduler_exit: bool,
    #[command(flatten, next_help_heading = BACKGROUND)]
    queue: QueueArgs,
    #[command(flatten, next_help_heading = MACHINES)]
    remote: RemoteArgs,
    #[command(flatten)]
    session: SessionArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    if args.session.detach && !detach::is_background() {
        return detach::start(out, args.session.json);
    }
    let mut session_args = args.session.clone();
    session_args.scheduler_exit = args.scheduler_exit;
    let mut folder = None;
    let shard = args.shard.as_ref().map(|shard| shard.find(out)).transpose()?;
    if let Some(into) = &args.into {
        let into = &shard::folder(into, shard)?;
        session_args.root.refuse_other(into)?;
        session_args.root = RootArgs::parent_of(into);
        folder = Some(folder_name(into)?);
    }
    let scenarios = group::scenario_files(&args.scenarios, out)?;
    refuse_tests(&scenarios)?;
    let selection = args.selected(shard)?;
    let mut requests: Vec<_> = scenarios
        .iter()
        .map(|scenario| ExecRequest {
            scenario: scenario.clone(),
            selection: selection.clone(),
            labels: args.label.iter().cloned().collect(),
            folder: folder.clone(),
            is_shared: scenarios.len() > 1,
            session: session_args.request(),
        })
        .collect();
    if args.build && detach::request().is_some() {
        let problem = "`--build` runs tools outside of the sandbox, and a request of the queue or of a server cannot do that";
        return Err(mistake!("{problem}\nbuild the plugins first: runner plugin build DIR"));
    }
    if args.build && !args.watch {
        source_build::build_all(&requests, out)?;
    }
    if args.dry_run {
        // A build installs signal handlers, and a dry run has no session that receives signals.
        runner_engine::exit_on_signal();
        return preview(&requests, Some(&session_args), out);
    }
    if args.queue.queue && !detach::is_background() {
        preview(&requests, None, out)?;
        let root = ResultsRoot::open(&session_args.root.path())?;
        return queue::add(&root, None, None, &args.queue, &session_args, out);
    }
    let remote = args.remote.connect()?;
    for request in &mut requests {
        request.session.remote.clone_from(&remote);
    }
    if args.watch {
        let [request] = requests.as_slice() else {
            return Err(mistake!("`--watch` takes one scenario"));
        };
        let build = || source_build::build_all(&requests, out);
        let build = args.build.then_some(&build as &dyn Fn() -> Result<(), CommandError>);
        return watch::run(request, &session_args, build, out);
    }
    match requests.as_slice() {
        [request] => session::run(&session_args, out, false, |observer| {
            runner_engine::exec(request, observer)
        }),
        _ if folder.is_some() => Err(mistake!(
            "`--into` takes one scenario\nwithout it, each scenario gets its own folder"
        )),
        requests => group::exec(requests, &session_args, out),
    }
}

impl Args {
    /// Returns the selected tests and providers, and the replaced values.
    fn selected(&self, shard: Option<Shard>) -> Result<Selected, CommandError> {
        let mut filters = filters(&self.filter)?;
        if let Some(run) = &self.failed_in {
            filters.push(Filter::failed_in(run).map_err(EngineError::Scenario)?);
        }
        Ok(Selected {
            tests: self.test.clone(),
            exclude: self.exclude.clone(),
            providers: self.provider.clone(),
            tags: self.tag.clone(),
            last_failed: self.last_failed,
            filter: Filter::all(filters).map(|filter| filter.text().to_owned()),
            first: self.first,
            sample: self.sample,
            shard,
            replay: self.replay.clone(),
            overrides: ScenarioOverrides {
                repeat: self.repeat,
                retries: self.retries,
                seed: self.seed,
                limits: self.limit.clone(),
                journal: self.journal || self.replay.is_some(),
                vars: self.set.iter().cloned().collect(),
            },
        })
    }
}

/// Reports a word that is not a file but a test of a scenario on the command line.
fn refuse_tests(scenarios: &[PathBuf]) -> Result<(), CommandError> {
    let names = scenarios.iter().filter_map(|path| path.to_str());
    for word in names.clone().filter(|word| !Path::new(word).exists()) {
        if names.clone().flat_map(test_ids).any(|id| id == word) {
            return Err(mistake!(
                "the scenario {} does not exist\ndid you mean `--test {}`?",
                visible_line(word),
                quoted(&id_glob(word))
            ));
        }
    }
    Ok(())
}

/// Checks sessions, and prints their plans as `args` request: trials to standard output, grants as messages. Without `args` it
/// only checks them.
fn preview(
    requests: &[ExecRequest],
    args: Option<&SessionArgs>,
    out: &Out,
) -> Result<Exit, CommandError> {
    let (mut errors, mut empty) = (Vec::new(), Vec::new());
    let is_json = args.is_some_and(|args| args.json);
    for request in requests {
        let settings = Settings::read(&ResultsRoot::existing(&request.session.results)?)?;
        let mut lines = out.lines(is_json);
        let mut head = |preview: &Preview| {
            for notice in &preview.notices {
                out.notice(&style::warning("warning:"), notice);
            }
            if args.is_none() {
                return;
            }
            let receivers = Receivers::new(&settings.keys.notify, &preview.notify);
            receivers.mistakes().iter().for_each(|mistake| out.warn(mistake));
            let receivers = receivers.planned();
            if !is_json {
                let mut lines = grants::preview(preview);
                lines.extend(receivers.iter().map(notify::planned));
                return out.talk(&lines.join("\n"));
            }
            out.json_line(&PlanLine {
                v: VERSION,
                part: PlanPart::Plan {
                    scenario: preview.scenario.as_str().into(),
                    jobs: preview.jobs,
                    trials: preview.trials,
                    overrides: Cow::Borrowed(&preview.overrides),
                    providers: (&preview.providers).into(),
                    access: (&preview.access).into(),
                    missing_secrets: Cow::Borrowed(&preview.missing_secrets),
                    receivers: (&receivers).into(),
                    notices: (&preview.notices).into(),
                },
            });
        };
        match runner_engine::preview_exec(request, &mut head, &mut |trial| {
            if is_json {
                lines.add(&one_line(&PlanLine {
                    v: VERSION,
                    part: PlanPart::Trial { trial: Cow::Borrowed(trial) },
                }));
            } else if args.is_some() {
                lines.add(&trial.to_string());
            }
        }) {
            Ok(()) => {}
            Err(error @ (EngineError::NothingSelected(_) | EngineError::NothingFailed(_))) => {
                empty.push((&request.scenario, error));
            }
            Err(error) => {
                if let (EngineError::Scenario(problems), true) = (&error, is_json) {
                    for problem in ScenarioProblem::all(problems) {
                        let part = PlanPart::Problem { problem };
                        out.json_line(&PlanLine { v: VERSION, part });
                    }
                }
                errors.push(error);
            }
        }
    }
    if empty.len() < requests.len() {
        empty.iter().for_each(|(scenario, _)| group::warn_of_empty(scenario, out));
    } else {
        errors.extend(empty.into_iter().map(|(_, error)| error));
    }
    if errors.is_empty() { Ok(Exit::Success) } else { Err(EngineError::Several(errors).into()) }
}

pub(super) fn folder_name(into: &Path) -> Result<String, CommandError> {
    if let Some(file) = into.ancestors().find(|path| path.is_file()) {
        return Err(mistake!("`--into` needs a folder; {} is a file", shown_path(file)));
    }
    into.file_name().and_then(|name| name.to_str()).map(str::to_owned).ok_or_else(|| {
        let into = shown_path(into);
        mistake!("`--into {into}` does not end in the name of a folder")
    })
}
