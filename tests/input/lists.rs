//! Test lists and globs that are hostile or give no test.

use std::time::{Duration, Instant};
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

use serde_json::json;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::runner::Runner;

const ECHO: &str = "[providers.p]\nplugin = \"bundled:echo\"\n";
const LIST: &str = "[[test_lists]]\nfiles = [\"list*.*\"]\n";

/// Writes a scenario with the bundled echo.
fn echo(scenario: &str) -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(&format!("{scenario}\n{ECHO}"));
    runner
}

#[test]
fn nested_globs_are_refused_everywhere() {
    let mut transcript = Transcript::default();
    for levels in [126, 200_000] {
        let glob = "{a,".repeat(levels) + &"}".repeat(levels);
        for scenario in [
            format!("[[tests]]\nid = \"a\"\nproviders = [\"{glob}\"]\n"),
            format!("[[test_lists]]\nfiles = [\"{glob}\"]\n"),
            format!("{LIST}select = [\"{glob}\"]\n"),
            format!("{LIST}exclude = [\"{glob}\"]\n"),
        ] {
            let runner = echo(&scenario);
            runner.write("list.jsonl", "{\"id\": \"a\"}\n");
            transcript.refused(&runner, &[]);
        }
        let runner = echo(LIST);
        runner.write("list.jsonl", format!("{{\"id\": \"a\", \"providers\": [\"{glob}\"]}}\n"));
        transcript.refused(&runner, &[]);
    }
    let runner = echo("[[tests]]\nid = \"a\"\n");
    let glob = "{a,".repeat(126) + &"}".repeat(126);
    for args in [["--test", &glob], ["--provider", &glob]] {
        transcript.refused(&runner, &args);
    }
    runner.exec(&[]).expect(0);
    for args in [
        &["list", "--scenario", &glob][..],
        &["resume", "latest", "--rerun", &glob],
        &["list", "--scenario", "["],
    ] {
        assert_eq!(runner.run(args).code, Some(2), "{}", args[0]);
    }
    transcript.check("nested_globs_are_refused_everywhere");
}

#[test]
fn wide_lists_and_matrices_are_read_soon() {
    let columns: String = (0..300_000).map(|number| format!("c{number},")).collect();
    let runner = echo(LIST);
    runner.write("list.csv", format!("{columns}c7\n"));
    let values: Vec<_> = (0..300_000).map(|number| number.to_string()).collect();
    let matrix = echo(&format!(
        "[[tests]]\nid = \"a\"\n[providers.m]\nplugin = \"bundled:echo\"\nmatrix = {{ n = [{}] }}",
        values.join(",")
    ));
    for (runner, says) in [
        (runner, ["list.csv:1:", "the column `c7` twice"]),
        (matrix, ["300000 providers", "at most 1000"]),
    ] {
        let started = Instant::now();
        runner.refused(&[], &says);
        // Comparing each with all others takes minutes.
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
}

#[test]
fn many_mistakes_are_reported_together() {
    let count = 10_001;
    let keys: String = (0..count).map(|number| format!("k{number} = [1]\n")).collect();
    let args = "\"{{matrix.none}}\",".repeat(count);
    let matrix = echo(&format!(
        "[[tests]]\nid = \"a\"\n[providers.m]\nplugin = \"bundled:echo\"\nargs = [{args}]\n[providers.m.matrix]\n{keys}"
    ));
    let ran = matrix.refused(&[], &[]);
    snapshot(&ran);
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);

    let globs = "\"p\",".repeat(count);
    for keys in ["[[tests]]\nid = \"a\"", LIST] {
        let runner = echo(&format!("{keys}\nproviders = [{globs}]"));
        runner.write("list.jsonl", "{\"id\": \"b\"}\n");
        let ran = runner.refused(&[], &[]);
        snapshot(&ran);
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    }
    // Each of these is valid alone.
    let large = format!("\"{{p,{}}}\",", "?[a-z]".repeat(500)).repeat(500);
    let runner = echo(&format!("[[tests]]\nid = \"a\"\nproviders = [{large}]"));
    snapshot(&runner.refused(&[], &[]));
}

