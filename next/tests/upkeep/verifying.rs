//! Damage that `verify` finds.

use std::fs;

use super::{ended, naps};
use crate::support::run::sealed;

#[test]
fn verify_names_file_line_and_remedy() {
    let runner = naps(3, 1);
    let runs = ended(&runner, 2);
    runner.run(&["verify", "latest~1"]).expect(0).says(&["3 rows", "2 stored files"]);
    let run = &runs[1];
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.replacen("passed", "failed", 1));
    let ran = runner.run(&["verify"]).expect(1);
    ran.says(&["index.jsonl:1: the checksum does not match; `runner resume`", "3 faults"]);
    let found = runner.run(&["verify", run.id(), "--json"]).expect(1).document();
    assert_eq!(found["faults"][0]["line"], 1);
    assert_eq!(found["rows"], 2);
    run.write("index.jsonl", &rows);

    // Rows of another run name a trial that this run does not plan.
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("\"nap\"", "\"doze\""));
    runner.exec(&["-q"]).expect(0);
    let other = runner.runs().pop().unwrap().text("index.jsonl");
    run.write("index.jsonl", &other);
    runner
        .run(&["verify", run.id()])
        .expect(1)
        .says(&["index.jsonl:1: the run has no trial doze@hostile#"]);
    for args in [&["--rerun", "all"][..], &["--dry-run"]] {
        let args = [&["resume", run.id()], args].concat();
        let ran = runner.run(&args).expect(2);
        ran.says(&["line 1: the run has no trial doze@hostile#"]);
        ran.says(&[": the row is of another run"]);
    }
    assert_eq!(run.text("index.jsonl"), other);
    run.write("index.jsonl", &rows);
    runner.run(&["verify", run.id()]).expect(0);

    let digest = run.manifest()["metadata"]["suite"].as_str().unwrap().to_owned();
    let stored = runner.path("results/store").join(&digest[..2]).join(&digest);
    fs::write(&stored, "{}\n").unwrap();
    runner.run(&["verify", run.id()]).expect(1).says(&[&digest, "remove it"]);
    fs::remove_file(&stored).unwrap();
    runner.run(&["verify", run.id()]).expect(1).says(&[&digest]);
}

#[test]
fn show_and_resume_count_damaged_lines_alike() {
    let runner = naps(2, 1);
    let run = &ended(&runner, 1)[0];
    let rows = run.text("index.jsonl");
    let first = rows.lines().next().unwrap();
    // A changed byte, a wrong value of a key that counts use, and of a key that they do not use.
    let changed = first.replacen("passed", "failed", 1);
    let wrong_outcome = sealed(&first.replacen("\"passed\"", "7", 1));
    let wrong_usage = sealed(&first.replacen("\"usage\":{", "\"usage\":7,\"other\":{", 1));
    for (line, is_counted) in [(changed, true), (wrong_outcome, true), (wrong_usage, false)] {
        assert_ne!(line, first);
        run.write("index.jsonl", rows.replacen(first, &line, 1));
        let shown = runner.run(&["show", run.id()]).expect(0);
        let dry = runner.run(&["resume", run.id(), "--dry-run"]).expect(0);
        for ran in [shown, dry] {
            let says = "1 line of index.jsonl is damaged";
            assert_eq!(ran.stderr.contains(says), is_counted, "{line}: {ran:?}");
        }
        assert_eq!(runner.show(run)["damaged_lines"], u64::from(is_counted));
        let ran = runner.run(&["verify", run.id()]).expect(1);
        ran.says(&["index.jsonl:1: "]);
        if !is_counted {
            ran.says(&["its result still counts", "1 fault"]);
        }
    }
}
