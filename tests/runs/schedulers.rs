//! `--shard auto`: which shard a task is, as its scheduler says.

use crate::support::runner::{CommandExt as _, Ran, Runner, tests};

/// Runs a task with these variables.
fn auto(runner: &Runner, variables: &[(&str, &str)]) -> Ran {
    let mut command = runner.command(&["exec", "scenario.toml", "--shard", "auto", "--dry-run"]);
    command.envs(variables.iter().copied());
    command.run()
}

#[test]
fn the_scheduler_tells_which_shard_it_is() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } | equals = 1"));
    let slurm = |id, min, count, step| {
        vec![
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_MIN", min),
            ("SLURM_ARRAY_TASK_COUNT", count),
            ("SLURM_ARRAY_TASK_STEP", step),
        ]
    };
    for (variables, shard) in [
        (slurm("0", "0", "4", "1"), "1/4"),
        (slurm("8", "4", "4", "2"), "3/4"),
        (
            vec![("JOB_COMPLETION_INDEX", "0"), ("RUNNER_SHARDS", "64")],
            "1/64",
        ),
        (
            vec![
                ("AWS_BATCH_JOB_ARRAY_INDEX", "63"),
                ("AWS_BATCH_JOB_ARRAY_SIZE", "64"),
            ],
            "64/64",
        ),
        (
            vec![("NOMAD_ALLOC_INDEX", "2"), ("RUNNER_SHARDS", "3")],
            "3/3",
        ),
        (vec![("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "3")], "2/3"),
        (
            vec![("CIRCLE_NODE_INDEX", "2"), ("CIRCLE_NODE_TOTAL", "3")],
            "3/3",
        ),
        (
            vec![
                ("BUILDKITE_PARALLEL_JOB", "0"),
                ("BUILDKITE_PARALLEL_JOB_COUNT", "5"),
            ],
            "1/5",
        ),
        (
            vec![
                ("RUNNER_SHARD_INDEX", "1"),
                ("RUNNER_SHARDS", "2"),
                ("CI_NODE_INDEX", "9"),
            ],
            "2/2",
        ),
        // Of an array of which some tasks are submitted again.
        (
            [slurm("5", "5", "1", "1"), vec![("RUNNER_SHARDS", "8")]].concat(),
            "6/8",
        ),
    ] {
        let ran = auto(&runner, &variables).expect(0);
        ran.says(&[
            &format!("shard {shard}, by"),
            &format!("{}={}", variables[0].0, variables[0].1),
        ]);
    }
    for (variables, says) in [
        (vec![], "finds none of the variables"),
        (
            vec![("JOB_COMPLETION_INDEX", "0")],
            "not how many there are",
        ),
        (
            vec![("JOB_COMPLETION_INDEX", "4"), ("RUNNER_SHARDS", "4")],
            "of 4 shards there is none for this task",
        ),
        (
            vec![("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "3")],
            "of 3 shards there is none for this task",
        ),
        (slurm("9", "1", "3", "1"), "numbered without gaps"),
        (
            vec![("JOB_COMPLETION_INDEX", "x"), ("RUNNER_SHARDS", "4")],
            "is `x`, and no number",
        ),
        (
            vec![("CI_NODE_INDEX", "1"), ("CIRCLE_NODE_INDEX", "1")],
            "finds several numbers of this task",
        ),
    ] {
        let ran = auto(&runner, &variables).expect(2);
        ran.says(&[says]);
        assert!(!ran.stderr.contains('{'), "{}", ran.stderr);
    }
    for wrong in ["0/4", "5/4", "4", "a/b", "auto/4"] {
        runner.refused(&["--shard", wrong], &["--shard"]);
    }
    let into = ["--into", "parts/{shard}"];
    runner.refused(&into, &["a directory without `{shard}`"]);
}
