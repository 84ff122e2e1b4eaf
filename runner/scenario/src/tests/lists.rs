//! Lists in all formats, files that tests name, and places of tests.

use std::fs;

use runner_model::{Selected, digest, prepare::RefusedPart, test::Test};
use serde_json::{Value, json};

use crate::{
    Selection, SuiteFile, TestProblem, parse_stored,
    suites::{folder, ids, lines, refused, select, try_resolve},
};

#[test]
fn lists_of_all_formats_make_the_same_tests() {
    let scenario = "
        [[test_lists]]
        files = ['l.*']
        id = '{{file.stem}}/{{row.n}}-{{file.name}}'
        input = { text = '{{row.text}}', number = '{{row_number}}' }
        expect = { matches = '^{{row.text}}$' }
    ";
    let folder = folder(
        scenario,
        &[
            (
                "l.jsonl",
                "\n{\"n\": \"1\", \"text\": \"a, b\", \"tags\": [\"t\"]}\n\n{\"n\": \"2\", \"text\": \"x\\ny\"}",
            ),
            (
                "l.json",
                "[{\"n\": \"1\", \"text\": \"a, b\"},\n {\"n\": \"2\",\n  \"text\": \"x\\ny\"}]\n",
            ),
            ("l.csv", "n,text\r\n1,\"a, b\"\r\n \r\n2,\"x\ny\"\r\n"),
            ("l.toml", "[[tests]]\nn = '1'\ntext = 'a, b'\n[[tests]]\nn = '2'\ntext = \"x\\ny\"\n"),
        ],
    );
    let suite = select(&folder, &Selection::default());
    let expected = ["csv", "json", "jsonl", "toml"].map(|end| format!("l/1-l.{end} l/2-l.{end}"));
    assert_eq!(ids(&suite), expected.join(" "));
    for (index, line) in lines(&suite).iter().enumerate() {
        let test: Value = serde_json::from_str(line).unwrap();
        let (text, number) = [("a, b", 1), ("x\ny", 2)][index % 2];
        assert_eq!(test["input"], json!({"text": text, "number": number}));
        assert_eq!(test["expect"]["matches"], format!("^{text}$"));
    }
}

#[test]
fn each_file_of_a_list_of_files_is_a_test() {
    let scenario = "
        [[test_lists]]
        files = ['cases/*']
        format = 'file'
        id = '{{file.stem}}'
        input = { name = '{{file.name}}', number = '{{row_number}}', text = '{{row.text}}' }
        [[test_lists]]
        files = ['json/*.json']
        format = 'file'
        id = 'json/{{file.stem}}'
        input = '{{row.json}}'
    ";
    // Its keys are no test's.
    let json = "\u{feff}{\"id\": \"other\", \"input\": 7}";
    let files =
        [("cases/a.in", "1 2\r\n"), ("cases/b", ""), ("cases/c.toml", "{"), ("json/d.json", json)];
    let suite = select(&folder(scenario, &files), &Selection::default());
    assert_eq!(ids(&suite), "a b c json/d");
    let inputs = lines(&suite);
    let inputs = inputs.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let inputs: Vec<_> = inputs.map(|mut test| test["input"].take()).collect();
    assert_eq!(inputs[0], json!({"name": "a.in", "number": 1, "text": "1 2\r\n"}));
    assert_eq!(inputs[1], json!({"name": "b", "number": 1, "text": ""}));
    assert_eq!(inputs[2]["text"], "{");
    assert_eq!(inputs[3], json!({"id": "other", "input": 7}));
}

