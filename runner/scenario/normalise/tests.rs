//! Suites as scenarios and lists make them.

use std::{num::NonZeroU32, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use crate::{
    model::Shard,
    scenario::{
        Scenario, ScenarioError, Selection, Suite, Test, load, normalise, normalise_with_part,
    },
};

/// A folder with a scenario that has the providers `p`, `q` and `r`, and with `files` beside it.
fn folder(scenario: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let providers = "providers.p.plugin = 'x.wasm'\nproviders.q.plugin = 'x.wasm'\nproviders.r.plugin = 'x.wasm'\n";
    let scenario = format!("{providers}{scenario}");
    for (name, text) in [("x.wasm", ""), ("s.toml", &scenario)].iter().chain(files) {
        let path = directory.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    directory
}

fn scenario(directory: &Path) -> Scenario {
    load(&directory.join("s.toml")).unwrap_or_else(|error| panic!("{error:?}"))
}

fn select(directory: &Path, selection: &Selection) -> Suite {
    normalise(&scenario(directory), selection).unwrap_or_else(|error| panic!("{error:?}"))
}

fn tests(suite: &Suite) -> Vec<Arc<Test>> {
    let mut reader = suite.reader();
    let indexes = 0..suite.test_count();
    indexes.map(|index| reader.test(index).unwrap()).collect()
}

fn ids(suite: &Suite) -> Vec<String> {
    tests(suite)
        .iter()
        .map(|test| test.id.to_string())
        .collect()
}

const LISTS: &str = "
    tests = [{ id = 'z', tags = ['one'], providers = ['q'], repeat = 2 }]
    [[test_lists]]
    files = ['lists/*.jsonl']
    tags = ['two']
    [[test_lists]]
    files = ['a.csv']
    id = '{{file.stem}}/{{row.n}}'
    exclude = ['*/2']
";

/// The file of a suite, read by its handle.
fn bytes(suite: &Suite) -> Vec<u8> {
    let file = suite.file();
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn lists() -> tempfile::TempDir {
    folder(
        LISTS,
        &[
            ("lists/b.jsonl", "{\"id\": \"b\"}\n"),
            ("lists/a.jsonl", "{\"id\": \"a\", \"tags\": [\"one\"]}\n"),
            ("a.csv", "n,id\n1,x\n2,y\n3,z\n"),
        ],
    )
}

#[test]
fn tests_come_first_and_then_lists_in_the_order_written() {
    let directory = lists();
    let suite = select(directory.path(), &Selection::default());
    assert_eq!(ids(&suite), ["z", "a", "b", "a/1", "a/3"]);
    assert_eq!(suite.trial_count(), 2 + 4 * 3);
    assert_eq!(*tests(&suite)[1].tags, ["one".to_owned(), "two".to_owned()]);
}

#[test]
fn the_command_line_selects_tests_providers_and_repeats() {
    let directory = lists();
    let select = |selection: Selection| {
        let suite = select(directory.path(), &selection);
        (ids(&suite).join(" "), suite.trial_count())
    };
    let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    let all = Selection::default;

    assert_eq!(
        select(Selection {
            tests: globs(&["a*", "z"]),
            ..all()
        }),
        ("z a a/1 a/3".into(), 11)
    );
    assert_eq!(
        select(Selection {
            exclude: globs(&["a*"]),
            ..all()
        }),
        ("z b".into(), 5)
    );
    assert_eq!(
        select(Selection {
            tags: globs(&["one"]),
            ..all()
        }),
        ("z a".into(), 5)
    );
    assert_eq!(
        select(Selection {
            providers: globs(&["[pr]"]),
            ..all()
        }),
        ("a b a/1 a/3".into(), 8)
    );
    assert_eq!(
        select(Selection {
            repeat: Some(5),
            ..all()
        }),
        ("z a b a/1 a/3".into(), 65)
    );
    assert_eq!(
        select(Selection {
            tests: globs(&["none"]),
            ..all()
        }),
        (String::new(), 0)
    );
    assert_eq!(
        select(Selection {
            providers: globs(&["none"]),
            ..all()
        }),
        (String::new(), 0)
    );
}

#[test]
fn a_glob_of_the_command_line_that_is_none_is_refused() {
    let directory = lists();
    let selection = Selection {
        tests: vec!["[".into()],
        ..Selection::default()
    };
    let refused = normalise(&scenario(directory.path()), &selection);
    assert!(matches!(refused, Err(ScenarioError::Selection { glob, .. }) if glob == "["));
}

#[test]
fn ordinals_count_tests_then_providers_then_repeats() {
    let records: String = (0..1000)
        .map(|n| format!("{{\"id\": \"t{n}\", \"repeat\": {}}}\n", n % 3 + 1))
        .collect();
    let directory = folder(
        "test_lists = [{ files = ['a.jsonl'] }]",
        &[("a.jsonl", &records)],
    );
    let suite = select(directory.path(), &Selection::default());
    let mut expected = Vec::new();
    for n in 0..1000 {
        for provider in 0..3 {
            expected.extend((1..=n % 3 + 1).map(|repeat| (format!("t{n}"), provider, repeat)));
        }
    }
    let mut reader = suite.reader();
    let mut at = |ordinal| {
        let (test, provider, repeat) = reader.at(ordinal).unwrap();
        (test.id.to_string(), provider, repeat)
    };
    assert_eq!(
        (0..suite.trial_count()).map(&mut at).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(at(0).0, "t0");
    // In an order in which no block is read to its end: more of them than are kept, and as many as are.
    for mut reader in [
        suite.reader(),
        suite.reader_of_rows(),
        suite.reader_of_lane(),
    ] {
        for ordinal in (0..suite.trial_count()).map(|n| n * 577 % suite.trial_count()) {
            let (test, provider, repeat) = reader.at(ordinal).unwrap();
            let found = (test.id.to_string(), provider, repeat);
            assert_eq!(found, expected[ordinal as usize]);
            assert_eq!(reader.test(test.index).unwrap().id, test.id);
        }
    }
    assert!(reader.at(suite.trial_count()).is_err());
    assert!(reader.test(1000).is_err());
}

#[test]
fn a_stored_suite_reads_back_the_same() {
    let list = "{\"id\": \"a\", \"input\": {\"b\": 1, \"a\": \"\\u00e9\"}, \"expect\": {\"schema\": \"s.json\"}, \"files\": {\"f\": \"f.txt\"}}\n";
    let directory = folder(
        "defaults = { retries = { max = 1 }, timeout = '5s' }\ntest_lists = [{ files = ['l/a.jsonl'] }]",
        &[
            ("l/a.jsonl", list),
            ("l/f.txt", "text"),
            ("s.json", "{\"type\": \"object\"}"),
        ],
    );
    let suite = select(directory.path(), &Selection::default());
    let path = directory.path().join("stored");
    fs_err::write(&path, bytes(&suite)).unwrap();
    let stored = fs_err::read_to_string(&path).unwrap();
    assert!(!stored.contains(directory.path().to_str().unwrap()));
    assert_eq!(suite.attachments().count(), 1);

    let opened = Suite::open(fs_err::File::open(&path).unwrap().into_parts().0).unwrap();
    assert_eq!((opened.digest(), opened.trial_count()), (suite.digest(), 3));
    assert_eq!(
        format!("{:?}", tests(&opened)),
        format!("{:?}", tests(&suite))
    );

    let test = &tests(&opened)[0];
    assert_eq!(&*test.input, "{\"a\":\"é\",\"b\":1}");
    assert_eq!((test.files[0].bytes, test.retries.on.len()), (4, 2));
    assert_eq!(test.timeout, Some(std::time::Duration::from_secs(5)));
    assert!(
        test.expect
            .whole()
            .schema
            .as_ref()
            .unwrap()
            .validator()
            .is_valid(&serde_json::json!({}))
    );
}

#[test]
fn a_damaged_expectation_is_found_by_who_reads_it_and_keeps_nobody_from_the_tests_beside_it() {
    let directory = folder(
        "tests = [{ id = 'a', expect = { contains = 'x' } }, { id = 'b', expect = { equals = 1 } }]",
        &[],
    );
    let suite = select(directory.path(), &Selection::default());
    let stored = String::from_utf8(bytes(&suite)).unwrap();
    let path = directory.path().join("stored");
    fs_err::write(&path, stored.replace("contains", "contents")).unwrap();
    let opened = Suite::open(fs_err::File::open(&path).unwrap().into_parts().0).unwrap();

    let error = opened.reader().test(0).unwrap_err();
    assert!(error.to_string().contains("an expectation"), "{error}");
    let test = opened.reader_of_lane().test(0).unwrap();
    assert!(test.expect.graders().is_empty());
    test.expect.read().unwrap_err();
    assert_eq!(opened.reader().test(1).unwrap().id.as_str(), "b");
}

#[test]
fn the_digest_of_a_test_covers_what_decides_its_result() {
    let digest = |test: &str| {
        let directory = folder(
            &format!("tests = [{{ id = 'a', {test} }}]"),
            &[("f.txt", "text")],
        );
        let test = &tests(&select(directory.path(), &Selection::default()))[0];
        (test.execution, test.judgement)
    };
    let plain = digest("input = 1");
    for same in [
        "input = 1, timeout = '1s'",
        "input = 1, repeat = 2",
        "input = 1, providers = ['p']",
    ] {
        assert_eq!(digest(same), plain, "{same}");
    }
    for other in [
        "input = 2",
        "input = 1, tags = ['t']",
        "input = 1, files = { f = 'f.txt' }",
    ] {
        assert_ne!(digest(other).0, plain.0, "{other}");
        assert_eq!(digest(other).1, plain.1, "{other}");
    }
    let judged = digest("input = 1, expect = { equals = 1 }");
    assert_eq!(judged.0, plain.0);
    assert_ne!(judged.1, plain.1);
}

#[test]
fn where_a_list_has_no_template_a_record_is_a_test() {
    let refused = |list: &str| {
        let directory = folder(
            &format!("test_lists = [{{ files = ['a.jsonl'], {list} }}]"),
            &[("a.jsonl", "{\"id\": \"a\", \"want\": 1}\n")],
        );
        normalise(&scenario(directory.path()), &Selection::default()).is_err()
    };
    assert!(refused("input = 1"));
    assert!(!refused("input = '{{row.want}}'"));
    assert!(!refused("expect = { equals = '{{row.want}}' }"));
    assert!(!refused("id = 'x/{{row_number}}'"));
}

#[test]
fn scenarios_and_lists_may_begin_with_a_mark_and_end_lines_as_windows_does() {
    let directory = folder(
        "",
        &[
            (
                "w.toml",
                "\u{feff}providers.p.plugin = 'x.wasm'\r\n[[test_lists]]\r\nfiles = ['*.json']\r\n",
            ),
            (
                "a.json",
                "\u{feff}[{\"id\": \"a\"},\r\n{\"id\": \"b\"}]\r\n",
            ),
        ],
    );
    let scenario =
        load(&directory.path().join("w.toml")).unwrap_or_else(|error| panic!("{error:?}"));
    let suite = normalise(&scenario, &Selection::default()).unwrap();
    assert_eq!(ids(&suite), ["a", "b"]);
    assert_eq!(scenario.name(), "w");
}

/// Records of every kind, some of them not plain, as a list of JSON Lines; `number` is that of the first.
fn records_of_every_kind(numbers: std::ops::Range<u32>) -> String {
    let record = |number: u32| {
        let more = match number % 11 {
            0 => r#","expect":{"schema":"schema.json"}"#.to_owned(),
            1 => r#","files":{"a.txt":"attached.txt"}"#.to_owned(),
            2 => r#","expect":{"equals":null,"matches":null}"#.to_owned(),
            3 => format!(
                r#","expect":{{"equals":"{number}"}},"tags":["t{}"]"#,
                number % 2
            ),
            4 => r#","providers":["q","r"],"repeat":2"#.to_owned(),
            5 => r#","reference":{"a":[1]},"meta":{"topic":"x"}"#.to_owned(),
            6 => "}\n\n  \n{\"id\":\"x".to_owned() + &format!("{number}\",\"input\":1"),
            7 => format!(r#","expect":{{"contains":"{}"}}"#, "y".repeat(40)),
            _ => String::new(),
        };
        let text = match number % 16 {
            0..8 => r#"\u00e9\""#,
            // As it is written in lines of tests, but for the space.
            _ => "é",
        };
        format!(
            "{{\"id\":\"n{number:06}\", \"input\":{{\"n\": {number},\"é\":\"{text}\"}}{more}}}\n"
        )
    };
    numbers.map(record).collect()
}

#[test]
fn a_large_list_makes_the_suite_that_small_ones_make() {
    for more in ["", "exclude = ['*7']"] {
        let list = format!(
            "defaults.timeout = '3s'\n[[test_lists]]\nfiles = ['lists/*.jsonl']\ntimeout = '2s'\n{more}\n"
        );
        makes_the_same_suite(&list);
    }
}

fn makes_the_same_suite(list: &str) {
    const COUNT: u32 = 30_000;
    let beside = [
        ("schema.json", r#"{"type":"object"}"#),
        ("lists/attached.txt", "text"),
    ];
    let large = format!("\u{feff}{}", records_of_every_kind(0..COUNT));
    assert!(large.len() > 1 << 20);
    let one = folder(list, &[&beside[..], &[("lists/a.jsonl", &large)]].concat());
    let small: Vec<_> = (0..100)
        .map(|part| {
            let numbers = COUNT / 100 * part..COUNT / 100 * (part + 1);
            (
                format!("lists/{part:03}.jsonl"),
                records_of_every_kind(numbers),
            )
        })
        .collect();
    let small: Vec<_> = small
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    let many = folder(list, &[&beside[..], &small].concat());
    for selection in [
        Selection::default(),
        Selection {
            tags: vec!["t1".to_owned()],
            ..Selection::default()
        },
    ] {
        let (one, many) = (
            select(one.path(), &selection),
            select(many.path(), &selection),
        );
        assert!(one.test_count() > 1000);
        assert_eq!(one.trial_count(), many.trial_count());
        assert!(bytes(&one) == bytes(&many));
        assert_eq!(one.digest(), many.digest());
    }
    let shard = Shard::new(2, 3).unwrap();
    let part = |directory: &Path| {
        let scenario = scenario(directory);
        normalise_with_part(&scenario, &Selection::default(), shard).unwrap()
    };
    let ((whole, one), (_, many)) = (part(one.path()), part(many.path()));
    let mut has = 0;
    let count = |of: Shard| has += u64::from(of == shard);
    let threes = NonZeroU32::new(3).unwrap();
    whole.each_shard(threes, &["p", "q", "r"], count).unwrap();
    assert_eq!(one.trial_count(), has);
    assert!(bytes(&one) == bytes(&many));
    assert_eq!(one.digest(), many.digest());

    // What is wrong is named with its line, wherever it is, and of ids too.
    let lines = large.lines().count();
    let wrong = format!(
        "{large}{{\"id\":\"n000001\"}}\n{{\"id\":\"w\",\"inputs\":1}}\n\n[]\n{{\"id\":\"n000003\""
    );
    let wrong = folder(list, &[&beside[..], &[("lists/a.jsonl", &wrong)]].concat());
    let error = normalise(&scenario(wrong.path()), &Selection::default()).unwrap_err();
    let ScenarioError::Tests {
        mistakes, total, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    let places: Vec<_> = mistakes.iter().map(|mistake| mistake.place.line).collect();
    let at = |line: usize| Some((lines + line) as u64);
    assert_eq!((places, *total), (vec![at(2), at(4), at(5), at(1)], 4));
    assert!(mistakes[3].message.contains("already used"), "{error:?}");
}
