//! Only the process that holds a run's lock writes the run's status.

use std::fs::File;

use super::{going_on, naps};
use crate::support::running::Running;

#[test]
fn only_the_lock_holder_writes_the_status() {
    let runner = naps(60, 5);
    going_on(&runner).kill();
    let run = runner.only_run();
    // This process holds the lock of the dead run, and does nothing with it.
    let lock = File::options().read(true).write(true).open(run.dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let look =
        || ["benchmark.json", "index.jsonl", "lock", "runner.log"].map(|name| run.bytes(name));
    let (before, into) = (look(), run.dir.to_str().unwrap());
    let commands = [
        (&["cleanup", "--yes"][..], 0),
        (&["prune", "--keep-last", "0", "--yes"], 0),
        (&["prune", run.id(), "--yes"], 6),
        (&["pin", run.id()], 6),
        (&["resume", run.id()], 6),
        (&["resume", run.id(), "--rerun", "all"], 6),
        (&["resume", run.id(), "--accept-changes"], 6),
        (&["exec", "scenario.toml", "--into", into], 6),
        (&["exec", "scenario.toml", "-q"], 0),
    ];
    // Each waits a second for the lock.
    let started = commands.map(|(args, code)| (runner.started(args), args, code));
    for (running, args, code) in started {
        let ran = Running::finish(running);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
    }
    assert_eq!(look(), before, "another process has written");
    assert_eq!(runner.show(&run)["run"]["status"], "running");
    drop(lock);
    assert_eq!(runner.show(&run)["run"]["status"], "incomplete");
    assert_eq!(look(), before, "a reader has written");
    runner.run(&["cleanup", "--yes"]).expect(0);
    assert_eq!(run.ending()[..2], ["incomplete", "crashed"]);
}
