//! `runner rescore`: judges the stored outputs of a run again, or of all runs of a group.

use std::{borrow::Cow, path::PathBuf};

use runner_engine::{Decision, Group, Rejudgement, RescorePreview, RescoreRequest};
use runner_model::{TrialId, exit::Exit, units::plural};
use runner_report::{RescoreChange, RescoreLine, VERSION, json::one_line};
use runner_scenario::Filter;

use super::{group, session, target::Target};
use crate::args::{OUTPUT, RunArg, SELECTION, SessionArgs, filters};
use crate::detach;
use crate::text::{CommandError, Out};

/// Judge the stored outputs of a run again
///
/// Uses the expectations and graders of the scenario as it is now. No provider is called, and trials without a result stay as
/// they are.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArg,
    /// Judge by this scenario [default: the run's own]
    #[arg(long, value_name = "FILE", help_heading = SELECTION)]
    scenario: Option<PathBuf>,
    /// Leave trials that graders judge as they are
    #[arg(long, help_heading = SELECTION)]
    no_graders: bool,
    /// Allow new access of the current files
    #[arg(long, help_heading = SELECTION)]
    accept_access: bool,
    /// Judge only trials that match `tag(a)`; repeatable
    #[arg(short = 'E', long, value_name = "FILTER", help_heading = SELECTION)]
    filter: Vec<String>,
    /// Print the trials that would be judged, with their new outcomes, and change nothing
    #[arg(long, help_heading = OUTPUT)]
    dry_run: bool,
    /// Print for each trial whether and why it would be judged
    #[arg(long, help_heading = OUTPUT)]
    explain: bool,
    #[command(flatten)]
    session: SessionArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let request = RescoreRequest {
        run: args.run.name(),
        scenario: args.scenario.clone(),
        with_graders: !args.no_graders,
        accept_access: args.accept_access,
        filter: Filter::all(filters(&args.filter)?),
        session: args.session.request_for_existing(),
    };
    let is_preview = args.dry_run || args.explain;
    if args.session.detach && !is_preview && !detach::is_background() {
        return detach::start(out, args.session.json);
    }
    match group_requests(&request, args)? {
        Some((_, requests)) if is_preview => {
            group::preview_each(&requests, |request| preview(request, args, out))?;
            Ok(Exit::Success)
        }
        Some((id, requests)) => {
            args.session.refuse_reports()?;
            group::run(Group::rescore(id, requests)?, &args.session, out)
        }
        None if is_preview => preview(&request, args, out).map(|()| Exit::Success),
        None => session::run(&args.session, out, false, |observer| {
            runner_engine::rescore(&request, observer)
        }),
    }
}

/// Returns the group that a request names, and a request for each of its runs. `None` if it is about a single run.
fn group_requests(
    request: &RescoreRequest,
    args: &Args,
) -> Result<Option<(String, Vec<RescoreRequest>)>, CommandError> {
    let Some(name) = &request.run else { return Ok(None) };
    let Target::Group(list) = Target::find(&args.session.root.open()?, name)? else {
        return Ok(None);
    };
    let runs = list.runs.iter().map(|run| &run.head);
    let group = runs.clone().find_map(|run| run.group.as_ref()).map(|group| group.id.clone());
    Ok(Some((
        group.unwrap_or_default(),
        runs.map(|run| RescoreRequest { run: Some(run.id.clone()), ..request.clone() }).collect(),
    )))
}

/// Prints the trials that a session would judge; with `--explain` also the others, all with their reasons.
fn preview(request: &RescoreRequest, args: &Args, out: &Out) -> Result<(), CommandError> {
    let mut lines = out.lines(args.session.json);
    let mut each = |trial: &TrialId, decision: &Decision, rejudgement: Option<&Rejudgement>| {
        let Decision { is_pending, why, .. } = decision;
        if !*is_pending && !args.explain {
            return;
        }
        let change = rejudgement.map_or_else(String::new, change);
        lines.add(&match (args.session.json, args.explain) {
            (true, _) => {
                let change = rejudgement.map(|Rejudgement { before, after, graders }| {
                    RescoreChange { before: *before, after: *after, graders: graders.into() }
                });
                let trial = Cow::Borrowed(trial);
                let why = why.into();
                one_line(&RescoreLine { v: VERSION, trial, judged: *is_pending, why, change })
            }
            (_, true) if *is_pending => format!("{trial}  judged: {why}; {change}"),
            (_, true) => format!("{trial}  stays: {why}"),
            (_, false) => format!("{trial}  {change}"),
        });
    };
    let RescorePreview { judged, changes, graders } =
        runner_engine::preview_rescore(request, &mut |notice| out.warn(notice), &mut each)?;
    drop(lines);
    for (grader, count) in graders {
        let outputs = plural(count, "output", "outputs");
        out.hint(&format!("grader `{grader}` would be called for {outputs}"));
    }
    let trials = plural(judged, "trial", "trials");
    let colon = if changes.is_empty() { "" } else { ": " };
    let changes = changes.join(", ");
    out.hint(&format!("{trials} would be judged{colon}{changes}; nothing was changed"));
    Ok(())
}

/// Returns a change such as `failed → passed`.
fn change(Rejudgement { before, after, graders }: &Rejudgement) -> String {
    let change = if before == after { before.to_string() } else { format!("{before} → {after}") };
    if graders.is_empty() {
        return change;
    }
    format!("{change} (graders `{}`)", graders.join("`, `"))
}
