//! `logs.jsonl` that another program changes, at rest or during a session.

use std::fs;

use crate::support::{
    cases::at_once,
    run::Run,
    runner::Runner,
    truth::{assert_kept, assert_whole},
};

const LOGS: &str = "logs.jsonl";

/// Creates trials that log a line and then take `ms` milliseconds.
fn speakers(count: usize, ms: u64) -> Runner {
    Runner::hostile_in_memory(&format!(
        "[[tests]]\nid = \"says\"\nrepeat = {count}\ninput = {{ do = \"log\", ms = {ms} }}\n"
    ))
}

/// Returns the lines of the logs, each with its line break.
fn lines(run: &Run) -> Vec<String> {
    run.text(LOGS).split_inclusive('\n').map(str::to_owned).collect()
}

#[test]
fn changed_logs_name_their_attempts() {
    let runner = speakers(4, 0);
    runner.exec(&["-j", "1"]).expect(0);
    let run = runner.only_run();
    let whole = lines(&run);
    assert_eq!(whole.len(), 4);
    let mut changed = whole.clone();
    changed[1] = changed[1].replace("careful", "careles");
    let mut swapped = whole.clone();
    swapped.swap(0, 2);
    let cut = whole[..3].to_vec();
    for (what, lines, lost) in [
        ("changed", Some(changed), &[2][..]),
        ("swapped", Some(swapped), &[1, 3]),
        ("cut", Some(cut), &[4]),
        ("gone", None, &[1, 2, 3, 4]),
    ] {
        match lines {
            Some(lines) => run.write(LOGS, lines.concat()),
            None => fs::remove_file(run.dir.join(LOGS)).unwrap(),
        }
        let verified = runner.run(&["verify"]).expect(1);
        let said = runner.run(&["logs"]).expect(0);
        for repeat in 1..=4 {
            let rerun = format!("--rerun says@hostile#{repeat}");
            let is_lost = lost.contains(&repeat);
            let text = format!("{}{}", verified.stdout, verified.stderr);
            assert_eq!(text.contains(&rerun), is_lost, "{what}, {repeat}: {text}");
        }
        assert_eq!(said.stderr.matches("is lost").count(), lost.len(), "{what}: {said:?}");
        assert_eq!(said.stdout.matches("careful").count(), 4 - lost.len(), "{what}: {said:?}");
        match what {
            "cut" => said.says(&["logs.jsonl: the line at byte", "is missing; the output of"]),
            "gone" => said.says(&["logs.jsonl: the file is missing; the output of"]),
            _ => said.says(&["is not the one that was written; the output of"]),
        }
    }
    run.write(LOGS, whole.concat());
    runner.run(&["verify"]).expect(0);
}

#[test]
fn cut_logs_end_the_session() {
    at_once(["cut", "extended", "replaced", "removed"], |what| {
        // Two at once, they take some seconds, so that the file changes before the end.
        let runner = speakers(24, 400);
        let mut running = runner.start(&["-j", "2"]);
        running.wait_for_rows(5);
        let run = runner.only_run();
        let path = run.dir.join(LOGS);
        let logs = fs::File::options().append(true).open(&path).unwrap();
        match what {
            "cut" => logs.set_len(10).unwrap(),
            "extended" => std::io::Write::write_all(&mut &logs, b"what is this?\n").unwrap(),
            "replaced" => {
                run.write("copy", run.bytes(LOGS));
                fs::rename(run.dir.join("copy"), &path).unwrap();
            }
            _ => fs::remove_file(&path).unwrap(),
        }
        let ran = running.finish().expect(7);
        ran.says(&[LOGS, "another program has"]);
        assert_eq!(run.ending()[..2], ["incomplete", "storage"], "{what}");
        runner.run(&["resume", "latest", "-j", "24"]).expect(0);
        assert_kept(&assert_whole(&runner, 24), &ran.acknowledged());
        let is_damaged = matches!(what, "cut" | "removed");
        runner.run(&["verify"]).expect(i32::from(is_damaged));
    });
}
