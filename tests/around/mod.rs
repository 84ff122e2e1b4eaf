//! Around a run: the background, named folders, labels, groups, and commands that follow a run.

mod detach;
mod follow;
mod grades;
mod groups;
mod into;
mod show;
pub(crate) mod terminal;
mod watch;

use std::time::Duration;

use crate::support::{
    processes::Process, run::Run, runner::Runner, running::Running, wait::wait_until,
};

/// Writes a scenario of the hostile guest with `count` trials that sleep for `time`.
fn sleepers(count: usize, time: Duration) -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&sleeping("scenario", count, time));
    runner
}

fn sleeping(name: &str, count: usize, time: Duration) -> String {
    let ms = time.as_millis();
    format!(
        "name = \"{name}\"\n[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"nap\"\nrepeat = {count}\ntimeout = \"10m\"\ninput = {{ do = \"sleep\", ms = {ms} }}\n"
    )
}

/// Longer than any test.
const ENDLESS: Duration = Duration::from_secs(3000);
const SHORT: Duration = Duration::from_millis(30);

/// The process that owns a run. It is killed when a test ends before it.
struct Worked(Process);

impl Worked {
    /// Returns the owner of the newest session.
    #[track_caller]
    fn on(run: &Run) -> Self {
        let manifest = run.manifest();
        let session = manifest["sessions"].as_array().unwrap().last().unwrap();
        Self(Process(session["pid"].as_u64().unwrap() as u32))
    }

    fn wait_until_gone(&self) {
        wait_until("the process is gone", || !self.0.is_alive());
    }
}

impl Drop for Worked {
    fn drop(&mut self) {
        self.0.signal(rustix::process::Signal::KILL);
    }
}

/// Returns a run's status in `list`.
#[track_caller]
fn listed(runner: &Runner, run: &str) -> String {
    let runs = runner.list();
    let run = runs.iter().find(|listed| listed["run"] == run);
    run.unwrap_or_else(|| panic!("{runs:?}"))["status"].as_str().unwrap().to_owned()
}

/// Starts a command, and waits until it has written to standard output.
#[track_caller]
fn speaking(runner: &Runner, args: &[&str], text: &str) -> Running {
    let mut running = runner.started(args);
    wait_until("it speaks", || {
        assert!(running.is_alive(), "it ended");
        running.printed().contains(text)
    });
    running
}
