//! `compare`.

use std::fs;

use serde_json::{Value, json};

use super::changes::expect;
use crate::around::terminal::Terminal;
use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    runner::{Runner, tests},
    running::Running,
    server::{Response, Server},
};

/// Runs two versions of a scenario.
fn two_runs(base: &[(&str, u8)], new: &[(&str, u8)]) -> Runner {
    let runner = Runner::new(&["hostile"]);
    for wanted in [base, new] {
        expect(&runner, wanted);
        runner.exec(&["-j", "1"]);
    }
    runner
}

fn document(runner: &Runner, args: &[&str]) -> Value {
    runner.run(&[&["compare", "--json"], args].concat()).expect(0).document()
}

#[test]
fn newest_run_is_compared_with_previous_one() {
    let runner = two_runs(
        &[("falls", 1), ("rises", 2), ("stays", 2), ("leaves", 1), ("good", 1)],
        &[("falls", 2), ("rises", 1), ("stays", 2), ("comes", 1), ("good", 1)],
    );
    let runs = runner.runs();
    let ran = runner.run(&["compare"]).expect(0);
    snapshot(&ran);
    for args in [&["latest~1"][..], &["latest"], &[runs[0].id(), runs[1].id()]] {
        assert_eq!(runner.run(&[&["compare"], args].concat()).expect(0).stdout, ran.stdout);
    }
    let mut named = runner.command(&["compare"]);
    let named = Running::start(named.env("RUNNER_RUN", runs[1].id())).finish();
    assert_eq!(named.stdout, ran.stdout);
    let found = document(&runner, &[]);
    assert_eq!([&found["base"]["run"], &found["new"]["run"]], [runs[0].id(), runs[1].id()]);
    let classes = found["changes"].as_array().unwrap().iter();
    let classes: Vec<_> = classes.map(|change| (&change["class"], &change["test"])).collect();
    assert_eq!(
        json!(classes),
        json!([
            ["regressed", "falls"],
            ["still-failing", "stays"],
            ["fixed", "rises"],
            ["new", "comes"],
            ["gone", "leaves"],
        ])
    );
    let failed = json!({ "outcome": "failed", "passed": 0, "trials": 1 });
    assert_eq!(
        [&found["changes"][0]["new"], &found["changes"][3]["base"]],
        [&failed, &Value::Null]
    );
    runner.run(&["compare", "--fail-on", "regressed"]).expect(1);
    runner.run(&["compare", "latest", "latest~1", "--fail-on", "regressed"]).expect(1);
    runner.run(&["compare", "-E", "test(rises)", "--fail-on", "regressed"]).expect(0);
}

/// Returns the sentence that a comparison starts with.
fn summary(runner: &Runner, args: &[&str]) -> String {
    let shown = runner.run(&[&["compare"], args].concat()).expect(0).stdout;
    let first = shown.lines().next().unwrap().to_owned();
    assert_eq!(document(runner, args)["summary"], first);
    first
}

