//! Faults around a run: killed processes, truncated files, full disks.

mod beside;
mod clock;
pub(crate) mod disk;
mod exhaustion;
mod failpoints;
mod files;
mod kills;
mod lies;
mod logs;
mod machine;
pub(crate) mod power;
mod storm;
mod trials;

use crate::support::{
    runner::{Runner, tests},
    running::Finished,
};

/// Places where debug builds can fail or die in the middle of a write.
pub(crate) const PLACES: [&str; 7] = [
    "rows-write",
    "logs-write",
    "rows-sync",
    "manifest-write",
    "manifest-rename",
    "store-keep",
    "lock",
];

/// Trials of [`writing_runner`].
#[cfg(debug_assertions)]
const TRIALS: usize = 15;

/// A runner whose trials write rows, logs and artifacts.
#[cfg(debug_assertions)]
fn writing_runner() -> Runner {
    let list = tests(
        r#"
        logs  | { do = "log" } |
        large | { do = "huge-reply", bytes = 100000 } |
        comes | { do = "fail-until", attempt = 2 } |
        "#,
    );
    let repeat = TRIALS - 3;
    Runner::hostile_in_memory(&format!(
        "[defaults]\nretries = {{ max = 1 }}\n[[tests]]\nid = \"nap\"\nrepeat = {repeat}\ninput = {{ do = \"sleep\", ms = 5 }}\n{list}"
    ))
}

/// Resumes the run, or starts one if there is none.
pub(crate) fn go_on(runner: &Runner) -> Finished {
    let args: &[&str] = if runner.runs().is_empty() {
        &["exec", "scenario.toml", "--json"]
    } else {
        &["resume", "latest", "--json"]
    };
    runner.run(args)
}
