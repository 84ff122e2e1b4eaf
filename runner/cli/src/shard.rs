//! `--shard`: a part of a plan, as typed or by the environment of a scheduler.

use std::env;
use std::path::{Path, PathBuf};

use runner_model::{Shard, visible::visible_line};

use crate::text::{CommandError, Out, mistake};

/// Placeholder for the shard's name in `--into`.
const NAME: &str = "{shard}";
/// Variables that count before those of a scheduler.
const INDEX: &str = "RUNNER_SHARD_INDEX";
const COUNT: &str = "RUNNER_SHARDS";
/// Variables of schedulers: the number of the task, the number of the first task, and the number of all tasks.
const SCHEDULERS: [(&str, u64, &str); 8] = [
    (INDEX, 0, COUNT),
    (SLURM, 0, "SLURM_ARRAY_TASK_COUNT"),
    ("JOB_COMPLETION_INDEX", 0, COUNT),
    ("AWS_BATCH_JOB_ARRAY_INDEX", 0, "AWS_BATCH_JOB_ARRAY_SIZE"),
    ("NOMAD_ALLOC_INDEX", 0, COUNT),
    ("CI_NODE_INDEX", 1, "CI_NODE_TOTAL"),
    ("CIRCLE_NODE_INDEX", 0, "CIRCLE_NODE_TOTAL"),
    ("BUILDKITE_PARALLEL_JOB", 0, "BUILDKITE_PARALLEL_JOB_COUNT"),
];
/// Tasks of an array have numbers from `SLURM_ARRAY_TASK_MIN` in steps of `SLURM_ARRAY_TASK_STEP`.
const SLURM: &str = "SLURM_ARRAY_TASK_ID";

/// The value of `--shard`.
#[derive(Clone)]
pub enum ShardArg {
    Given(Shard),
    Auto,
}

impl ShardArg {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(Self::Auto) } else { Shard::parse(text).map(Self::Given) }
    }

    /// Returns the shard. Prints the variables that `auto` has read.
    pub fn find(&self, out: &Out) -> Result<Shard, CommandError> {
        match self {
            Self::Given(shard) => Ok(*shard),
            Self::Auto => {
                let (shard, read) = scheduled()?;
                out.talk(&format!("shard {shard}, by {read}"));
                Ok(shard)
            }
        }
    }
}

/// Returns the shard by the environment, and the variables that were read.
fn scheduled() -> Result<(Shard, String), CommandError> {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let found = SCHEDULERS.iter().find(|(index, ..)| is_set(index));
    let Some(&(index, first, count)) = found else {
        return Err(mistake!(
            "`--shard auto` finds no scheduler in the environment\nset {INDEX}, from 0, and {COUNT}, or use `--shard 1/4`"
        ));
    };
    let count = if is_set(COUNT) { COUNT } else { count };
    if !is_set(count) {
        return Err(mistake!(
            "{index} is set, and the number of shards is not\nset {COUNT} to the number of tasks"
        ));
    }
    let task = number(index)?;
    let all = number(count)?;
    let mut read = vec![format!("{index}={task}"), format!("{count}={all}")];
    let mut first = first;
    let mut step = 1;
    if index == SLURM && count != COUNT {
        for (name, value) in
            [("SLURM_ARRAY_TASK_MIN", &mut first), ("SLURM_ARRAY_TASK_STEP", &mut step)]
        {
            if is_set(name) {
                *value = number(name)?;
                read.push(format!("{name}={value}"));
            }
        }
    }
    let place = task.checked_sub(first).filter(|from| step > 0 && from % step == 0);
    let shard = place
        .ok_or_else(|| format!("tasks count from {first} in steps of {step}"))
        .and_then(|place| Shard::new((place / step).saturating_add(1), all));
    let read = read.join(", ");
    let shard = shard.map_err(|problem| mistake!("`--shard auto`, {read}: {problem}"));
    Ok((shard?, read))
}

/// Reads a whole number from the environment.
fn number(name: &str) -> Result<u64, CommandError> {
    let text = env::var(name).unwrap_or_default();
    text.parse().map_err(|_| {
        let text = visible_line(&text);
        mistake!("`{name}={text}` is not a whole number; `--shard auto` needs one")
    })
}

/// Returns the folder of `--into`, with the shard's name in place of `{shard}`.
pub fn folder(into: &Path, shard: Option<Shard>) -> Result<PathBuf, CommandError> {
    match (into.to_str().filter(|into| into.contains(NAME)), shard) {
        (None, _) => Ok(into.to_owned()),
        (Some(text), Some(shard)) => Ok(text.replace(NAME, &shard.file_name()).into()),
        (Some(text), None) => Err(mistake!(
            "`--into {}` is for shards\nadd `--shard`, or name a folder without `{NAME}`",
            visible_line(text)
        )),
    }
}
