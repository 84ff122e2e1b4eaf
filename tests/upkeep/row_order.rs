//! Commands that read rows which another program has moved or doubled: each takes the row that stands for its trial.

use std::fs;

use serde_json::json;

use crate::support::{
    run::{Run, sealed},
    runner::{Runner, tests},
};

/// The output is the number of the attempt.
const INPUT: &str = "{ do = \"fail-until\", attempt = 1 }";
const JUDGE: &str = "[providers.hostile]\nplugin = \"hostile.wasm\"\n[graders.judge]\nplugin = \"hostile.wasm\"\n\
    input = { do = \"echo\", value = { verdict = \"pass\", explanation = \"of {{output}}\" } }\n";

fn scenario(runner: &Runner, expect: &str) {
    let expect = format!("a | {INPUT} | {expect}, graders = [\"judge\"]");
    runner.scenario(&format!("{JUDGE}{}", tests(&expect)));
}

/// Adds a row as a rerun leaves it that was stopped.
fn add_stopped(lines: &mut Vec<String>) {
    let last = lines.iter().rfind(|line| line.contains("\"output\":2")).unwrap();
    let (head, tail) = last.split_once(",\"started_at\"").unwrap();
    let (head, _) = head.rsplit_once(",\"outcome\"").unwrap();
    let (_, tail) = tail.split_once(",\"fingerprint\"").unwrap();
    let line = format!(
        "{head},\"outcome\":\"stopped\",\"started_at\":\"2026-11-20T09:18:04.015Z\",\"duration_ms\":1.0,\"fingerprint\"{tail}"
    );
    let line = line.replacen("\"attempt\":2", "\"attempt\":3", 1);
    let line = line.replacen("\"final\":true", "\"final\":false", 1);
    let seq = lines.len() as u64;
    let line = line.replacen(&format!("\"seq\":{seq}"), &format!("\"seq\":{}", seq + 1), 1);
    lines.push(sealed(&line));
}

/// Changes the order of the lines of a run.
fn reorder(run: &Run, change: impl FnOnce(&mut Vec<String>)) {
    let mut lines: Vec<_> = run.text("index.jsonl").lines().map(str::to_owned).collect();
    change(&mut lines);
    run.write("index.jsonl", lines.join("\n") + "\n");
}

#[test]
fn moved_rows_change_no_answer() {
    for is_first_right in [true, false] {
        let expect = if is_first_right { "equals = 1" } else { "equals = 2" };
        let [first, last] = if is_first_right { [0, 1] } else { [1, 0] };
        let runner = Runner::new(&["hostile"]);
        scenario(&runner, expect);
        runner.exec(&["-q"]).expect(first);
        runner.run(&["resume", "latest", "--rerun", "all", "-q"]).expect(last);
        let run = runner.only_run();
        let changes: [fn(&mut Vec<String>); 3] = [
            add_stopped,
            |lines| lines.reverse(),
            |lines| {
                add_stopped(lines);
                lines.extend(lines.clone());
                lines.reverse();
            },
        ];
        let files = ["benchmark.json", "index.jsonl", "scenario.toml"];
        let files = files.map(|name| (name, run.bytes(name)));
        for change in changes {
            let restore = || {
                files.iter().for_each(|(name, content)| run.write(name, content));
                scenario(&runner, expect);
                reorder(&run, change);
            };
            let outcome = if last == 0 { "passed" } else { "failed" };
            for command in ["rescore", "resume --accept-changes"] {
                restore();
                assert_eq!(runner.list()[0]["verdict"], outcome);
                // Both outputs hold this.
                scenario(&runner, &format!("{expect}, not = {{ equals = 9 }}"));
                runner.run(&command.split(' ').collect::<Vec<_>>()).expect(last);
                let judged = run.rows().pop().unwrap();
                assert_eq!((&judged["output"], &judged["outcome"]), (&json!(2), &json!(outcome)));
            }

            restore();
            let call = ["plugin", "run", "--from", "latest", "--trial", "a", "--grader", "judge"];
            runner.run(&call).expect(0).says(&["of 2"]);

            let accepted = runner.run(&["accept", "--yes"]).expect(0);
            let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
            assert!(text.contains("equals = 2"), "{text}");
            accepted.says(if last == 0 {
                &["nothing to accept"]
            } else {
                &["accepted the outputs of 1 test in 1 file"]
            });
        }
    }
}