#[test]
fn comparison_starts_with_its_summary() {
    let both = [("a", 1), ("b", 2), ("c", 1), ("d", 1)];
    let runner = two_runs(&both, &[("a", 2), ("b", 1), ("c", 1), ("d", 1)]);
    assert_eq!(summary(&runner, &[]), "mixed: 1 regressed, 1 fixed; pass rate 3 of 4");
    let markdown = runner.run(&["compare", "--markdown"]).expect(0).stdout;
    assert!(
        markdown.starts_with("### mixed: 1 regressed, 1 fixed; pass rate 3 of 4"),
        "{markdown}"
    );
    runner.exec(&[]).expect(1);
    assert_eq!(summary(&runner, &["latest~1", "latest"]), "no change; pass rate 3 of 4");
    expect(&runner, &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    runner.exec(&[]).expect(0);
    let better = "better: 1 fixed; pass rate 3 of 4 → 4 of 4, not significant";
    assert_eq!(summary(&runner, &["latest~1", "latest"]), better);
    expect(&runner, &both);
    runner.exec(&["-j", "1", "--fail-fast"]).expect(4);
    let missing = summary(&runner, &["latest~3", "latest"]);
    assert!(
        missing.starts_with("mixed: ") || missing.starts_with("unclear: results are missing"),
        "{missing}"
    );
    // A significant rise does not hide a test that fell.
    let many: Vec<_> = (0..20).map(|number| format!("t{number:02}")).collect();
    let wanted = |bad: std::ops::Range<usize>| -> Vec<_> {
        many.iter()
            .enumerate()
            .map(|(at, name)| (name.as_str(), 1 + u8::from(bad.contains(&at))))
            .collect()
    };
    let runner = two_runs(&wanted(1..20), &wanted(0..1));
    let mixed = "mixed: 1 regressed, 19 fixed; pass rate 5.0 → 95.0 %, significant";
    assert_eq!(summary(&runner, &[]), mixed);
}

#[test]
fn same_change_on_providers_is_one_line() {
    let runner = Runner::new(&["hostile"]);
    for value in [1, 2] {
        let providers: String = ["a", "b", "c"]
            .map(|name| format!("[providers.{name}]\nplugin = \"hostile.wasm\"\n"))
            .concat();
        let table = format!(
            "cart/wrong | {{ do = \"echo\", value = 1 }} | equals = {value}\ncart/late | {{ do = \"echo\", value = 1 }} | equals = {value}\ngood | {{ do = \"echo\", value = 1 }} | equals = {}\n",
            3 - value
        );
        runner.scenario(&format!("{providers}{}", tests(&table)));
        runner.exec(&[]).expect(1);
    }
    let shown = runner.run(&["compare"]).expect(0);
    snapshot(&shown);
    let markdown = runner.run(&["compare", "--markdown"]).expect(0).stdout;
    assert!(markdown.contains("* `good on a, b, c`: failed → passed"), "{markdown}");
    assert_eq!(document(&runner, &[])["changes"].as_array().unwrap().len(), 9);
}

#[test]
fn change_of_several_tests_names_each() {
    let runner = Runner::new(&["hostile"]);
    let providers: String = (0..10)
        .map(|number| format!("[providers.p{number}]\nplugin = \"hostile.wasm\"\n"))
        .collect();
    for input in ["{ do = \"echo\", value = 1 }", "{ do = \"fail-until\" }"] {
        runner.scenario(&format!(
            "{providers}[[tests]]\nid = \"all\"\ninput = {input}\n[[tests]]\nid = \"one\"\nproviders = [\"p0\"]\ninput = {input}\n"
        ));
        runner.exec(&["--retries", "1"]).expect(0);
    }
    let names: Vec<_> = (0..10).map(|number| format!("all@p{number}")).collect();
    let flaky = format!("flaky: {} and 1 more passed → passed", names.join(", "));
    runner.run(&["compare"]).expect(0).says(&[&flaky]);
}

#[test]
fn providers_are_worse_or_better_than_each_other() {
    let runner = Runner::new(&[]);
    let provider = |name: &str| format!("[providers.{name}]\nplugin = \"bundled:echo\"\n");
    let test = |id: &str, provider: &str, value: u8| {
        format!(
            "[[tests]]\nid = \"{id}\"\nproviders = [\"{provider}\"]\ninput = 1\nexpect.equals = {value}\n"
        )
    };
    runner.scenario(
        &[provider("small"), provider("large"), test("one", "small", 1), test("two", "large", 1)]
            .concat(),
    );
    runner.run(&["exec", "scenario.toml"]).expect(0);
    let new = [test("one", "large", 2), test("two", "small", 1)];
    runner.scenario(&[provider("small"), provider("large"), new.concat()].concat());
    runner.run(&["exec", "scenario.toml"]).expect(1);
    let args = ["compare", "latest~1", "latest", "--providers", "small", "large"];
    let ran = runner.run(&[&args[..], &["--fail-on", "regressed"]].concat()).expect(1);
    snapshot(&ran);
    let back = runner.run(&["compare", "latest", "latest~1", "--providers", "large", "small"]);
    snapshot(&back.expect(0));
    for word in ["regressed", "fixed", "gone", "new,"] {
        assert!(!ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
}

#[test]
fn significant_change_fails_and_chance_does_not() {
    let names: Vec<_> = (0..12).map(|number| format!("t{number}")).collect();
    let wanted = |bad: usize| -> Vec<_> {
        let value = |at| if at < bad { 2 } else { 1 };
        names.iter().enumerate().map(|(at, name)| (name.as_str(), value(at))).collect()
    };
    let runner = two_runs(&wanted(0), &wanted(1));
    let compare = |args: &[&str]| runner.run(&[&["compare"], args].concat());
    compare(&["--fail-on", "significant"]).expect(0);
    // Durations decide about other lines.
    compare(&["--fail-on", "significant,regressed"])
        .expect(1)
        .says(&["1 regressed", "not significant"]);
    expect(&runner, &wanted(9));
    runner.exec(&[]).expect(1);
    let worse = compare(&["latest~2", "latest", "--fail-on", "significant"]);
    worse.expect(1).says(&["significantly worse:", "of hostile"]);
    compare(&["latest", "latest~2", "--fail-on", "significant"]).expect(0);
    let measures = &document(&runner, &["latest~2", "latest"])["measures"];
    assert_eq!([&measures[0]["name"], &measures[0]["worse"]], [&json!("pass rate"), &json!(true)]);
}

/// As in the sums of `show` and `history`: usage was paid, whatever the end.
#[test]
fn metrics_of_errors_are_in_the_means() {
    let runner = Runner::new(&["hostile"]);
    for (tokens, then) in [(100, ""), (300, "trap")] {
        runner.scenario(&format!(
            "[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"a\"\n\
             input = {{ do = \"usage\", reports = [{tokens}], then = \"{then}\" }}\n"
        ));
        runner.exec(&[]);
    }
    let found = document(&runner, &[]);
    let measures = found["measures"].as_array().unwrap_or_else(|| panic!("{found}"));
    let tokens = measures.iter().find(|measure| measure["name"] == "total_tokens").unwrap();
    let means = [&tokens["base"]["value"], &tokens["new"]["value"]];
    assert_eq!(json!(means), json!([100.0, 300.0]));
}

#[test]
fn metrics_of_plugin_hide_no_failure() {
    let server = Server::start(|_| {
        let message = json!({ "role": "assistant", "content": "4" });
        let usage = json!({ "prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10 });
        let choice = json!({ "index": 0, "finish_reason": "stop", "message": message });
        Response::ok(json!({ "choices": [choice], "usage": usage }).to_string())
    });
    let origin = server.origin();
    let runner = Runner::new(&[]);
    for wanted in [4, 5] {
        let test = |at: u8| {
            format!(
                "[[tests]]\nid = \"t{at}\"\ninput = \"2 + 2\"\nexpect = {{ equals = \"{wanted}\" }}\n"
            )
        };
        let all: String = (0..8).map(test).collect();
        runner.scenario(&format!(
            "[providers.m]\nplugin = \"bundled:chat\"\nconfig = {{ model = \"m\", base_url = \"{origin}\", api_key_secret = \"\" }}\ngrants = {{ net = [\"{origin}\"] }}\n[prices.m]\nprompt_tokens = 2\n{all}"
        ));
        runner.exec(&[]);
    }
    let ran = runner.run(&["compare", "--fail-on", "significant"]).expect(1);
    snapshot(&ran);
    assert!(!ran.stdout.contains(" USD"), "its name has the unit: {}", ran.stdout);
    let measures = document(&runner, &[])["measures"].take();
    assert!(measures.as_array().unwrap().len() > 5, "{measures}");
    assert_eq!(measures[0]["interval"], Value::Null);
}

#[test]
fn incomplete_run_passes_no_check() {
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("a", 1), ("b", 1)]);
    runner.exec(&[]).expect(0);
    expect(&runner, &[("a", 2), ("b", 2)]);
    runner.exec(&["-j", "1", "--fail-fast"]).expect(4);
    let failing = |args: &[&str], kind: &str| {
        let args = [&["compare"], args, &["--fail-on", kind]].concat();
        runner.run(&args).expect(1)
    };
    for kind in ["regressed", "significant", "slower"] {
        failing(&[], kind).says(&["new is incomplete: 1 of 2 trials have results"]);
    }
    // The base lacks the test that fails in the new run.
    runner.exec(&[]).expect(1);
    failing(&["latest~1", "latest"], "slower")
        .says(&["base is incomplete: 1 of 2 trials have results; 1 failure has no result there"]);
    runner.run(&["compare", "latest~1", "latest~2", "--fail-on", "regressed"]).expect(0);
    // Damage is no reason to pass.
    let new = runner.runs().remove(2);
    new.write("index.jsonl", new.text("index.jsonl").lines().next().unwrap().to_owned() + "\n");
    failing(&["latest~2", "latest"], "slower").says(&["new is damaged"]);
}

#[test]
fn one_run_has_each_caution_once() {
    let runner = Runner::new(&["hostile"]);
    let providers = "[providers.small]\nplugin = \"hostile.wasm\"\n[providers.large]\nplugin = \"hostile.wasm\"\n";
    let tests = tests(
        "a | { do = \"echo\", value = 1 } | equals = 1\nb | { do = \"trap\" } |\nc | { do = \"trap\" } |\n",
    );
    runner.scenario(&format!("{providers}{tests}"));
    runner.exec(&["-j", "1", "--fail-fast=3", "--test", "?"]).expect(4);
    let ran = runner.run(&["compare", "--providers", "small", "large", "--fail-on", "slower"]);
    let ran = ran.expect(1);
    let cautions: Vec<_> = ran.stdout.lines().filter(|line| line.starts_with("caution:")).collect();
    assert_eq!(cautions.len(), 2, "{cautions:?}");
    snapshot(&ran);
}

#[test]
fn longer_durations_fail_only_on_request() {
    let runner = Runner::new(&["hostile"]);
    // A busy machine adds some milliseconds to each.
    for ms in [0, 1000] {
        let line = |at: u8| format!("t{at} | {{ do = \"sleep\", ms = {ms} }} |\n");
        let all = tests(&(0..12).map(line).collect::<String>());
        runner.scenario(&format!("[providers.hostile]\nplugin = \"hostile.wasm\"\n{all}"));
        runner.exec(&["-j", "12"]).expect(0);
    }
    runner.run(&["compare", "--fail-on", "significant"]).expect(0);
    let slower = runner.run(&["compare", "--fail-on", "slower"]).expect(1);
    slower.says(&["significantly worse: duration of hostile"]);
    runner.run(&["compare", "latest", "latest~1", "--fail-on", "slower"]).expect(0);
}

#[test]
fn newly_timed_out_tests_are_slower() {
    let runner = Runner::new(&["hostile"]);
    let write = |hangs: u8| {
        let test = |at: u8| {
            let (ms, timeout) = if at < hangs { (600_000, "200ms") } else { (0, "1m") };
            let input = format!("{{ do = \"sleep\", ms = {ms} }}");
            format!("[[tests]]\nid = \"t{at}\"\ntimeout = \"{timeout}\"\ninput = {input}\n")
        };
        let all: String = (0..3).map(test).collect();
        runner.scenario(&format!("[providers.hostile]\nplugin = \"hostile.wasm\"\n{all}"));
        runner.exec(&[])
    };
    write(0).expect(0);
    write(1).expect(1);
    let slower =
        |runs: [&str; 2]| runner.run(&["compare", runs[0], runs[1], "--fail-on", "slower"]);
    let one = "slower: 1 result has timed out, and had a duration in base";
    slower(["latest~1", "latest"]).expect(1).says(&[one]);
    write(3).expect(1);
    snapshot(&slower(["latest~2", "latest"]).expect(1));
    // A test that hung before is not slower.
    snapshot(&slower(["latest~1", "latest"]).expect(1));
    slower(["latest~1", "latest~2"]).expect(0);
}

#[test]
fn lost_values_pass_no_check() {
    let runner = Runner::new(&["hostile"]);
    let write = |input: &str, more: &str| {
        let scored = "input = { do = \"measure\", score = 0.5 }";
        runner.scenario(&format!(
            "[providers.a]\nplugin = \"hostile.wasm\"\n[providers.b]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"t\"\nproviders = [\"a\"]\ninput = {input}\n[[tests]]\nid = \"u\"\nproviders = [\"b\"]\n{scored}\n{more}"
        ));
        runner.exec(&[])
    };
    write("{ do = \"measure\", score = 0.5 }", "").expect(0);
    write("{ do = \"trap\" }", "").expect(1);
    let compare = |kind: &str| runner.run(&["compare", "latest~1", "latest", "--fail-on", kind]);
    let lost = |name: &str| format!("{name} of a cannot be compared: no test has one in both runs");
    compare("slower").expect(1).says(&[&lost("duration")]);
    compare("significant").expect(1).says(&[&lost("score")]);
    // Nothing was judged at all.
    let skip = "{ do = \"verdict\", verdict = \"skip\" }";
    let only = |input: &str| {
        let tests = tests(&format!("t | {input} |"));
        runner.scenario(&format!("[providers.a]\nplugin = \"hostile.wasm\"\n{tests}"));
        runner.exec(&[]).expect(0);
    };
    only("{ do = \"echo\", value = 1 }");
    only(skip);
    for kind in ["regressed", "significant"] {
        snapshot(&compare(kind).expect(1));
    }
}

#[test]
fn scores_without_verdict_count_in_no_mean() {
    let runner = Runner::new(&[]);
    let write = |answer: &dyn Fn(u8) -> String| {
        let mut text = "[providers.p]\nplugin = \"bundled:echo\"\n[graders.judge]\nplugin = \"bundled:echo\"\ninput = \"{{reference}}\"\nmin_score = 0.1\nmax_score = 1\n".to_owned();
        for number in 0..12 {
            let answer = answer(number);
            text += &format!(
                "[[tests]]\nid = \"t{number}\"\ninput = 1\nreference = {answer}\nexpect.graders = [\"judge\"]\n"
            );
        }
        runner.scenario(&text);
    };
    write(&|_| "{ score = 0.9 }".to_owned());
    runner.exec(&[]).expect(0);
    // The score of the last test is beyond `max_score`.
    write(&|number| match number {
        11 => "{ score = 100 }".to_owned(),
        _ => format!("{{ score = 0.{} }}", 20 + number),
    });
    runner.exec(&[]).expect(1);
    snapshot(&runner.run(&["compare", "--fail-on", "significant"]).expect(1));
    let mean = || {
        let shown = runner.run(&["show", "--json"]).expect(0).document();
        [&shown["providers"][0], &shown["graders"][0]].map(|one| one["score"].clone())
    };
    assert_eq!(mean(), [0.25, 0.25]);
    let changed = &document(&runner, &[])["changes"][0];
    assert_eq!([&changed["base"]["score"], &changed["new"]["score"]], [&json!(0.9), &Value::Null]);
    let since = runner.run(&["show", "--json"]).expect(0).document();
    let scores = since["since_previous"]["scores"].as_array().unwrap();
    let scores = scores.iter().map(|score| (1000.0 * score.as_f64().unwrap()).round());
    assert!(scores.eq([900.0, 250.0]), "{since}");
    assert_eq!(since["since_previous"]["pass_rates"], json!([1.0, 11.0 / 12.0]));
    let page = runner.run(&["show", "latest", "t11"]).expect(0).stdout;
    assert!(!page.contains("score 100 (judge"), "{page}");
    write(&|number| match number {
        0 => "{ score = 0.5 }".to_owned(),
        _ => "{ verdict = \"skip\", score = 1 }".to_owned(),
    });
    runner.exec(&[]).expect(0);
    assert_eq!(mean(), [0.5, 0.5]);
}

#[test]
fn failing_tests_without_base_are_named() {
    let runner = two_runs(&[("falls", 1)], &[("falls", 2), ("good", 1), ("bad", 2)]);
    let ran = runner.run(&["compare"]).expect(0);
    snapshot(&ran);
    let text = runner.run(&["compare", "--markdown"]).expect(0).stdout;
    assert!(text.contains("**new, failing**\n\n* `bad@hostile`: failed"), "{text}");
    // The base has run another selection.
    runner.exec(&["--test", "good"]).expect(0);
    runner.exec(&[]).expect(1);
    let ran = runner.run(&["compare", "latest~1", "latest"]).expect(0);
    snapshot(&ran);
}

#[test]
fn file_has_the_form_of_its_extension() {
    let mut transcript = Transcript::default();
    let runner = two_runs(&[("a", 1)], &[("a", 2)]);
    let compare = |args: &[&str]| runner.run(&[&["compare"], args].concat());
    for (file, flag, args) in [
        ("a.md", "--markdown", &[][..]),
        ("a.json", "--json", &[]),
        ("a.txt", "--json", &["--json"]),
    ] {
        let ran = compare(&[&["-o", file, "--fail-on", "regressed"], args].concat());
        ran.expect(1).says(&[&format!("report: {file}")]);
        let text = fs::read_to_string(runner.path(file)).unwrap();
        assert_eq!(text, compare(&[flag]).expect(0).stdout);
    }
    transcript.add("compare -o a.html", &compare(&["-o", "a.html"]).expect(2));
    let manifest = runner.runs()[0].dir.join("benchmark.json");
    let manifest = manifest.to_str().unwrap();
    transcript.add("compare -o", &compare(&["-o", manifest]).expect(2));
    transcript.check("file_has_the_form_of_its_extension");
}

#[test]
fn same_files_give_same_bytes() {
    let runner = two_runs(&[("a", 1), ("b", 1), ("c", 2)], &[("a", 1), ("b", 2), ("c", 1)]);
    let first = runner.run(&["compare", "--json"]).expect(0).stdout;
    fs::remove_file(runner.path("results/runner.db")).unwrap();
    assert_eq!(runner.run(&["compare", "--json"]).expect(0).stdout, first);
}

#[test]
fn repeats_are_one_test_in_rates() {
    let scenario = |repeat: u8, value: u8| {
        format!(
            "[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"again\"\nrepeat = {repeat}\ninput = {{ do = \"echo\", value = 1 }}\nexpect = {{ equals = {value} }}\n"
        )
    };
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(3, 1));
    runner.exec(&[]).expect(0);
    runner.scenario(&scenario(2, 2));
    runner.exec(&[]).expect(1);
    let ran = runner.run(&["compare"]).expect(0);
    snapshot(&ran);
    let measures = &document(&runner, &[])["measures"];
    assert_eq!([&measures[0]["tests"], &measures[0]["interval"]], [&json!(1), &Value::Null]);
}

#[test]
fn unfair_comparison_starts_with_cautions() {
    let runner = Runner::new(&["hostile"]);
    let scenario = |input: &str, plugin: &str| {
        let tests = tests(&format!("a | {input} |\nb | {{ do = \"echo\", value = 1 }} |\n"));
        format!(
            "[vars]\nmodel = \"small\"\n[providers.p]\nplugin = \"hostile.wasm\"\n[providers.q]\nplugin = \"{plugin}\"\n{tests}"
        )
    };
    runner.scenario(&scenario("{ do = \"echo\", value = 1 }", "hostile.wasm"));
    runner.exec(&[]).expect(0);
    let wasm = fs::read(runner.path("hostile.wasm")).unwrap();
    // An empty custom section changes nothing but the digest.
    runner.write("other.wasm", [&wasm[..], &[0, 2, 1, b'x']].concat());
    runner.scenario(&scenario("{ do = \"echo\", value = 2 }", "other.wasm"));
    runner.exec(&["--set", "model=large", "--test", "a"]).expect(0);
    let new = runner.runs().remove(1);
    new.write("index.jsonl", new.text("index.jsonl").lines().next().unwrap().to_owned() + "\n");
    let ran = runner.run(&["compare", "latest~1", "latest"]).expect(0);
    let cautions: Vec<_> = ran.stdout.lines().filter(|line| line.starts_with("caution:")).collect();
    let damaged = "caution: new is damaged, and results may be missing: runner verify";
    assert!(cautions[0].starts_with(damaged), "{cautions:?}");
    ran.says(&[
        "ran only selected tests",
        "the variable `model` has changed: \"small\", then \"large\"",
        "the plugins of these providers have changed: q",
    ]);
    let count = ran.stdout.find("caution:").unwrap();
    assert!(count < ran.stdout.find("still passing").unwrap());
}

#[test]
fn providers_of_one_run_are_compared() {
    let runner = Runner::new(&["hostile"]);
    let tests = tests(
        "a | { do = \"echo\", value = 1 } | equals = 1\nb | { do = \"echo\", value = 1 } | equals = 2\n",
    );
    let providers = "[providers.small]\nplugin = \"hostile.wasm\"\n[providers.large]\nplugin = \"hostile.wasm\"\n";
    runner.scenario(&format!("{providers}{tests}"));
    runner.exec(&[]).expect(1);
    let ran = runner.run(&["compare", "--providers", "small", "large"]).expect(0);
    snapshot(&ran);
    let id = runner.only_run().id().to_owned();
    runner
        .run(&["compare", "--providers", "small", "larger"])
        .expect(2)
        .says(&[&format!("{id} has no provider `larger` its providers: small, large")]);
}

#[test]
fn flaky_test_with_another_rate_is_not_no_change() {
    let runner = Runner::new(&["hostile"]);
    let providers = "[providers.small]\nplugin = \"hostile.wasm\"\n[providers.large]\nplugin = \"hostile.wasm\"\n";
    let tests = tests("a | { do = \"fail-until\", error = \"unavailable\" } |\n");
    runner.scenario(&format!("{providers}{tests}"));
    runner.exec(&[]).expect(1);
    runner.exec(&["--retries", "1"]).expect(0);
    assert_eq!(
        summary(&runner, &[]),
        "no clear change: 2 flaky; no pass rate changed significantly"
    );
    let args = ["latest~1", "latest", "--providers", "small", "large"];
    let expected = "no clear difference: 1 flaky; pass rate 0 of 1 → 1 of 1, not significant";
    assert_eq!(summary(&runner, &args), expected);
}

#[test]
fn runs_that_cannot_be_compared_are_refused() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&["hostile"]);
    expect(&runner, &[("a", 1)]);
    runner.exec(&[]).expect(0);
    let first = runner.only_run().id().to_owned();
    runner.run(&["compare"]).expect(2).says(&[&format!("{first} is the first run of")]);
    runner.run(&["compare", "latest", "latest"]).expect(2).says(&[
        &format!("BASE and NEW are the same run, {first} "),
        &format!("with another run: runner compare RUN {first}"),
    ]);
    expect(&runner, &[("b", 1)]);
    runner.exec(&[]).expect(0);
    let second = runner.runs()[1].id().to_owned();
    let command = format!("its scenario: runner compare {first} {second}");
    for args in [&["latest", &second][..], &["--providers", "hostile", "hostile"]] {
        let ran = runner.run(&[&["compare"], args].concat()).expect(2);
        ran.says(&[&format!("BASE and NEW are the same run, {second} "), &command]);
    }
    transcript.run(&runner, &["compare"]).expect(5);
    transcript.run(&runner, &["compare", "-E", "test(none)"]).expect(5);
    fs::create_dir(runner.path("two")).unwrap();
    for name in ["one", "two"] {
        fs::copy(runner.path("scenario.toml"), runner.path(&format!("{name}.toml"))).unwrap();
    }
    runner.run(&["exec", "one.toml", "two.toml"]).expect(0);
    let group = runner.list()[0]["group"]["id"].as_str().unwrap().to_owned();
    let refused = format!("`{group}` is a group; name one of its runs");
    runner.run(&["compare", &group]).expect(2).says(&[&refused]);
    transcript.run(&runner, &["compare", "nothing"]).expect(2);
    let unreadable = runner.runs().remove(0);
    unreadable.write("benchmark.json", "{");
    transcript.run(&runner, &["compare", unreadable.id(), "latest"]).expect(2);
    transcript.check("runs_that_cannot_be_compared_are_refused");
}

