//! Which shard of a plan this process is to run, as the scheduler has told it by the environment.

use std::ffi::OsString;

use miette::miette;

use crate::{error::Error, model::Shard};

/// The variable with the number of shards, for schedulers that do not tell it.
const SHARDS: &str = "RUNNER_SHARDS";
/// The variable with the number of the shard, from 0, for whatever has none of its own.
const SHARD_INDEX: &str = "RUNNER_SHARD_INDEX";

/// Where a scheduler puts the number of a task and how many there are.
struct Scheduler {
    name: &'static str,
    index: &'static str,
    first: First,
    /// Absent where only [`SHARDS`] tells it.
    count: Option<&'static str>,
}

/// With which number the tasks of a scheduler begin.
enum First {
    Number(u32),
    /// The one in this variable, and each is by the number in the other one greater than the one before it.
    Variables(&'static str, &'static str),
}

/// One of them has started this process, if its variable is set.
const SCHEDULERS: [Scheduler; 8] = [
    Scheduler {
        name: "the environment",
        index: SHARD_INDEX,
        first: First::Number(0),
        count: None,
    },
    Scheduler {
        name: "Slurm",
        index: "SLURM_ARRAY_TASK_ID",
        first: First::Variables("SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"),
        count: Some("SLURM_ARRAY_TASK_COUNT"),
    },
    Scheduler {
        name: "Kubernetes",
        index: "JOB_COMPLETION_INDEX",
        first: First::Number(0),
        count: None,
    },
    Scheduler {
        name: "AWS Batch",
        index: "AWS_BATCH_JOB_ARRAY_INDEX",
        first: First::Number(0),
        count: Some("AWS_BATCH_JOB_ARRAY_SIZE"),
    },
    Scheduler {
        name: "Nomad",
        index: "NOMAD_ALLOC_INDEX",
        first: First::Number(0),
        count: None,
    },
    Scheduler {
        name: "GitLab CI",
        index: "CI_NODE_INDEX",
        first: First::Number(1),
        count: Some("CI_NODE_TOTAL"),
    },
    Scheduler {
        name: "CircleCI",
        index: "CIRCLE_NODE_INDEX",
        first: First::Number(0),
        count: Some("CIRCLE_NODE_TOTAL"),
    },
    Scheduler {
        name: "Buildkite",
        index: "BUILDKITE_PARALLEL_JOB",
        first: First::Number(0),
        count: Some("BUILDKITE_PARALLEL_JOB_COUNT"),
    },
];

/// The shard that the environment tells, which `variable` reads, and what it says, as people read it.
///
/// # Errors
///
/// Fails if it tells none, or several, or one that cannot be.
pub fn scheduled_shard(variable: fn(&str) -> Option<OsString>) -> Result<(Shard, String), Error> {
    of_environment(variable).map_err(Error::usage)
}

fn of_environment(
    variable: fn(&str) -> Option<OsString>,
) -> Result<(Shard, String), miette::Report> {
    let text = |name: &str| variable(name).filter(|text| !text.is_empty());
    let found: Vec<_> = SCHEDULERS
        .iter()
        .filter(|scheduler| text(scheduler.index).is_some())
        .collect();
    let scheduler = match found[..] {
        // What people set themselves counts before everything.
        [first, ..] if first.index == SHARD_INDEX => first,
        [only] => only,
        [] => {
            let known = SCHEDULERS.iter();
            return Err(miette!(
                help =
                    format!("write `--shard I/N`, or set `{SHARD_INDEX}`, from 0, and `{SHARDS}`"),
                "`--shard auto` finds none of the variables {}",
                listed(known)
            ));
        }
        _ => {
            let names = found.into_iter();
            return Err(miette!(
                help =
                    format!("write `--shard I/N`, or set `{SHARD_INDEX}`, from 0, and `{SHARDS}`"),
                "`--shard auto` finds several numbers of this task: {}",
                listed(names)
            ));
        }
    };

    let mut read = Vec::new();
    let mut number = |name: &str| -> Result<Option<u32>, miette::Report> {
        let Some(value) = text(name) else {
            return Ok(None);
        };
        let value = value.to_string_lossy();
        read.push(format!("{name}={value}"));
        match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(miette!(
                "`--shard auto`: `{name}` is `{value}`, and no number"
            )),
        }
    };
    let task = number(scheduler.index)?.unwrap_or_default();
    let asked = number(SHARDS)?;
    // Who says how many there are counts them from 0 where the scheduler lets one choose: of an array of which only some
    // tasks are submitted again, it does not know the others.
    let (first, step) = match scheduler.first {
        First::Number(first) => (first, 1),
        First::Variables(..) if asked.is_some() => (0, 1),
        First::Variables(first, step) => (
            number(first)?.unwrap_or_default(),
            number(step)?.unwrap_or(1).max(1),
        ),
    };
    let count = match (asked, scheduler.count) {
        (Some(count), _) => Some(count),
        (None, Some(name)) => number(name)?,
        (None, None) => None,
    };
    let Some(count) = count else {
        return Err(miette!(
            help = format!("set `{SHARDS}` to their number in the job's description"),
            "`--shard auto`: {} tells that this is task {task}, and not how many there are",
            scheduler.name
        ));
    };
    let read = read.join(", ");
    let place = task.checked_sub(first).filter(|behind| behind % step == 0);
    let index = place.and_then(|behind| (behind / step).checked_add(1));
    match index.and_then(|index| Shard::new(index, count)) {
        Some(shard) => Ok((shard, format!("{} ({read})", scheduler.name))),
        None => Err(miette!(
            help = format!(
                "the tasks must be numbered without gaps; else set `{SHARD_INDEX}`, from 0, and `{SHARDS}`"
            ),
            "`--shard auto`: of {count} shards there is none for this task, by {read}"
        )),
    }
}

/// The variables with the numbers of tasks, as a text.
fn listed<'a>(schedulers: impl Iterator<Item = &'a Scheduler>) -> String {
    let names = schedulers.map(|scheduler| format!("`{}`", scheduler.index));
    names.collect::<Vec<_>>().join(", ")
}
