//! `runner merge`.

use super::Context;
use crate::{
    cli::MergeArgs,
    error::{Error, ExitStatus},
    output,
    session::{self, Merge},
    view::MergeOutcome,
};

/// Makes one run of the shards of a plan.
pub(super) fn merge(args: MergeArgs, context: &Context) -> Result<ExitStatus, Error> {
    let request = Merge {
        shards: args.shards,
        into: args.into,
        allows_holes: args.allow_holes,
        is_dry_run: args.dry_run,
    };
    let report = session::merge(&request, context.now())?;
    match args.json {
        true => context.output.document(&report),
        false => {
            let run = report.run.as_ref();
            let resume = run.and_then(|run| {
                context.resume_command(&run.dir, &run.id, (run.status, run.reason))
            });
            let columns = context.output.columns();
            let text = output::merge_text(&report, resume.as_deref(), columns);
            context.output.show(&text);
        }
    }
    Ok(match report.outcome {
        MergeOutcome::Mergeable => ExitStatus::Success,
        MergeOutcome::HasHoles | MergeOutcome::Refused => ExitStatus::Usage,
        MergeOutcome::Merged | MergeOutcome::AlreadyMerged => {
            let code = report.run.and_then(|run| run.exit_code);
            let status = code.and_then(|code| ExitStatus::from_code(code.into()));
            status.unwrap_or(ExitStatus::Internal)
        }
    })
}
