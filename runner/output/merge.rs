//! `merge`.

use super::{
    format, next,
    standing::Standing,
    table::{Cell, Column, Table},
};
use crate::view::{MergeOutcome, MergeReport, MergedShard};

/// The shards, what is wrong with each, what became of them, and the command that goes on with the merged run, for a screen
/// of this width.
pub fn merge_text(report: &MergeReport, resume: Option<&str>, width: Option<usize>) -> String {
    let mut lines = vec![shard_table(report, width)];
    for shard in &report.shards {
        let path = format::path(&shard.path);
        let problems = shard.problems.iter();
        lines.extend(problems.map(|problem| format::visible_line(&format!("{path} {problem}"))));
    }
    if !report.missing.is_empty() {
        let missing = report.missing.len();
        let numbers = report.missing.iter().take(MAX_MISSING).map(u32::to_string);
        let more = match missing.saturating_sub(MAX_MISSING) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (noun, verb) = match missing {
            1 => ("shard", "is"),
            _ => ("shards", "are"),
        };
        let numbers = numbers.collect::<Vec<_>>().join(", ");
        lines.push(format!(
            "{noun} {numbers}{more} of {} {verb} not here",
            report.count
        ));
    }
    if !report.holes.is_empty() {
        let names = report.holes.iter().map(|name| format::visible_line(name));
        let all = report.planned - report.done;
        let more = match all.saturating_sub(report.holes.len() as u64) {
            0 => String::new(),
            more => format!(" and {} more", format::count(more)),
        };
        let names = names.collect::<Vec<_>>().join(", ");
        lines.push(format!("without a result: {names}{more}"));
    }
    lines.push(conclusion(report, resume));
    lines.join("\n")
}

/// How many numbers of shards are listed that are missing.
const MAX_MISSING: usize = 10;

fn shard_table(report: &MergeReport, width: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new("shard").right(),
        Column::new("trials").right(),
        Column::new("done").right(),
        Column::new("run").cut(0, 12),
    ]);
    for shard in &report.shards {
        let MergedShard { planned, done, .. } = *shard;
        let (number, planned, done) = match shard.shard {
            Some(number) => (
                format!("{number}/{}", report.count),
                format::count(planned),
                format::count(done),
            ),
            None => ("-".into(), "-".into(), "-".into()),
        };
        let path = format::path(&shard.path).to_string();
        table.row([Cell::from(number), planned.into(), done.into(), path.into()]);
    }
    table.fitted(width)
}

fn conclusion(report: &MergeReport, resume: Option<&str>) -> String {
    let into = format::path(&report.into);
    let trials = format::plural(report.planned, "trial");
    let shards = format::plural(report.shards.len() as u64, "shard");
    let standing = report.run.as_ref().map(|run| Standing::from(run).line());
    let standing = standing.unwrap_or_default();
    let resume = resume.map(|resume| next::resume_line(resume) + "\n");
    let standing = resume.unwrap_or_default() + &standing;
    match report.outcome {
        MergeOutcome::Merged => format!("{into}: {shards} merged\n{standing}"),
        MergeOutcome::AlreadyMerged => {
            format!("{into}: these shards were merged there before\n{standing}")
        }
        MergeOutcome::Mergeable => format!("these {shards} can be merged into {into}: {trials}"),
        MergeOutcome::HasHoles => "nothing is merged, because trials have no result; `runner resume --from` finishes a \
                                   shard, and `--allow-holes` merges what is there into a run that `resume` finishes"
            .to_owned(),
        MergeOutcome::Refused => "nothing is merged".to_owned(),
    }
}