#[test]
fn file_that_is_not_text_is_a_test_by_its_bytes() {
    let written = |input: &str| {
        let folder = folder(
            &format!(
                "[[test_lists]]\nfiles = ['*.bin']\nformat = 'file'\nid = '{{{{file.stem}}}}'\ninput = '{input}'\n"
            ),
            &[],
        );
        fs::write(folder.path().join("x.bin"), [0xff, 0]).unwrap();
        folder
    };
    let suite = select(&written("{{row.bytes}}"), &Selection::default());
    let test: Value = serde_json::from_str(&lines(&suite)[0]).unwrap();
    assert_eq!(test["input"], "/wA=");
    for (input, help) in [
        ("{{row.text}}", "the file is not UTF-8: `row.bytes` has its content in base64"),
        ("{{row.json}}", "files whose name ends in `.json` have it, and only with valid JSON"),
    ] {
        let problems = refused(&written(input), &Selection::default());
        assert!(problems.contains(help), "{problems}");
    }
}

/// The cells have line breaks, quotes and other bytes than ASCII, and cross many blocks of the reader.
#[test]
fn csv_records_may_cross_blocks() {
    let record = |number: usize| {
        let text = format!("line {number}\n\"ä,\u{20ac}\" ").repeat(number % 40);
        (text.clone(), format!("t{number},\"{}\"\n", text.replace('"', "\"\"")))
    };
    let list: String = (0..3000).map(|number| record(number).1).collect();
    assert!(list.len() > 500_000);
    let scenario = "[[test_lists]]\nfiles = ['l.csv']\nid = '{{row.id}}'\ninput = ['{{row.text}}', '{{row_number}}']\n";
    let folder = folder(scenario, &[("l.csv", &format!("id,text\n{list}"))]);
    let suite = select(&folder, &Selection::default());
    assert_eq!(suite.tests(), 3000);
    for (number, line) in lines(&suite).iter().enumerate() {
        let test: Value = serde_json::from_str(line).unwrap();
        assert_eq!(test["input"], json!([record(number).0, number + 1]));
    }

    // A mistake has its line even at the end of a long list.
    let path = folder.path().join("l.csv");
    fs::write(&path, format!("id,text\n{list}one\n")).unwrap();
    let line = 2 + list.matches('\n').count();
    let message = refused(&folder, &Selection::default());
    assert!(message.contains(&format!("l.csv:{line}:1")), "{message}");
    assert!(message.contains("2 columns, but this record has 1"), "{message}");
    fs::write(&path, format!("id,text\n{list}one,\"two\n{list}")).unwrap();
    let message = refused(&folder, &Selection::default());
    assert!(message.contains("quote"), "{message}");
}

#[test]
fn large_and_small_lists_make_same_suite() {
    let record = |number: usize| {
        let tags = ["", ", \"tags\": [\"a\"]", ", \"providers\": [\"q\"]"][number % 3];
        format!("{{\"id\": \"t{number}\", \"input\": {{\"n\": {number}}}{tags}}}\n")
    };
    let all: Vec<String> = (0..20_000).map(record).collect();
    let scenario = "test_lists = [{ files = ['l/*.jsonl'], timeout = '3s' }]\n";
    let large = folder(scenario, &[("l/all.jsonl", &all.concat())]);
    let parts: Vec<_> = all
        .chunks(3000)
        .enumerate()
        .map(|(index, part)| (format!("l/{index}.jsonl"), part.concat()))
        .collect();
    let parts: Vec<_> = parts.iter().map(|(name, text)| (&**name, &**text)).collect();
    let small = folder(scenario, &parts);
    let [large, small] = [large, small].map(|folder| select(&folder, &Selection::default()));
    assert_eq!((large.tests(), large.digest()), (20_000, small.digest()));
}

#[test]
fn lists_read_whole_have_bounded_size() {
    for name in ["l.json", "l.toml"] {
        let folder = folder(&format!("test_lists = [{{ files = ['{name}'] }}]\n"), &[]);
        let file = fs::File::create(folder.path().join(name)).unwrap();
        file.set_len((16 << 20) + 1).unwrap();
        let message = refused(&folder, &Selection::default());
        assert!(message.contains("more than 16 MiB") && message.contains(name), "{message}");
        file.set_len(16 << 20).unwrap();
        let message = refused(&folder, &Selection::default());
        assert!(!message.contains("more than 16 MiB"), "{message}");
    }
}

