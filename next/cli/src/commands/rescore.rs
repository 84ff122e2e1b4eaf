//! `runner rescore`: judges the stored outputs of a run again.

use std::path::PathBuf;

use runner_engine::{Decision, Rejudgement, RescorePreview, RescoreRequest, SessionRequest};
use runner_model::{TrialId, exit::Exit, units::plural};
use runner_report::{VERSION, json::one_line};
use serde_json::json;

use super::session;
use crate::args::{RunArg, SessionArgs};
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
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Leave trials that graders judge as they are
    #[arg(long)]
    no_graders: bool,
    /// Print the trials that would be judged, with their new outcomes, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print for each trial whether and why it would be judged
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    session: SessionArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let request = RescoreRequest {
        run: args.run.name(),
        scenario: args.scenario.clone(),
        with_graders: !args.no_graders,
        session: SessionRequest {
            results: args.session.root.existing_path(),
            ..args.session.request()
        },
    };
    if args.dry_run || args.explain {
        return preview(&request, args, out);
    }
    if args.session.detach && !detach::is_background() {
        return detach::start(out, args.session.json);
    }
    session::run(&args.session, out, false, |observer| runner_engine::rescore(&request, observer))
}

/// Prints the trials that a session would judge; with `--explain` also the others, all with their reasons.
fn preview(request: &RescoreRequest, args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let mut lines = out.lines(args.session.json);
    let mut each = |trial: &TrialId, decision: &Decision, rejudgement: Option<&Rejudgement>| {
        let Decision { is_pending, why } = decision;
        if !*is_pending && !args.explain {
            return;
        }
        let change = rejudgement.map_or_else(String::new, change);
        lines.add(&match (args.session.json, args.explain) {
            (true, _) => {
                let mut line =
                    json!({"v": VERSION, "trial": trial, "judged": is_pending, "why": why});
                if let Some(Rejudgement { before, after, graders }) = rejudgement {
                    line["before"] = json!(before);
                    line["after"] = json!(after);
                    line["graders"] = json!(graders);
                }
                one_line(&line)
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
    Ok(Exit::Success)
}

/// Returns a change such as `failed → passed`.
fn change(Rejudgement { before, after, graders }: &Rejudgement) -> String {
    let change = if before == after { before.to_string() } else { format!("{before} → {after}") };
    if graders.is_empty() {
        return change;
    }
    format!("{change} (graders `{}`)", graders.join("`, `"))
}
