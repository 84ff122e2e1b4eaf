//! `verify`: every damage is found, and nothing else is called one.

use std::path::Path;

use serde_json::Value;

use super::{document, finished, recorded, stored};

#[test]
fn a_run_is_verified_by_id_part_path_and_latest() {
    let runner = finished(2);
    let runs = runner.runs();
    let (oldest, newest) = (runs[0].id(), runs[1].id());
    let path = format!("results/{oldest}");
    for (run, found) in [
        ("latest", newest),
        (oldest, oldest),
        (&oldest[24..], oldest),
        (&path, oldest),
        (runs[0].dir.to_str().unwrap(), oldest),
    ] {
        let ran = runner.run(&["verify", run]).expect(0);
        assert!(ran.stdout.contains(found), "{ran:?}");
        assert!(ran.stdout.contains("intact; looked at 3 rows"), "{ran:?}");
    }
    for run in ["2026", "nonsense", "./nonsense"] {
        runner.run(&["verify", run]).expect(2);
    }
}

#[test]
fn every_damage_is_found_and_placed() {
    let runner = finished(1);
    let run = &runner.runs()[0];
    let check = |path: &Path, damage: &dyn Fn(String) -> String, expected: &str| {
        let before = fs_err::read_to_string(path).unwrap();
        fs_err::write(path, damage(before.clone())).unwrap();
        let ran = runner.run(&["verify"]).expect(1);
        assert!(ran.stdout.contains(expected), "{expected}: {}", ran.stdout);
        let document = document(&runner, &["verify"]);
        assert_eq!(document["is_intact"], false);
        assert_ne!(document["damages"][0]["problem"], Value::Null);
        fs_err::write(path, &before).unwrap();
    };
    let lines = |text: &str, picked: &[usize]| {
        let lines: Vec<&str> = text.lines().collect();
        let picked = picked.iter().map(|line| lines[*line]);
        picked.map(|line| format!("{line}\n")).collect::<String>()
    };

    let index = run.dir.join("index.jsonl");
    let check_lines = |picked: &[usize], expected: &str| {
        check(&index, &|text| lines(&text, picked), expected);
    };
    check_lines(
        &[0, 2],
        "index.jsonl:2: rows are missing between row 1 and row 3",
    );
    check_lines(&[0, 2, 1], "index.jsonl:3: row 2 comes after row 3");
    check_lines(&[0, 1, 2, 2], "index.jsonl:4: row 3 comes after row 3");
    check_lines(&[0, 1, 2, 2], "comes after attempt 1");
    check_lines(
        &[0, 1],
        "1 of its 3 trials have no final row: those with the ordinals 2",
    );
    check_lines(&[0, 1], "benchmark.json: it counts 3 final rows");
    let flip = |text: String| text.replacen("#1", "#2", 1);
    check(&index, &flip, "index.jsonl:1: the checksum does not match");
    let tear = |text: String| text[..text.len() - 10].to_owned();
    check(&index, &tear, "index.jsonl:3: no checksum at its end");
    check(&index, &|text| text + "{", "index.jsonl:4: too short");

    let manifest = run.dir.join("benchmark.json");
    check(&manifest, &|_| "{".into(), "benchmark.json: ");
    let status = |text: String| text.replacen("completed", "failed", 1);
    check(
        &manifest,
        &status,
        "its status `failed` is not its last transition's",
    );
    let comment = |text: String| text + "# a comment\n";
    check(
        &run.dir.join("scenario.toml"),
        &comment,
        "scenario.toml: its digest is ",
    );
    let note = stored(&runner)
        .into_iter()
        .find(|path| fs_err::read(path).unwrap() == b"a note");
    check(&note.unwrap(), &|_| "a lie!".into(), ": its digest is ");

    let files = run.dir.join("artifacts/0/0-1");
    let bend = |text: String| text.replacen('a', "b", 1);
    check(
        &files.join("output.json"),
        &bend,
        "another content than it had",
    );
    let longer = |text: String| text + "a";
    check(&files.join("output.json"), &longer, "bytes and should have");
    let lied = |text: String| text.replacen("aaaa", "aaba", 1);
    let said = run.dir.join("logs-1-1.jsonl");
    check(
        &said,
        &lied,
        "index.jsonl:1: one@loud#1 names 92 bytes from byte 0 of `logs-1-1.jsonl`",
    );
    runner.run(&["verify"]).expect(0);
}

#[test]
fn whatever_is_missing_from_a_run_is_found() {
    let runner = finished(1);
    let run = &runner.runs()[0];
    let stored = stored(&runner);
    let files = [
        run.dir.join("index.jsonl"),
        run.dir.join("scenario.toml"),
        run.dir.join("artifacts/0/0-1"),
        stored[0].clone(),
        stored[1].clone(),
        stored[2].clone(),
    ];
    for file in files {
        let aside = runner.path("aside");
        fs_err::rename(&file, &aside).unwrap();
        let ran = runner.run(&["verify"]).expect(1);
        assert!(ran.stdout.contains("is missing"), "{ran:?}");
        fs_err::rename(&aside, &file).unwrap();
    }
    // Somebody who reads must not be taken for an owner, nor write anything.
    let before = recorded(&runner);
    runner.run(&["verify"]).expect(0);
    assert_eq!(recorded(&runner), before);
}

#[test]
fn a_torn_end_is_no_damage_until_the_run_is_at_rest() {
    let runner = finished(1);
    let run = &runner.runs()[0];
    run.forget_its_end();
    let index = run.read("index.jsonl");
    run.write("index.jsonl", &index[..index.len() - 10]);
    runner.run(&["verify"]).expect(0);
}