#[test]
fn lists_without_tests_are_refused() {
    let mut transcript = Transcript::default();
    for (keys, file, text) in [
        ("", "list.jsonl", ""),
        ("", "list.jsonl", "\n \r\n"),
        ("", "list.csv", "id,input\n"),
        ("", "list.csv", "id,input\ra,1\rb,2\r"),
        ("", "list.json", "[]"),
        ("", "list.toml", "tests = []"),
        ("select = [\"b\"]", "list.jsonl", "{\"id\": \"a\"}\n"),
        ("exclude = [\"a\"]", "list.jsonl", "{\"id\": \"a\"}\n"),
        ("", "other.jsonl", "{\"id\": \"a\"}\n"),
    ] {
        let runner = echo(&format!("{LIST}{keys}\n"));
        runner.write(file, text);
        let refused = transcript.refused(&runner, &[]);
        let validated = runner.run(&["validate", "scenario.toml"]).expect(2);
        assert_eq!(refused.stderr, validated.stderr, "{file} {text:?}");

        let runner = echo(&format!("{LIST}{keys}\noptional = true\n"));
        runner.write(file, text);
        let ran = runner.exec(&[]).expect(5);
        let validated = runner.run(&["validate", "scenario.toml"]).expect(5);
        assert_eq!(ran.stderr, validated.stderr, "{file} {text:?}");
        assert!(!runner.path("results").exists());
    }
    // One list of two has tests.
    let runner =
        echo(&format!("{LIST}[[test_lists]]\nfiles = [\"list.jsonl\"]\nexclude = [\"*\"]\n"));
    runner.write("list.jsonl", "{\"id\": \"a\"}\n");
    transcript.refused(&runner, &[]);
    transcript.check("lists_without_tests_are_refused");
}

#[test]
fn missing_optional_lists_are_named() {
    let list = "[[test_lists]]\noptional = true\nfiles = [\"none.jsonl\", \"x*.csv\"]\n";
    let runner = echo(list);
    let says =
        ["no file matches `none.jsonl`, and its list is optional", "no file matches `x*.csv`"];
    runner.exec(&[]).expect(5).says(&says);
    runner.run(&["validate", "scenario.toml"]).expect(5).says(&says);
    let runner = echo(&format!("{list}[[tests]]\nid = \"a\"\n"));
    runner.exec(&[]).expect(0);
    let none = runner.exec(&["--test", "none"]).expect(5);
    snapshot(&none);
}

#[test]
fn lists_of_files_need_ids_that_differ() {
    let mut transcript = Transcript::default();
    for keys in [
        "input = \"{{row.text}}\"",
        "id = \"{{file.stem}}\"",
        "id = \"{{row.json.id}}\"",
        "id = \"{{file.stem}}\"\nselect = [\"none\"]",
    ] {
        let runner =
            echo(&format!("[[test_lists]]\nfiles = [\"c/*\"]\nformat = \"file\"\n{keys}\n"));
        fs::create_dir(runner.path("c")).unwrap();
        runner.write("c/a.json", "{");
        runner.write("c/a.txt", "");
        transcript.refused(&runner, &[]);
    }
    for format in ["\"files\"", "1"] {
        let runner = echo(&format!("{LIST}format = {format}\n"));
        runner.write("list.txt", "");
        transcript.refused(&runner, &[]);
    }
    transcript.check("lists_of_files_need_ids_that_differ");
}

#[test]
fn names_with_brackets_match_as_written() {
    let runner = echo("[[test_lists]]\nfiles = ['a[1].jsonl', '[data]']\n");
    runner.write("a[1].jsonl", "{\"id\": \"a\"}\n");
    fs::create_dir(runner.path("[data]")).unwrap();
    runner.write("[data]/b.jsonl", "{\"id\": \"b\"}\n");
    runner.exec(&[]).expect(0);
    assert_eq!(runner.only_run().rows().len(), 2);
    runner.write("{a}.jsonl", "{\"id\": \"c\"}\n");
    runner.write("b\\.jsonl", "");
    // A folder stands for all below it, also if its name has no brackets.
    fs::create_dir_all(runner.path("plain/in")).unwrap();
    runner.write("plain/in/d.jsonl", "{\"id\": \"d\"}\n");
    runner.scenario(&format!("[[test_lists]]\nfiles = ['{{a}}.jsonl', 'plain']\n{ECHO}"));
    snapshot(&runner.exec(&[]).expect(0));
    for glob in ["b\\.jsonl", "{a.jsonl"] {
        runner.scenario(&format!("[[test_lists]]\nfiles = ['{glob}']\n{ECHO}"));
        snapshot(&runner.exec(&[]).expect(2));
    }
}