#[test]
fn values_beyond_a_float_are_left_out() {
    let runner = Runner::hostile("");
    for value in ["1e300", "2e300"] {
        let input = format!("{{ do = \"meter\", metrics = {{ huge = {value}, tiny = 1e-30 }} }}");
        let text = "[providers.hostile]\nplugin = \"hostile.wasm\"\n";
        runner.scenario(&format!("{text}[[tests]]\nid = \"a\"\ninput = {input}\n"));
        runner.exec(&[]).expect(0);
    }
    let measures = document(&runner, &[])["measures"].take();
    let names = measures.as_array().unwrap().iter().map(|measure| &measure["name"]);
    assert_eq!(json!(names.collect::<Vec<_>>()), json!(["pass rate", "duration", "tiny"]));
    snapshot(&runner.run(&["compare"]).expect(0));
    snapshot(&runner.run(&["show"]).expect(0));
}

#[test]
fn narrow_table_keeps_providers_and_marks() {
    let tests = |value: u8| {
        let ids = (0..8).map(|id| format!("[[tests]]\nid = \"t{id}\"\ninput = {{ do = \"echo\", value = 1 }}\nexpect = {{ equals = {value} }}\n"));
        ids.collect::<String>()
    };
    let runner = Runner::new(&["hostile"]);
    let providers =
        ["p", "q"].map(|name| format!("[providers.{name}]\nplugin = \"hostile.wasm\"\n"));
    for value in [1, 2] {
        runner.scenario(&format!("{}{}", providers.concat(), tests(value)));
        runner.exec(&[]);
    }
    for columns in [70, 80, 200] {
        let script = "exec \"$runner\" compare";
        let (code, shown) = Terminal::run_script(&runner, columns, "UTC", script).end();
        assert_eq!(code, 0);
        let rates: Vec<_> = shown.lines().filter(|line| line.contains(" pass rate  ")).collect();
        let starts = rates.iter().map(|line| line.trim_start().chars().next());
        assert_eq!(starts.collect::<Vec<_>>(), [Some('p'), Some('q')], "{shown}");
        assert!(rates.iter().all(|line| line.contains("−100.0 pp *")), "{columns}: {shown}");
    }
}

