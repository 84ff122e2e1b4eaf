#!/bin/sh
# One task for each shard. Submit the tasks, then the job that merges the shards:
#   job=$(sbatch --parsable slurm.sh)
#   sbatch --dependency="afterany:$job" --wrap="runner merge --into results/$job /shared/$job/*-of-64"
#SBATCH --array=0-63%32 --requeue --signal=TERM@30
# A task that is queued again may run on a machine with another home folder.
export RUNNER_TRUST_ROOT="/shared/$SLURM_ARRAY_JOB_ID"
srun runner exec scenario.toml --shard auto --scheduler-exit \
  --into "/shared/$SLURM_ARRAY_JOB_ID/{shard}"