#[test]
fn results_are_neither_lists_nor_scenarios() {
    let runner = echo("[[test_lists]]\nfiles = [\"**/*.jsonl\", \"**/tests.toml\"]\n");
    fs::create_dir(runner.path("data")).unwrap();
    runner.write("data/a.jsonl", "{\"id\": \"a\"}\n");
    // A file of the user with the name of a manifest.
    runner.write("data/benchmark.json", "{}");
    runner.write("tests.toml", "[[tests]]\nid = \"b\"\n");
    let tests = || runner.run(&["exec", "scenario.toml", "--dry-run"]).expect(0).stdout;
    let before = tests();
    assert!(before.contains("a@p") && before.contains("b@p"), "{before}");
    // Runs in a root of another name, and a run that was moved out of its root.
    for name in ["one", "two"] {
        runner.exec(&["--into", &format!("mine/{name}")]).expect(0);
        runner.write(&format!("mine/{name}/tests.toml"), "[[tests]]\nid = \"copy\"\n");
    }
    fs::rename(runner.path("mine/two"), runner.path("data/two")).unwrap();
    fs::remove_file(runner.path("mine/runner.db")).unwrap();
    assert_eq!(tests(), before);
    for folder in ["mine", "data/two"] {
        snapshot(&runner.run(&["exec", folder]).expect(2));
    }
    let own = "[providers.p]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"own\"\n";
    runner.write("mine/own.toml", own);
    runner.run(&["exec", "mine", "--dry-run"]).expect(0);
    fs::remove_file(runner.path("mine/own.toml")).unwrap();
    for (last, offered) in [("m", ""), ("d", "data/\t\n"), ("data/", "")] {
        let words = ["__complete", "--", "exec", last];
        assert_eq!(runner.run(&words).expect(0).stdout, offered, "{last}");
    }
}

#[test]
fn optional_broken_link_is_refused() {
    let runner =
        echo("[[test_lists]]\nfiles = [\"list.jsonl\"]\noptional = true\n[[tests]]\nid = \"a\"\n");
    runner.link(Path::new("nowhere"), "list.jsonl");
    snapshot(&runner.refused(&[], &[]));
}

#[test]
fn broken_links_under_a_glob_are_refused() {
    let mut transcript = Transcript::default();
    let runner = echo(LIST);
    runner.write("list.jsonl", "{\"id\": \"a\"}\n");
    runner.link(Path::new("nowhere"), "list2.jsonl");
    transcript.refused(&runner, &[]);
    fs::rename(runner.path("list2.jsonl"), runner.path("note.jsonl")).unwrap();
    runner.exec(&[]).expect(0);
    transcript.check("broken_links_under_a_glob_are_refused");
}

#[test]
fn unreadable_names_concern_only_matching_globs() {
    let runner = echo(LIST);
    runner.write("list.jsonl", "{\"id\": \"a\"}\n");
    fs::write(runner.path("").join(OsStr::from_bytes(b"caf\xe9.txt")), "").unwrap();
    runner.exec(&[]).expect(0);
    fs::write(runner.path("").join(OsStr::from_bytes(b"list-\xe9.jsonl")), "").unwrap();
    let ran = runner.exec(&[]).expect(2);
    snapshot(&ran);
}

#[test]
fn byte_order_marks_are_accepted_everywhere() {
    let runner = Runner::new(&[]);
    runner.scenario(&format!(
        "\u{feff}{ECHO}grants.secrets = [\"KEY\"]\n{LIST}expect = {{ schema = \"s.json\" }}\n"
    ));
    for (file, text) in [
        ("list.jsonl", "{\"id\": \"lines\"}\n"),
        ("list.csv", "id,input\ncsv,1\n"),
        ("list.json", "[{\"id\": \"json\"}]"),
        ("list.toml", "[[tests]]\nid = \"toml\"\n"),
        ("s.json", "{}"),
        ("key.env", "KEY=hunter22\n"),
        ("results/runner.toml", "[retention]\nkeep_last = 9\n"),
    ] {
        fs::create_dir_all(runner.path("results")).unwrap();
        runner.write(file, format!("\u{feff}{text}"));
    }
    let ran = runner.exec(&["--secret-file", "key.env"]).expect(0);
    assert!(!ran.stderr.contains("runner.toml"), "{}", ran.stderr);
    assert_eq!(runner.only_run().count("passed"), 4);
    runner.run(&["prune"]).expect(0);
    runner.write("in.json", "\u{feff}[1]");
    runner.run(&["plugin", "run", "bundled:echo", "--input", "@in.json"]).expect(0);
}

#[test]
fn placeholders_outside_lists_are_refused() {
    let mut transcript = Transcript::default();
    let runner = echo(
        "[defaults]\nmeta = { n = \"{{file.name}}\" }\n[[tests]]\nid = \"a\"\ninput = [\"x {{ row.x }}\"]\n\
         [[test_lists]]\nfiles = [\"list.jsonl\"]\ntags = [\"{{row.tag}}\"]\n",
    );
    runner.write("list.jsonl", "{\"id\": \"b\"}\n");
    transcript.refused(&runner, &[]);
    let runner = echo(
        "[[tests]]\nid = \"a\"\ninput = \"{{{{row.x}} {{secret.X}}\"\nexpect = { equals = \"{{{{row.x}} {{{{secret.X}}\" }\n\
         [[test_lists]]\nfiles = [\"list.jsonl\"]\ninput = \"{{{{row.x}} {{row.x}}\"\n",
    );
    // Data of a record is never a template.
    runner.write("list.jsonl", "{\"id\": \"b\", \"x\": \"{{row.y}}\", \"expect\": {\"equals\": \"{{row.x}} {{row.y}}\"}}\n");
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.row("a")["output"], "{{row.x}} {{secret.X}}");
    assert_eq!(run.row("b")["output"], "{{row.x}} {{row.y}}");
    transcript.check("placeholders_outside_lists_are_refused");
}

