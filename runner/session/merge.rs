//! Making one run of the shards of a plan.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use miette::miette;

use crate::{
    error::Error,
    record::{
        RecordError, RunEntry, RunReader, ShardProblem, ShardRun, Store, check_shards,
        merge as merge_shards, merged_from,
    },
    run::DividedPlan,
    view::{DocumentVersion, MergeOutcome, MergeReport, MergedShard, RunSummary},
};

/// How many trials without a result are named.
const MAX_NAMED: usize = 10;

/// What is asked for: that shards become one run.
#[derive(Clone, Debug)]
pub struct Merge {
    /// The directories of the shards' runs.
    pub shards: Vec<PathBuf>,
    /// The directory of the merged run, whose parent is the results root.
    pub into: PathBuf,
    /// Whether trials may be without a result: `resume` runs them.
    pub allows_holes: bool,
    /// Whether it is only told what would become of them.
    pub is_dry_run: bool,
}

/// Makes one run of shards, or says why that cannot be.
///
/// # Errors
///
/// Fails if something else is in the directory of the merged run, or if anything cannot be read or written.
pub fn merge(request: &Merge, now: Timestamp) -> Result<MergeReport, Error> {
    let Found {
        shards,
        whole,
        has_holes,
        mut report,
    } = Found::look(request)?;
    let Some(mut whole) = whole else {
        return Ok(report);
    };
    report.holes = holes(&shards, &mut whole, &report.missing);
    if has_holes && !request.allows_holes {
        report.outcome = MergeOutcome::HasHoles;
        return Ok(report);
    }
    if let Some(there) = merged_run(&request.into)? {
        let of = merged_from(&shards).map_err(Error::record)?;
        if there.manifest().merged_from != of {
            return Err(in_use(&request.into, &there));
        }
        report.outcome = MergeOutcome::AlreadyMerged;
        report.run = Some(summary(&request.into, now)?);
        return Ok(report);
    }
    report.outcome = MergeOutcome::Mergeable;
    if !request.is_dry_run {
        let store = Store::open_around(&request.into).map_err(Error::record)?;
        let merged = merge_shards(&store, &shards, whole.places(), &request.into, now);
        merged.map_err(Error::record)?;
        report.outcome = MergeOutcome::Merged;
        report.run = Some(summary(&request.into, now)?);
    }
    Ok(report)
}

/// The shards as they are found.
struct Found {
    shards: Vec<ShardRun>,
    /// The plan that all are parts of; `None` if something else is wrong with them than that trials have no result.
    whole: Option<DividedPlan>,
    has_holes: bool,
    report: MergeReport,
}

impl Found {
    fn look(request: &Merge) -> Result<Self, Error> {
        let mut shards = Vec::new();
        let mut told = Vec::new();
        // Of those that are shards, which of the named ones they are.
        let mut places = Vec::new();
        let (mut is_refused, mut has_holes) = (false, false);
        let mut note = |problem: &ShardProblem| {
            match problem.is_hole() {
                true => has_holes = true,
                false => is_refused = true,
            }
            problem.to_string()
        };
        let found = ShardRun::look_at_all(&request.shards).map_err(Error::record)?;
        for (path, found) in request.shards.iter().zip(found) {
            let mut shard = MergedShard {
                path: path.clone(),
                shard: None,
                planned: 0,
                done: 0,
                problems: Vec::new(),
            };
            match found {
                Ok(run) => {
                    let counts = run.counts();
                    shard.shard = Some(run.shard().index());
                    (shard.planned, shard.done) = (counts.planned, counts.done());
                    shard.problems.extend(run.problems().iter().map(&mut note));
                    places.push(told.len());
                    shards.push(run);
                }
                Err(problem) => shard.problems.push(note(&problem)),
            }
            told.push(shard);
        }
        let (problems, missing) = check_shards(&shards);
        for (place, problem) in problems {
            told[places[place]].problems.push(note(&problem));
        }
        has_holes = has_holes || !missing.is_empty();
        let whole = match shards.first() {
            Some(first) if !is_refused => Some(read_whole(first, &shards)?),
            _ => None,
        };
        let base = shards.first().map(ShardRun::info);
        let report = MergeReport {
            v: DocumentVersion,
            outcome: MergeOutcome::Refused,
            into: request.into.clone(),
            count: base.map_or(0, |base| base.count),
            planned: base.map_or(0, |base| base.planned_test_count),
            done: shards.iter().map(|shard| shard.counts().done()).sum(),
            shards: told,
            missing,
            holes: Vec::new(),
            run: None,
        };
        Ok(Self {
            shards,
            whole,
            has_holes,
            report,
        })
    }
}

/// Reads the plan that all are parts of, and makes sure that they are.
fn read_whole(first: &ShardRun, shards: &[ShardRun]) -> Result<DividedPlan, Error> {
    let of = |shard: &ShardRun| shard.reader().id();
    let whole = DividedPlan::of(first.reader(), first.info()).map_err(|problem| {
        Error::usage(miette!(
            help = "what runs share is in the folder `store` of their results root: copy it along with them",
            "shard `{}`: {problem}",
            of(first)
        ))
    })?;
    for shard in shards {
        let planned = whole.places()[shard.shard().index() as usize - 1].count();
        if planned != shard.counts().planned {
            return Err(Error::usage(miette!(
                "shard `{}` has {} trials, and {planned} of the whole plan belong to it",
                of(shard),
                shard.counts().planned
            )));
        }
    }
    Ok(whole)
}

/// Names some trials that have no result.
fn holes(shards: &[ShardRun], whole: &mut DividedPlan, missing: &[u32]) -> Vec<String> {
    let mut ordinals = Vec::new();
    for shard in shards {
        let places = &whole.places()[shard.shard().index() as usize - 1];
        ordinals.extend(shard.holes().iter().filter_map(|hole| places.of(*hole)));
    }
    for index in missing {
        let places = &whole.places()[*index as usize - 1];
        ordinals.extend((0..).map_while(|own| places.of(own)).take(MAX_NAMED));
    }
    ordinals.sort_unstable();
    ordinals.truncate(MAX_NAMED);
    let names = ordinals
        .into_iter()
        .filter_map(|ordinal| whole.name(ordinal));
    names.map(|name| name.to_string()).collect()
}

/// The run that is in the directory of the merged one already.
fn merged_run(into: &Path) -> Result<Option<RunReader>, Error> {
    let there = RunEntry::in_directory(into).map_err(Error::record)?;
    there
        .map(|_| RunReader::open(into))
        .transpose()
        .map_err(Error::record)
}

fn in_use(into: &Path, there: &RunReader) -> Error {
    let what = match there.manifest().merged_from[..] {
        [] => "a run that was not merged",
        _ => "a run that was merged of other shards, or of other rows of these",
    };
    Error::usage(miette!(
        help = "name another directory with `--into`",
        "in `{}` there is {what}",
        into.display()
    ))
}

fn summary(into: &Path, now: Timestamp) -> Result<RunSummary, Error> {
    let run = RunEntry::in_directory(into).map_err(Error::record)?;
    let run = run.ok_or_else(|| {
        Error::record(RecordError::Gone {
            run: into.to_owned(),
        })
    })?;
    Ok(RunSummary::new(&run, now))
}
