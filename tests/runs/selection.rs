//! Selection of trials: lists, templates, globs, tags and repeats.

use std::fs;

use crate::support::{runner::Runner, truth::assert_whole};

const LIST: &str = r#"
{"name": "one", "text": "hello", "count": 1}
{"name": "two", "text": "zwölf", "count": 2}
{"name": "skipped", "text": "no", "count": 3}
"#;

fn listed() -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(
        r#"
        [defaults]
        tags = ["all"]
        [providers.a]
        plugin = "bundled:echo"
        [providers.b]
        plugin = "bundled:echo"
        [[test_lists]]
        files = ["*.jsonl"]
        id = "{{file.stem}}/{{row.name}}"
        input = { text = "{{row.text}}", count = "{{row.count}}" }
        expect = { json = { text = "{{row.text}}", count = "{{row.count}}" } }
        exclude = ["*/skipped"]
        tags = ["listed"]
        [[tests]]
        id = "alone"
        repeat = 2
        input = [1, 2]
        providers = ["b"]
        expect = { equals = [1, 2] }
        "#,
    );
    runner.write("words.jsonl", LIST.trim_start());
    runner
}

#[test]
fn flags_without_a_match_name_the_nearest() {
    let runner = listed();
    for (args, says) in [
        (["--test", "wrds/on"], "no test matches `--test wrds/on`; nearest: `words/one`"),
        (["--provider", "c"], "no provider matches `--provider c`; nearest: `a`, `b`"),
        (["--tag", "lister"], "no test has the tag `lister`; nearest: `listed`"),
        (["--tag", "zzz"], "no test has the tag `zzz`; existing: `all`, `listed`"),
        (["-E", "test(wrds/on)"], "no test matches `test(wrds/on)` of `-E`; nearest: `words/one`"),
        (["-E", "tag(lister)"], "no test matches `tag(lister)` of `-E`; nearest: `listed`"),
        (["--exclude", "*"], "every test is left out by `--exclude`"),
    ] {
        let ran = runner.exec(&args).expect(5);
        ran.says(&["no test is selected", says]);
    }
    assert!(runner.runs().is_empty());
    runner.exec(&["--test", "alone"]).expect(0);
    let ran = runner.run(&["resume", "--rerun", "faild"]).expect(2);
    ran.says(&["there is no `--rerun faild`, and no trial has this name; did you mean `failed`?"]);
    let ran = runner.run(&["resume", "--rerun", "alone@b#3"]).expect(5);
    ran.says(&["`--rerun alone@b#3` matches no trial of the run; nearest: `alone@b#1`"]);
}

#[test]
fn arguments_in_vain_are_warned_of() {
    let runner = listed();
    for (args, says) in [
        (&["--test", "alone", "--test", "aln"][..], "no test matches `--test aln`"),
        (&["--exclude", "*/on"], "no test matches `--exclude */on`; nearest: `words/one`"),
        (&["--tag", "all", "--tag", "fast"], "no test has the tag `fast`; existing: `all`"),
        (&["--provider", "a", "--provider", "c"], "no provider matches `--provider c`"),
        (&["-E", "!tag(fast)"], "no test matches `tag(fast)` of `-E`; existing: `all`"),
        (&["-E", "test(alone) | test(aln)"], "no test matches `test(aln)` of `-E`"),
        (&["--limit", "memory=8GiB"], "`--limit memory=8GiB` lowers nothing"),
    ] {
        runner.exec(args).expect(0).says(&[says]);
    }
    let many = (0..30).flat_map(|n| ["--exclude".to_owned(), format!("none-{n}")]);
    let many: Vec<_> = many.collect();
    let many: Vec<_> = many.iter().map(String::as_str).chain(["--dry-run"]).collect();
    let ran = runner.exec(&many).expect(0);
    ran.says(&["no test matches `--exclude none-9`", "matches 20 more globs of `--exclude`"]);
    assert!(!ran.stderr.contains("none-10"), "{}", ran.stderr);
    let args = ["--provider", "a", "--provider", "b", "--test", "alone", "--limit", "memory=1MiB"];
    let ran = runner.exec(&[&args[..], &["--dry-run"]].concat()).expect(0);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

/// Creates two tests on providers of their own. The plugin, secret, folder and schema of `b` are missing.
fn half_missing() -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(
        r#"
        [providers.a]
        plugin = "bundled:echo"
        [providers.b]
        plugin = "missing.wasm"
        grants = { secrets = ["MISSING"], fs = [{ path = "missing", mount = "/m", mode = "ro" }] }
        [[tests]]
        id = "one"
        tags = ["first"]
        providers = ["a"]
        [[tests]]
        id = "two"
        providers = ["b"]
        expect = { schema = "missing.json" }
        "#,
    );
    runner
}

#[test]
fn selections_need_only_what_they_run() {
    for selection in [["--test", "one"], ["--provider", "a"], ["--tag", "first"]] {
        let runner = half_missing();
        runner.exec(&selection).expect(0);
        let run = assert_whole(&runner, 1);
        let providers = run.manifest()["providers"].clone();
        assert_eq!(providers.as_array().unwrap().len(), 1, "{providers}");
        runner.run(&["verify"]).expect(0);
        runner.run(&["resume", "latest", "--rerun", "all"]).expect(0);
        runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
        runner.run(&["show", "latest"]).expect(0);
        runner.exec(&[&selection[..], &["--dry-run"]].concat()).expect(0);
    }
    let runner = half_missing();
    runner.exec(&["--test", "one"]).expect(0);
    runner.exec(&["--last-failed"]).expect(5);
    runner.exec(&[]).expect(2).says(&["plugin `missing.wasm`", "schema `missing.json`"]);
    for selection in [["--test", "two"], ["--test", "*"]] {
        runner.exec(&selection).expect(2).says(&["schema `missing.json` does not exist"]);
    }
    runner.write("missing.json", "{}");
    runner.exec(&["--test", "two"]).expect(2).says(&["plugin `missing.wasm` does not exist"]);
    runner.run(&["validate", "scenario.toml"]).expect(2).says(&["missing.wasm"]);
}

#[test]
fn missing_lists_matter_only_to_their_providers() {
    let runner = half_missing();
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!(
        "{text}\n[[test_lists]]\nfiles = [\"b.jsonl\"]\nproviders = [\"b\"]\nexpect = {{ schema = \"missing.json\" }}\n"
    ));
    runner.exec(&["--provider", "a"]).expect(0);
    for args in [&[][..], &["--test", "one"], &["--provider", "b"]] {
        let ran = runner.exec(args).expect(2);
        ran.says(&["no file matches `b.jsonl`"]);
        let is_complete =
            ran.stderr.contains("missing.wasm") && ran.stderr.contains("missing.json");
        assert_eq!(is_complete, args.is_empty(), "{}", ran.stderr);
    }
    runner.run(&["validate", "scenario.toml"]).expect(2).says(&["no file matches `b.jsonl`"]);
    // A record may name another provider than its list.
    runner.write(
        "b.jsonl",
        "{\"id\": \"three\"}\n{\"id\": \"four\", \"providers\": [\"a\"], \"expect\": {}}\n",
    );
    runner.exec(&["--provider", "a", "--dry-run"]).expect(2).says(&["b.jsonl:2:"]);
}

#[test]
fn advice_without_selected_tests_names_the_scenario() {
    let runner = listed();
    let ran = runner.exec(&["--test", "none"]).expect(5);
    ran.says(&["list all trials: runner exec --dry-run scenario.toml"]);
}