#[test]
fn running_run_is_compared_with_caution() {
    let runner = Runner::endless(1, "loop", "");
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let good = "[[tests]]\nid = \"good\"\ninput = { do = \"echo\", value = 1 }\n";
    runner.scenario(&format!("{text}\n{good}"));
    runner.exec(&["--test", "good"]).expect(0);
    runner.exec(&["-j", "1", "--timeout", "1ms"]).expect(4);
    let empty = runner.run(&["compare", "latest~1", "latest"]).expect(5);
    snapshot(&empty);
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(1);
    runner
        .run(&["compare", "latest~2", "latest"])
        .expect(0)
        .says(&["caution: new is running ", "1 still passing"]);
    running.kill();
}

#[test]
fn markdown_shows_hostile_text_as_text() {
    let runner = Runner::new(&["hostile"]);
    let scenario = |value: &str| {
        let test = format!(
            "[[tests]]\nid = \"a\"\ninput = {{ do = \"echo\", value = \"{value}\" }}\nexpect = {{ equals = \"x\" }}\n"
        );
        runner.scenario(&format!("[providers.hostile]\nplugin = \"hostile.wasm\"\n{test}"));
    };
    scenario("x");
    runner.exec(&[]).expect(0);
    scenario("</td><script>| [a](b) `c` @all\\u001b[31m\\u202e");
    runner.exec(&[]).expect(1);
    let text = runner.run(&["compare", "--markdown"]).expect(0).stdout;
    assert!(text.starts_with("### worse: 1 regressed; pass rate 1 of 1 → 0 of 1"), "{text}");
    for markup in ["\n</td", "\u{1b}", "\u{202e}"] {
        assert!(!text.contains(markup), "{markup}: {text}");
    }
    // In a code span, nothing is markup.
    assert!(text.contains("got \"</td><script>| [a](b) `c`…``"), "{text}");
    assert!(text.contains("``equals: expected"), "{text}");
    assert!(text.contains("| `hostile` | `pass rate` | `1 of 1`"), "{text}");
}

