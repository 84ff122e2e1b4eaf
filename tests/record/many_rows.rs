//! What is read of a run with very many rows, and how much memory that takes.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::runner::{CommandExt as _, Runner, tests};

const ROWS: u64 = 200_000;

/// A run of one trial, of which a run with many rows is made: each is the one row with another number and name.
fn many_rows() -> Runner {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo", value = 1 } |"#));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let row: Value = serde_json::from_str(run.read("index.jsonl").trim_end()).unwrap();
    let mut row = row.as_object().unwrap().clone();
    row.remove("crc");
    let mut lines = String::new();
    for ordinal in 0..ROWS {
        row["seq"] = (ordinal + 1).into();
        row["ordinal"] = ordinal.into();
        row["trial"] = format!("a-{ordinal}@hostile#1").into();
        let line = serde_json::to_string(&row).unwrap();
        let covered = line.strip_suffix('}').unwrap();
        let crc = crc32fast::hash(covered.as_bytes());
        writeln!(lines, "{covered},\"crc\":\"{crc:08x}\"}}").unwrap();
    }
    run.write("index.jsonl", lines);
    run.change_manifest(|manifest| {
        manifest["metadata"]["planned_test_count"] = ROWS.into();
        manifest["counts"]["planned"] = ROWS.into();
        manifest["counts"]["passed"] = ROWS.into();
    });
    runner
}

/// The rows of a document without what their tests say, which is in no row.
fn recorded(document: &Value) -> Vec<Value> {
    let rows = document["rows"].as_array().unwrap().iter().cloned();
    let without_test = rows.map(|mut row| {
        let keys = row.as_object_mut().unwrap();
        for key in ["input", "meta", "tags"] {
            assert!(keys.remove(key).is_some(), "{key}");
        }
        row
    });
    without_test.collect()
}

#[test]
fn a_document_with_very_many_rows_takes_no_more_memory_than_one_with_few() {
    let runner = many_rows();
    // Held in memory they would take eight times that.
    let script = "ulimit -v 500000; exec $runner show --json";
    let ran = runner.shell(script).run().expect(0);
    assert_eq!(ran.stdout.lines().count(), 1, "it is laid out");
    let document = ran.document();
    assert_eq!(document["run"]["counts"]["passed"], ROWS);
    let rows = runner.only_run().rows();
    assert!(recorded(&document) == rows);

    let script = "ulimit -v 500000; exec $runner show --trial '*'";
    let ran = runner.shell(script).run().expect(0);
    let shown = ran
        .stdout
        .lines()
        .filter(|line| line.contains("@hostile#1"));
    assert_eq!(shown.count() as u64, ROWS);

    // Whoever reads no further, such as `head`, is no error.
    let script = "{ $runner show --json; echo $? >code; } | head -c 100";
    let ran = runner.shell(script).run().expect(0);
    assert_eq!(ran.stdout.len(), 100);
    assert_eq!(fs_err::read_to_string(runner.path("code")).unwrap(), "0\n");
}

#[test]
fn a_document_with_few_rows_is_laid_out_with_sorted_keys() {
    let runner = Runner::hostile(&tests(
        r#"
        says | { do = "log" } |
        fails | { do = "echo", value = "\u009b✓" } | equals = "y"
        denied | { do = "error", kind = "denied", code = "E1", message = "may not" } |
        "#,
    ));
    runner.exec(&[]).expect(1);
    let rows = runner.only_run().rows();
    for (args, count) in [(&[][..], 3), (&["--failed"], 2), (&["--trial", "says"], 1)] {
        let ran = runner.run(&[&["show", "--json"], args].concat()).expect(0);
        let document = ran.document();
        // A value of JSON has its keys sorted.
        let whole = serde_json::to_string_pretty(&document).unwrap() + "\n";
        assert_eq!(ran.stdout, whole.replace('\u{9b}', "\\u009b"));
        let shown = recorded(&document);
        assert_eq!(shown.len(), count);
        assert!(shown.iter().all(|row| rows.contains(row)));
    }
    let history = runner.run(&["show", "--json", "--history"]).expect(0);
    assert_eq!(history.document()["rows"], serde_json::json!([]));
}
