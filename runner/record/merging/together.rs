//! What is wrong with shards that only shows where all are seen together.

use super::{look::ShardRun, problem::ShardProblem};

/// Compares shards with each other: the problems by the places of the shards, and the numbers of those that are missing.
pub fn check_shards(shards: &[ShardRun]) -> (Vec<(usize, ShardProblem)>, Vec<u32>) {
    let Some(base) = shards.first() else {
        return (Vec::new(), Vec::new());
    };
    let directory = |shard: &ShardRun| shard.reader.dir().path().display().to_string();
    let mut problems = Vec::new();
    for (place, shard) in shards.iter().enumerate() {
        if let Some(difference) = difference(base, shard) {
            let base = directory(base);
            problems.push((place, ShardProblem::OtherPlan { base, difference }));
            continue;
        }
        let mut before = shards[..place].iter();
        if let Some(other) = before.find(|other| other.shard == shard.shard) {
            let (shard, other) = (shard.shard.to_string(), directory(other));
            problems.push((place, ShardProblem::Twice { shard, other }));
        }
    }
    let has = |index: u32| shards.iter().any(|shard| shard.shard.index() == index);
    let missing = (1..=base.shard.count()).filter(|index| !has(*index));
    (problems, missing.collect())
}

/// In what the plans of two shards differ.
fn difference(base: &ShardRun, shard: &ShardRun) -> Option<String> {
    let (base, shard) = (&base.info, &shard.info);
    if base.is_beside(shard) {
        return None;
    }
    Some(if base.count != shard.count {
        format!("it is one of {} shards, not of {}", shard.count, base.count)
    } else if base.suite != shard.suite {
        "other tests".to_owned()
    } else {
        "other plugins, providers or settings".to_owned()
    })
}