#[test]
fn units_of_guests_stay_text() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\ninput = { do = \"judge\", text = \"7|\\n@all <b>\\u001b[31m\" }\n",
    );
    runner.exec(&[]).expect(1);
    runner.exec(&[]).expect(1);
    let text = runner.run(&["compare", "--markdown"]).expect(0).stdout;
    assert!(!text.contains("\n@all") && !text.contains('\u{1b}'), "{text}");
    let unit = "7\\|\\n@all <b>\\u{1b}[31m";
    // The metric has the same name.
    assert!(text.contains(&format!("| `{unit}` | `3` | `3` | `0` |")), "{text}");
    let csv = runner.run(&["report", "--csv"]).expect(0).stdout;
    assert!(!csv.contains('\u{1b}'), "{csv}");
}

#[test]
fn markdown_of_many_measures_fits_a_comment() {
    let runner = Runner::new(&["hostile"]);
    let provider =
        |at| format!("[providers.provider-with-a-long-name-{at}]\nplugin = \"hostile.wasm\"\n");
    let providers: String = (0..40).map(provider).collect();
    let metrics: Vec<_> =
        (0..20).map(|at| format!("a_metric_with_a_long_name_{at} = {at}")).collect();
    let metrics = metrics.join(", ");
    for value in [1, 2] {
        runner.scenario(&format!("{providers}[[tests]]\nid = \"a\"\ninput = {{ do = \"meter\", metrics = {{ {metrics} }} }}\n[[tests]]\nid = \"b\"\ninput = {{ do = \"echo\", value = 1 }}\nexpect = {{ equals = {value} }}\n"));
        runner.exec(&[]);
    }
    let text = runner.run(&["compare", "--markdown"]).expect(0).stdout;
    assert!(text.len() < 64 << 10, "{}", text.len());
    assert!(text.contains(" more measures\n\n**regressed**\n\n* `b@provider-"), "{text}");
    assert!(
        text.contains(", b@provider-with-a-long-name-2 and 37 more`: passed → failed"),
        "{text}"
    );
}