#[test]
fn repeated_ids_are_counted() {
    let scenario = "test_lists = [{ files = ['l.jsonl'] }]\n";
    for (ids, count) in [(1, 39), (4, 36), (30, 10), (15, 25)] {
        let list: String =
            (0..40).map(|number| format!("{{\"id\": \"t{}\"}}\n", number % ids)).collect();
        let folder = folder(scenario, &[("l.jsonl", &list)]);
        let message = refused(&folder, &Selection::default());
        let shown = message.matches("is used twice").count();
        assert_eq!(shown, 10);
        let note = format!("the first of {count} problems");
        assert_eq!(message.contains(&note), count > 10, "{message}");
    }
}

/// A search of the whole line for each record would take a minute.
#[test]
fn lists_on_one_line_are_read_once() {
    let text = "x".repeat(1000);
    let record =
        |number: usize| format!("{{\"id\": \"t{}\", \"input\": \"{text}\"}}", number % 9_999);
    let list: Vec<String> = (0..10_000).map(record).collect();
    let scenario = "test_lists = [{ files = ['l.json'] }]\n";
    let folder = folder(scenario, &[("l.json", &format!("[{}]", list.join(",")))]);
    let message = refused(&folder, &Selection::default());
    assert!(message.contains("the id `t0` is used twice"), "{message}");
    let at =
        |number: usize| list[..number].iter().map(|record| record.len() + 1).sum::<usize>() + 9;
    for number in [0, 9_999] {
        let place = format!("l.json:1:{}", at(number));
        assert!(message.contains(&place), "{place}: {message}");
    }
    assert!(message.len() < 1000, "{}", message.len());
}

/// A search of the record for each mistake would take minutes.
#[test]
fn record_may_have_many_mistakes() {
    let keys: String = (0..50_000).map(|number| format!(", \"k{number}\": 1")).collect();
    let scenario = "test_lists = [{ files = ['l.jsonl'] }]\n";
    let list = format!("{{\"id\": \"a\"{keys}}}\n");
    let message = refused(&folder(scenario, &[("l.jsonl", &list)]), &Selection::default());
    assert!(message.contains("unknown key `k0`"), "{message}");
    // The keys of one table after the first 20 are one problem.
    assert!(message.contains("the first of 21 problems"), "{message}");
}

