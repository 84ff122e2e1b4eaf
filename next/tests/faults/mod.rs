//! What goes wrong around a run: processes that die, files that are cut, disks that are full.

mod beside;
mod clock;
mod disk;
mod failpoints;
mod files;
mod kills;
mod lies;
mod machine;
mod power;
mod storm;

use crate::support::{runner::Runner, running::Ran};

/// Where debug builds can fail or die in the middle of a write.
pub(crate) const PLACES: [&str; 7] = [
    "rows-write",
    "logs-write",
    "rows-sync",
    "manifest-write",
    "manifest-rename",
    "store-keep",
    "lock",
];

/// Brings the run to its end, or begins one if there is none.
pub(crate) fn go_on(runner: &Runner) -> Ran {
    let args: &[&str] = if runner.runs().is_empty() {
        &["exec", "scenario.toml", "--json"]
    } else {
        &["resume", "latest", "--json"]
    };
    runner.run(args)
}