/// Wilson's intervals are those of statsmodels 0.15.0, `proportion_confint(9, 10, method="wilson")`: 0.5958 to 0.9821.
#[test]
fn pass_rates_need_ten_trials_or_repeats() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&["hostile"]);
    let names: Vec<_> = (0..10).map(|at| format!("t{at}")).collect();
    let wanted = |count: usize| -> Vec<_> {
        names[..count].iter().map(|name| (&**name, u8::from(name != "t0"))).collect()
    };
    expect(&runner, &wanted(9));
    runner.exec(&[]).expect(1);
    transcript.run(&runner, &["show"]).expect(0);
    let report = || runner.run(&["report"]).expect(0).stdout;
    assert!(report().contains("| `hostile` | 8 | 1 | 8 of 9 |"), "{}", report());
    runner.exec(&["--repeat", "3", "--test", "t0"]).expect(1);
    transcript.run(&runner, &["show"]).expect(0);
    expect(&runner, &wanted(10));
    runner.exec(&[]).expect(1);
    transcript.run(&runner, &["show"]).expect(0);
    let shown = runner.run(&["show", "--json"]).expect(0).document();
    let rate = &shown["providers"][0]["pass_rate"];
    assert!(report().contains("| 90.0 % (59.5–98.3) |"), "{}", report());
    assert_eq!(rate["rate"], 0.9);
    assert!((rate["interval"][0].as_f64().unwrap() - 0.5958).abs() < 1e-4, "{rate}");
    transcript.check("pass_rates_need_ten_trials_or_repeats");
}

#[test]
fn narrow_interval_contains_its_rate() {
    let runner = Runner::hostile(
        "[gate]\npass_rate = 0.5\n[[tests]]\nid = \"a\"\nrepeat = 2000\ninput = { do = \"fail-at\", repeat = 7 }\n",
    );
    let interval = "99.9 % (99.7–100.0)";
    let gate = "pass rate 99.9 % (99.7–100.0) of 2,000";
    runner.exec(&[]).expect(0).says(&[gate]);
    runner.run(&["show"]).expect(0).says(&[gate, interval]);
    runner.run(&["report"]).expect(0).says(&[interval]);
    let html = runner.run(&["report", "--html"]).expect(0).stdout;
    assert!(html.contains("99.7–100.0)"), "{html}");
}