#[test]
fn csv_headers_are_checked() {
    for (text, parts) in [
        ("id,a,id\nx,1,2\n", ["l.csv:1:6", "`id` twice"]),
        ("\nid,\"a\nx,1\n", ["l.csv:2:4", "quote is not closed"]),
    ] {
        let folder = folder("test_lists = [{ files = ['l.csv'] }]\n", &[("l.csv", text)]);
        let message = refused(&folder, &Selection::default());
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let folder =
        folder("test_lists = [{ files = ['l.csv'], optional = true }]\n", &[("l.csv", "")]);
    assert_eq!(select(&folder, &Selection::default()).tests(), 0);
}

#[test]
fn attachments_and_schemas_are_blobs_by_digest() {
    let scenario = "
        tests = [{ id = 'own', files = { b = 'one.txt', a = 'deep/two.txt' } }]
        [[test_lists]]
        files = ['deep/l.jsonl']
        expect = { schema = 'deep/s.json' }
    ";
    let folder = folder(
        scenario,
        &[
            ("one.txt", "one"),
            ("deep/two.txt", "two"),
            ("deep/s.json", "{}"),
            ("deep/l.jsonl", "{\"id\": \"r\", \"files\": {\"x\": \"two.txt\"}}\n"),
        ],
    );
    let suite = select(&folder, &Selection::default());
    let [one, two, schema] = ["one", "two", "{}"].map(|text| digest(text.as_bytes()));
    let files = [("one.txt", 3), ("deep/two.txt", 3), ("deep/s.json", 2)];
    let files = files.map(|(path, bytes)| SuiteFile { path: folder.path().join(path), bytes });
    let blobs = [one, two, schema].into_iter().zip(files);
    assert_eq!(*suite.blobs(), blobs.collect());
    let lines = lines(&suite);
    let tests = lines.iter().map(|line| serde_json::from_str::<Test<'_>>(line).unwrap());
    let tests: Vec<_> = tests.collect();
    let files = tests[0].files.iter();
    let files: Vec<_> = files.map(|file| (&*file.name, file.sha256, file.bytes)).collect();
    assert_eq!(files, [("a", two, 3), ("b", one, 3)]);
    assert_eq!(tests[1].files[0].sha256, two);
    assert_eq!(tests[1].expect.schema, Some(schema));
    // Files of unselected tests are not read.
    let selection = Selected { tests: vec!["r".to_owned()], ..Selected::default() }.into();
    assert_eq!(select(&folder, &selection).blobs().len(), 2);
    let selection = Selected { first: Some(1), ..Selected::default() }.into();
    assert_eq!(select(&folder, &selection).blobs().len(), 2);
}

#[test]
fn invalid_files_of_tests_are_named() {
    let scenario = "
        run.reads = ['/dev/null']
        [[test_lists]]
        files = ['l.jsonl']
        [[test_lists]]
        files = ['s.jsonl']
        expect = { schema = 'x.wasm' }
    ";
    let list = "{\"id\": \"a\", \"files\": {\"f\": \"none\"}}\n{\"id\": \"b\", \"files\": {\"f\": \"/dev/null\"}}\n{\"id\": \"c\", \"files\": {\"f\": \".\"}}\n";
    let folder = folder(scenario, &[("l.jsonl", list), ("s.jsonl", "{\"id\": \"d\"}\n")]);
    let message = refused(&folder, &Selection::default());
    for part in [
        "l.jsonl:1:28",
        "attachment `none` does not exist",
        "l.jsonl:2:28",
        "attachment `/dev/null` is unreadable: it is not a regular file",
        "l.jsonl:3:28",
        "schema `x.wasm` is not JSON",
        "s.jsonl:1",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn meta_of_defaults_lists_and_tests_adds_up() {
    let scenario = "
        tests = [{ id = 'own', meta = { level = 3, hard = true } }]
        [defaults]
        meta = { level = 1, kind = 'all' }
        [[test_lists]]
        files = ['l.jsonl']
        input = '{{row.topic}}'
        meta = { topic = '{{row.topic}}', level = 2 }
    ";
    let list = "{\"id\": \"a\", \"topic\": \"x\"}\n{\"id\": \"b\", \"topic\": 1.5, \"meta\": {\"kind\": \"own\"}}\n";
    let folder = folder(scenario, &[("l.jsonl", list)]);
    let suite = select(&folder, &Selection::default());
    let meta = |line: &String| serde_json::from_str::<Value>(line).unwrap()["meta"].take();
    let meta: Vec<_> = lines(&suite).iter().map(meta).collect();
    assert_eq!(
        meta[..2],
        [
            json!({"hard": true, "kind": "all", "level": 3}),
            json!({"kind": "all", "level": 2, "topic": "x"}),
        ]
    );
    assert_eq!(meta[2]["topic"], json!(1.5));
    assert_eq!(meta[2]["kind"], json!("own"));
}

#[test]
fn meta_has_bounds() {
    let keys = |count: usize| {
        let keys = (0..count).map(|key| format!("k{count}-{key} = 1"));
        keys.collect::<Vec<_>>().join(", ")
    };
    let long = "x".repeat(257);
    let key = "k".repeat(65);
    let scenario = format!(
        "tests = [{{ id = 'a', meta = {{ {key} = 1, text = '{long}', list = [1], empty = '' }} }}, {{ id = 'b', meta = {{ {} }} }}]\n",
        keys(33)
    );
    let message = refused(&folder(&scenario, &[]), &Selection::default());
    for part in ["1 to 64 bytes", "257 bytes", "this is an array", "it is empty", "33 keys"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let scenario = format!(
        "tests = [{{ id = 'a', meta = {{ {} }} }}]\ndefaults.meta = {{ {} }}\n",
        keys(20),
        keys(13)
    );
    let message = refused(&folder(&scenario, &[]), &Selection::default());
    assert!(message.contains("test `a` has 33 keys of `meta`"), "{message}");
}

#[test]
fn problems_of_tests_have_their_place() {
    let scenario = "
        tests = [{ id = 'own', input = 'x' }]
        [[test_lists]]
        files = ['l.csv', 'l.json', 'l.jsonl']
    ";
    let folder = folder(
        scenario,
        &[
            ("l.jsonl", "\n{\"id\": \"lines\", \"input\": 1}\n"),
            ("l.json", "[\n  {\"id\": \"json\",\n   \"input\": 1}]\n"),
            ("l.csv", "id,input\ncsv,text\n"),
        ],
    );
    let (scenario, suite) = try_resolve(folder.path(), &Selection::default()).unwrap();
    let problem = |test| TestProblem {
        test,
        key: "input",
        message: format!("no {test}"),
        help: Some("another".to_owned()),
        refused: RefusedPart::default(),
    };
    let found: Vec<_> = (0..4).map(problem).collect();
    let message = scenario.test_problems(&suite, &found).render(false, 100);
    for part in ["s.toml:5:40", "l.csv:2:5", "l.json:3:13", "l.jsonl:2:26"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(message.contains("of test `own`") && message.contains("error: no 3"), "{message}");
    assert!(message.contains("another"), "{message}");
}

#[test]
fn providers_of_matrix_keep_its_order() {
    let scenario = "
        tests = [{ id = 'a', input = 'x', providers = ['m[size=8,*]', 'p'] }]
        [providers.m]
        plugin = '{{matrix.kind}}.wasm'
        config = { size = '{{matrix.size}}', text = 'of {{matrix.size}}', deep = ['{{matrix.kind}}'] }
        args = ['{{matrix.size}} {{input}} {{ matrix.kind }}']
        grants = { env = { KIND = '{{matrix.kind}}-{{config.size}}' } }
        matrix = { size = [16, 8], kind = ['x', 'y'] }
        [providers.n]
        plugin = 'x.wasm'
        name = 'n-{{matrix.on}}'
        matrix = { on = [true] }
    ";
    let folder = folder(scenario, &[("y.wasm", "")]);
    let (live, suite) = try_resolve(folder.path(), &Selection::default()).unwrap();
    let stored = parse_stored(&live.text, "stored", &Default::default()).unwrap();
    assert_eq!(live.providers, stored.providers);
    let names: Vec<_> = live.providers.iter().map(|provider| &*provider.name).collect();
    let made = ["m[size=16,kind=x]", "m[size=16,kind=y]", "m[size=8,kind=x]", "m[size=8,kind=y]"];
    assert_eq!(names, [&["p", "q", "r"][..], &made, &["n-true"]].concat());
    let provider = &live.providers[6];
    assert_eq!(provider.plugin, "y.wasm");
    assert_eq!(provider.config, json!({"size": 8, "text": "of 8", "deep": ["y"]}));
    assert_eq!(provider.args.templates()[0].to_string(), "8 {{input}} y");
    assert_eq!(provider.grants.env[0].1.to_string(), "y-{{config.size}}");
    let line: Value = serde_json::from_str(&lines(&suite)[0]).unwrap();
    assert_eq!(line["providers"], json!([0, 5, 6]));
}

#[test]
fn duplicate_names_of_matrix_are_refused() {
    let refused = |scenario: &str| {
        let folder = folder(&format!("tests = [{{ id = 'a' }}]\n{scenario}"), &[]);
        refused(&folder, &Selection::default())
    };
    for (name, values) in [("m", "[1, 2]"), ("p", "[1]"), ("x{{matrix.v}}", "['/', '?']")] {
        let message = refused(&format!(
            "[providers.m]\nplugin = 'x.wasm'\nname = '{name}'\nmatrix = {{ v = {values} }}\n"
        ));
        assert!(message.contains("two providers would be named"), "{name}: {message}");
    }
}
