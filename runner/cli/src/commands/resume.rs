//! `runner resume`: continues a run that was cut short, or all runs of a group.

use std::borrow::Cow;

use runner_engine::{Decision, EngineError, ResumeRequest};
use runner_model::{RunStatus, TrialId, exit::Exit, units::plural};
use runner_record::{Rerun, RunDir};
use runner_report::{ResumeLine, VERSION, json::one_line};

use super::fleet::flags::{MACHINES, RemoteArgs};
use super::root::queue::{self, QueueArgs};
use super::{group, session};
use crate::args::{BACKGROUND, OUTPUT, RunArg, SELECTION, SessionArgs};
use crate::detach;
use crate::text::{CommandError, Out, mistake};

/// Continue a run that was cut short
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArg,
    /// The same as RUN
    #[arg(long, value_name = "RUN", conflicts_with = "run", help_heading = SELECTION)]
    from: Option<String>,
    /// Also rerun `failed`, `errors`, `all`, a glob or a filter
    #[arg(long, value_name = "WHICH", help_heading = SELECTION)]
    rerun: Option<Rerun>,
    /// Take the current files, and rerun changed trials
    #[arg(long, help_heading = SELECTION)]
    accept_changes: bool,
    /// Allow new access of the current files
    #[arg(long, conflicts_with = "queue", help_heading = SELECTION)]
    accept_access: bool,
    /// Continue a run that was cancelled
    #[arg(long, help_heading = SELECTION)]
    force: bool,
    /// Print the trials that would run, and run nothing
    #[arg(long, conflicts_with = "queue", help_heading = OUTPUT)]
    dry_run: bool,
    /// Print for each trial whether and why it would run
    #[arg(long, conflicts_with = "queue", help_heading = OUTPUT)]
    explain: bool,
    #[command(flatten, next_help_heading = BACKGROUND)]
    queue: QueueArgs,
    #[command(flatten, next_help_heading = MACHINES)]
    remote: RemoteArgs,
    #[command(flatten)]
    session: SessionArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let mut request = ResumeRequest {
        run: args.from.clone().or_else(|| args.run.name()),
        rerun: args.rerun.clone(),
        accept_changes: args.accept_changes,
        accept_access: args.accept_access,
        force: args.force,
        session: args.session.request_for_existing(),
    };
    let is_preview = args.dry_run || args.explain;
    if args.session.detach && !is_preview && !detach::is_background() {
        return detach::start(out, args.session.json);
    }
    let is_queued = args.queue.queue && !detach::is_background();
    if !is_preview && !is_queued {
        request.session.remote = args.remote.connect()?;
    }
    let group = group::resume_requests(&request, &args.session, out)?;
    if is_preview {
        let requests = group.map_or_else(|| vec![request], |(_, requests)| requests);
        return preview(&requests, args, out);
    }
    if is_queued {
        return enqueue(&request, group, args, out);
    }
    match group {
        Some((id, requests)) => group::resume(id, requests, &args.session, out),
        None => session::run(&args.session, out, false, |observer| {
            runner_engine::resume(&request, observer)
        }),
    }
}

impl Args {
    /// Returns whether the words of the command name the run `id` itself.
    pub fn names(&self, id: &str) -> bool {
        self.given() == Some(id)
    }

    /// Returns the name of the run on the command line.
    fn given(&self) -> Option<&str> {
        self.from.as_deref().or(self.run.given())
    }
}

/// Adds the request to the queue, once the runs are checked.
fn enqueue(
    request: &ResumeRequest,
    group: Option<(String, Vec<ResumeRequest>)>,
    args: &Args,
    out: &Out,
) -> Result<Exit, CommandError> {
    let root = args.session.root.open()?;
    if let Some((id, requests)) = group {
        requests.iter().try_for_each(|request| check(request, out).map(drop))?;
        return queue::add(&root, args.given(), Some(id), &args.queue, &args.session, out);
    }
    let (run, pending) = check(request, out)?;
    if pending == 0 && run.manifest()?.status == RunStatus::Completed {
        return Err(mistake!(
            "run {} has nothing left to run\nto run failed trials again, add `--rerun failed`",
            run.id()
        ));
    }
    let path = run.path();
    let is_of_root = root.find(run.id()).is_ok_and(|found| found.path() == path);
    let name = if is_of_root { run.id().into() } else { path.to_string_lossy() };
    let root = run.results_root();
    let name = Some(name.into_owned());
    queue::add(&root, args.given(), name, &args.queue, &args.session, out)
}

/// Checks a session. Returns its run and the number of trials that it would run.
fn check(request: &ResumeRequest, out: &Out) -> Result<(RunDir, u64), EngineError> {
    let mut pending = 0;
    let run =
        runner_engine::preview(request, &mut |notice| out.warn(notice), &mut |_, decision| {
            pending += u64::from(decision.is_pending);
        })?;
    Ok((run, pending))
}

/// Prints the trials that sessions would run; with `--explain` also the others, all with their reasons.
fn preview(requests: &[ResumeRequest], args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let (mut run, mut judged) = (0, 0);
    let mut lines = out.lines(args.session.json);
    let mut each = |trial: &TrialId, decision: &Decision| {
        let Decision { is_pending, is_judged, why } = decision;
        let runs = *is_pending && !is_judged;
        run += u64::from(runs);
        judged += u64::from(*is_judged);
        if *is_pending || args.explain {
            lines.add(&match (args.session.json, args.explain) {
                (true, _) => one_line(&ResumeLine {
                    v: VERSION,
                    trial: Cow::Borrowed(trial),
                    runs,
                    judged: *is_judged,
                    why: why.into(),
                }),
                (_, true) if runs => format!("{trial}  runs: {why}"),
                (_, true) if *is_judged => format!("{trial}  judged: {why}"),
                (_, true) => format!("{trial}  stays: {why}"),
                (_, false) => trial.to_string(),
            });
        }
    };
    group::preview_each(requests, |request| {
        runner_engine::preview(request, &mut |notice| out.warn(notice), &mut each)?;
        Ok(())
    })?;
    drop(lines);
    let runs = format!("{} would run", plural(run, "trial", "trials"));
    let judges = format!("{} would be judged again", plural(judged, "trial", "trials"));
    let counts = match (run, judged) {
        (_, 0) => runs,
        (0, _) => judges,
        _ => format!("{runs}, {judges}"),
    };
    out.hint(&format!("{counts}; nothing was changed"));
    Ok(Exit::Success)
}