#[test]
fn inserted_values_match_only_themselves() {
    let runner = echo(
        "[[test_lists]]\nfiles = [\"list.jsonl\"]\nid = \"literal/{{row.id}}\"\ninput = \"{{row.said}}\"\n\
         expect = { matches = \"^#### {{row.answer}}$\" }\n\
         [[test_lists]]\nfiles = [\"list.jsonl\"]\nid = \"expression/{{row.id}}\"\ninput = \"{{row.said}}\"\n\
         expect = { matches = \"^#### ({{row.answer|regex}})$\" }\n",
    );
    let cases = [
        ("29.00", "29.00", true, true),
        ("29.00", "29x00", false, true),
        ("$5", "$5", true, false),
        ("a*", "a*", true, false),
        ("a*", "aaa", false, true),
        ("yes|", "no", false, false),
        ("yes|", "yes|", true, false),
        ("yes|", "", false, true),
        ("1+1", "1+1", true, false),
        ("1+1", "11", false, true),
    ];
    let lines = cases.iter().enumerate().map(|(index, (answer, said, ..))| {
        format!("{}\n", json!({ "id": index, "answer": answer, "said": format!("#### {said}") }))
    });
    runner.write("list.jsonl", lines.collect::<String>());
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    for (index, (answer, said, literal, expression)) in cases.into_iter().enumerate() {
        for (list, passes) in [("literal", literal), ("expression", expression)] {
            let outcome = &run.row(&format!("{list}/{index}"))["outcome"];
            let expected = if passes { "passed" } else { "failed" };
            assert_eq!(outcome, expected, "{list}: `{answer}` in `{said}`");
        }
    }
    // A value that is the whole expression is one.
    let runner = echo(
        "[[test_lists]]\nfiles = [\"list.jsonl\"]\ninput = \"29x00\"\nexpect = { matches = \"{{row.answer}}\" }\n",
    );
    runner.write("list.jsonl", "{\"id\": \"a\", \"answer\": \"29.00\"}\n");
    runner.exec(&[]).expect(0);
}

#[test]
fn expectations_are_not_replaced_in_silence() {
    let list = |record: &str, keys: &str| {
        let runner = echo(&format!("[[test_lists]]\nfiles = [\"list.jsonl\"]\n{keys}\n"));
        runner.write("list.jsonl", record);
        runner
    };
    let own = r#"{"id": "x", "input": "hi", "expect": {"equals": "bye"}, "reference": "no"}"#;
    for (keys, key) in
        [("expect = { contains = \"h\" }", "expect"), ("reference = \"yes\"", "reference")]
    {
        let says = format!("`{key}` of the record and `{key}` of its list exclude each other");
        list(own, keys).refused(&["exec", "scenario.toml"], &[&says]);
    }
    list(own, "expect = { equals = \"{{row.expect.equals}}\" }").exec(&[]).expect(1);
    let column = r#"{"id": "x", "input": "hi", "expect": "hi"}"#;
    list(column, "expect = { equals = \"{{row.expect}}\" }").exec(&[]).expect(0);
}

#[test]
fn empty_answers_are_no_expectations() {
    let mut transcript = Transcript::default();
    for expect in ["contains = \"{{row.a}}\"", "contains = [\"{{row.a}}\"]"] {
        let runner = echo(&format!(
            "[[test_lists]]\nfiles = [\"list.csv\"]\nid = \"{{{{row.name}}}}\"\ninput = \"hi\"\nexpect = {{ {expect} }}\n"
        ));
        runner.write("list.csv", "name,a\nx,\n");
        transcript.refused(&runner, &["exec", "scenario.toml"]);
        runner.write("list.csv", "name,a\nx,\" \"\n");
        transcript.refused(&runner, &["exec", "scenario.toml"]);
    }
    let runner = echo(
        "[[test_lists]]\nfiles = [\"list.csv\"]\nid = \"{{row.name}}\"\ninput = \"hi\"\nexpect = { matches = \"{{row.a}}$\" }\n",
    );
    runner.write("list.csv", "name,a\nx,\n");
    transcript.refused(&runner, &["exec", "scenario.toml"]);
    let runner = echo("[[tests]]\nid = \"t\"\ninput = \"hi\"\nexpect = { contains = \"\" }\n");
    transcript.refused(&runner, &["exec", "scenario.toml"]);
    transcript.check("empty_answers_are_no_expectations");
}
