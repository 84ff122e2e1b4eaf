//! Suites and problems are the same for any division of the work among threads.

use std::{
    fs,
    io::{Read, Seek},
};

use proptest::prelude::*;
use tempfile::TempDir;

use crate::{
    Selection, load,
    suite::{resolve::resolve_on, threads::Threads},
    suites::folder,
};

/// Returns the suite's lines, digest, ids and blobs, or its problems.
fn resolved(folder: &TempDir, threads: usize, first: usize, chunk_size: usize) -> String {
    let scenario = load(&folder.path().join("s.toml"), &Default::default()).unwrap();
    let threads = Threads { first, count: Some(threads) };
    let (selection, mut file) = (Selection::default(), tempfile::tempfile().unwrap());
    match resolve_on(&threads, Some(chunk_size), &scenario, &selection, &mut file) {
        Ok(suite) => {
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            let tests: Vec<_> = (0..suite.tests()).map(|test| suite.id(test)).collect();
            format!("{text}{} {tests:?} {:?}", suite.digest(), suite.blobs())
        }
        Err(problems) => format!("{} {}", problems.count(), problems.render(false, 100)),
    }
}

/// Returns a line of a list. Kinds below `VALID_KINDS` are valid.
fn record(kind: u8, number: usize) -> String {
    let id = |number: usize| format!("\"id\": \"t{number}\"");
    let rest = match kind {
        0 => ", \"providers\": [\"q\"], \"tags\": [\"a\"]".to_owned(),
        // Two of these fill a block.
        1 => format!(", \"input\": \"{}\"", "x".repeat(70_000)),
        2 => format!(", \"files\": {{\"f\": \"{}.txt\"}}", number % 2),
        3 => ", \"input\": {\"z\": 1.0, \"a\": [null]}}\n \r\n".to_owned(),
        4 | 5 => String::new(),
        6 => return format!("{{{}}}\n", id(number / 2)),
        7 => ", \"files\": {\"f\": \"none.txt\"}".to_owned(),
        8 => ", \"tag\": 1, \"inptu\": 2".to_owned(),
        9 => ", \"repeat\": 1000000, \"input\": tru".to_owned(),
        10 => ", \"repeat\": 1000000".to_owned(),
        _ => format!(", \"input\": {}{}", "[".repeat(101), "]".repeat(101)),
    };
    format!("{{{}{rest}{}", id(number), if kind == 3 { "" } else { "}\n" })
}

const VALID_KINDS: u8 = 6;
const SCENARIO: &str = "
    tests = [{ id = 'own', input = 1 }]
    [[test_lists]]
    files = ['?.jsonl']
    tags = ['b']
    optional = true
    [[test_lists]]
    files = ['a.jsonl', 'r.*']
    id = '{{file.name}}/{{row.id}}'
    input = ['{{row_number}}', '{{row}}']
    exclude = ['*/t7']
    optional = true
    expect = { matches = '^{{row.id}}$', contains = 'x' }
";

/// Returns a list of one format with lines that are JSON.
fn in_format(end: &str, lines: &[&str]) -> String {
    match end {
        "json" => format!("[{}]", lines.join(",")),
        "toml" => {
            lines.iter().enumerate().map(|(id, _)| format!("[[tests]]\nid = 't{id}'\n")).collect()
        }
        _ => {
            let row =
                |(id, line): (usize, &&str)| format!("t{id},\"{}\"\n", line.replace('"', "\"\""));
            format!("id,text\n{}", lines.iter().enumerate().map(row).collect::<String>())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn division_of_work_changes_nothing(
        kinds in prop::collection::vec(0u8..12, 0..120),
        mode in 0..3,
        end in prop::sample::select(vec!["json", "toml", "csv"]),
        divisions in prop::collection::vec((2usize..5, 0usize..3, 1usize..9), 3),
    ) {
        let kinds = kinds.into_iter().map(|kind| match mode {
            0 => kind % VALID_KINDS,
            // Enough trials to exceed their bound.
            1 if kind < 9 => 10,
            _ => kind,
        });
        let all: Vec<_> = kinds.enumerate().map(|(number, kind)| record(kind, number)).collect();
        let (first, second) = all.split_at(all.len() / 3);
        let lines: Vec<_> = second.iter().map(|line| line.trim()).filter(|line| line.len() < 999).collect();
        let files = [
            ("a.jsonl", first.concat()),
            ("b.jsonl", second.concat()),
            (&*format!("r.{end}"), in_format(end, &lines)),
            ("0.txt", "zero".to_owned()),
            ("1.txt", "one".to_owned()),
        ];
        let folder = folder(SCENARIO, &files.each_ref().map(|(name, text)| (*name, &**text)));
        let serial = resolved(&folder, 1, 0, 1_000_000);
        prop_assert!(mode != 0 || serial.starts_with(r#"{"id":"own""#), "{}", serial);
        for (threads, first, chunk_size) in divisions {
            prop_assert_eq!(&resolved(&folder, threads, first, chunk_size), &serial);
        }
    }
}

/// A list of many chunks whose only mistakes are in the first and the last.
#[test]
fn repeated_ids_are_found_across_chunks() {
    let ids = (0..20_000).chain([0]).map(|id| format!("{{\"id\": \"t{id}\"}}\n"));
    let folder = folder("test_lists = [{ files = ['l.jsonl'] }]\n", &[("l.jsonl", "")]);
    fs::write(folder.path().join("l.jsonl"), ids.collect::<String>()).unwrap();
    let message = resolved(&folder, 4, 8, 512);
    for part in ["1 error: the id `t0` is used twice", "l.jsonl:20001:8", "l.jsonl:1:8"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}
