//! What a session holds may be taken away from it: it notices, and leaves the rest to whoever holds it then.

use std::collections::HashSet;

use crate::support::runner::{Runner, Running, tests};

/// Trials that take a second or two together, one after the other.
fn many() -> Runner {
    let list: String = (0..40)
        .map(|n| format!("t{n} | {{ do = \"sleep\", ms = 50 }} |\n"))
        .collect();
    Runner::hostile_in_memory(&tests(&list))
}

fn begun(runner: &Runner) -> Running {
    let mut live = runner.start(&["-j1"]);
    live.wait_for(|event| event["event"] == "row");
    live
}

#[test]
fn a_session_whose_lock_is_removed_ends_and_leaves_the_run_to_the_next_one() {
    for is_replaced in [false, true] {
        let runner = many();
        let live = begun(&runner);
        let run = runner.only_run();
        fs_err::remove_file(run.dir.join("lock")).unwrap();
        if is_replaced {
            run.write("lock", "");
        }
        runner.run(&["resume", "--from", "latest", "-j1"]).expect(0);

        let ran = live.finish().expect(7);
        let end = ran.events().pop().unwrap();
        assert_eq!(end["reason"], "storage");
        let error = end["error"].as_str().unwrap();
        assert!(error.contains("was removed or replaced"), "{error}");
        let rows = run.rows();
        let seqs: HashSet<_> = rows.iter().map(|row| row["seq"].as_u64()).collect();
        let trials: HashSet<_> = rows.iter().map(|row| row["trial"].as_str()).collect();
        assert_eq!((rows.len(), seqs.len(), trials.len()), (40, 40, 40));
        assert_eq!(run.manifest()["status"], "completed");
        runner.run(&["verify", "latest"]).expect(0);
    }
}

#[test]
fn a_session_whose_rows_are_replaced_says_so_and_goes_on_another_time() {
    let runner = many();
    let live = begun(&runner);
    let run = runner.only_run();
    let index = run.dir.join("index.jsonl");
    fs_err::copy(&index, run.dir.join("copy")).unwrap();
    fs_err::rename(run.dir.join("copy"), &index).unwrap();
    let ran = live.finish().expect(7);
    let end = ran.events().pop().unwrap();
    let error = end["error"].as_str().unwrap();
    assert!(
        error.contains("index.jsonl` was removed or replaced"),
        "{error}"
    );

    assert_eq!(run.manifest()["reason"], "storage");
    runner.run(&["resume", "--from", "latest", "-j4"]).expect(0);
    runner.run(&["verify", "latest"]).expect(0);
}

#[test]
fn a_session_whose_rows_are_cut_in_their_place_is_not_told_to_be_completed() {
    let runner = many();
    let live = begun(&runner);
    let run = runner.only_run();
    run.write("index.jsonl", "");
    live.finish().expect(7);
    assert_eq!(run.manifest()["reason"], "storage");
    runner.run(&["resume", "--from", "latest", "-j4"]).expect(0);
    assert_eq!(run.rows().len(), 40);
}
