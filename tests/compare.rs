//! `runner compare`: what has changed between two runs, how certain that is, and what is not fair about it.

use serde_json::Value;

use crate::support::runner::{Ran, Runner, tests};

/// What a browser, a terminal or a code host would do something with.
const HOSTILE: &str =
    "</td></script><script>alert(1)</script><img src=x onerror=alert(2)>`|\u{1b}[31m@everyone";

const PROVIDERS: &str = "[providers.hostile]\nplugin = \"hostile.wasm\"\n";

/// A folder in which each of these scenarios has run, into `results/base` and `results/new`.
fn two(base: &str, new: &str) -> Runner {
    let runner = Runner::new(&["hostile"]);
    for (name, scenario) in [("base", base), ("new", new)] {
        runner.scenario(&format!("{scenario}\n{PROVIDERS}"));
        let into = format!("results/{name}");
        let ran = runner.exec(&["--into", &into, "-j", "1"]);
        assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    }
    runner
}

fn compare(runner: &Runner, args: &[&str]) -> Ran {
    runner.run(&[&["compare"], args].concat())
}

/// The document, which its schema describes.
fn document(runner: &Runner, args: &[&str]) -> Value {
    let ran = compare(runner, &[args, &["--json"]].concat()).expect(0);
    let document = ran.document();
    runner.assert_valid("compare", std::slice::from_ref(&document));
    document
}

/// Lines `test class` of the cases that are told.
fn classes(document: &Value) -> Vec<String> {
    let cases = document["cases"].as_array().unwrap().iter();
    cases
        .map(|case| {
            let word = |key: &str| case[key].as_str().unwrap().to_owned();
            format!("{} {}", word("test"), word("class"))
        })
        .collect()
}

fn kinds(document: &Value) -> Vec<&str> {
    let warnings = document["warnings"].as_array().unwrap().iter();
    warnings
        .map(|warning| warning["kind"].as_str().unwrap())
        .collect()
}

fn measure<'a>(document: &'a Value, name: &str) -> &'a Value {
    let measures = document["providers"][0]["measures"].as_array().unwrap();
    let found = measures.iter().find(|measure| measure["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {document:#}"))
}

fn of_each_class() -> Runner {
    two(
        &tests(
            r#"
            passes | { do = "echo", value = 1 } | equals = 1
            breaks | { do = "echo", value = 1 } | equals = 1
            mends | { do = "error", kind = "internal", code = "E1", message = "it broke" } |
            fails | { do = "echo", value = 1 } | equals = 2
            skips | { do = "verdict", verdict = "skip" } |
            goes | { do = "echo", value = 1 } | equals = 1
            "#,
        ),
        &tests(
            r#"
            comes | { do = "echo", value = 1 } | equals = 1
            passes | { do = "echo", value = 1 } | equals = 1
            breaks | { do = "echo", value = 2 } | equals = 1
            mends | { do = "echo", value = 1 } | equals = 1
            fails | { do = "echo", value = 1 } | equals = 2
            skips | { do = "echo", value = 1 } |
            "#,
        ),
    )
}

#[test]
fn each_test_has_its_class_and_what_is_unfair_is_said() {
    let runner = of_each_class();
    let document = document(&runner, &["base", "new"]);
    assert_eq!(
        classes(&document),
        [
            "comes new",
            "breaks regressed",
            "mends fixed",
            "fails still-failing",
            "skips not-judged",
            "goes gone"
        ]
    );
    assert_eq!(document["counts"]["still_passing"], 1);
    assert_eq!(
        kinds(&document),
        ["other-tests", "other-input", "other-expectation"]
    );
    let broken = &document["cases"][1];
    assert_eq!(broken["why"], "equals: the output is not what was expected");
    assert_eq!(broken["base"]["outcome"], "passed");
    let parts = document["differences"].as_array().unwrap();
    let parts: Vec<_> = parts
        .iter()
        .map(|part| part["what"].as_str().unwrap())
        .collect();
    assert_eq!(parts, ["text of the scenario", "tests"]);

    let text = compare(&runner, &["base", "new"]).expect(0);
    // Durations, and how wide their column is, are of the moment; digests are of the guest, too.
    let moment =
        regex::Regex::new(r"(?m)^(hostile  |pass rate|duration|text of|tests  ).*\n?").unwrap();
    let text = moment.replace_all(&text.stdout, "").into_owned();
    insta::assert_snapshot!(text, @"
          run   scenario  provider  status             passed
    base  base  scenario  all       completed, failed     3/6
    new   new   scenario  all       completed, failed     4/6

    not quite fair: the tests are not the same: 1 on the new side alone, 1 on the base side alone
    not quite fair: 3 tests have another input, other tags or files
    not quite fair: 1 test has another expectation

    1 regressed, 1 fixed, 1 still failing, 1 not judged on both sides, 1 new, 1 gone, 1 still passing


    regressed
    breaks@hostile  passed → failed  equals: the output is not what was expected

    fixed
    mends@hostile  error → passed

    still failing
    fails@hostile  failed → failed  equals: the output is not what was expected

    not judged on both sides
    skips@hostile             skipped → passed

    new
    comes@hostile  passed

    gone
    goes@hostile  passed

    different             base          new
    ");
}

#[test]
fn the_same_rows_give_the_same_document_also_elsewhere() {
    let runner = of_each_class();
    let all = |base: &str, new: &str| {
        ["--json", "--markdown", "--html"]
            .map(|form| compare(&runner, &[base, new, form]).expect(0).stdout)
    };
    let first = all("base", "new");
    assert!(first == all("base", "new"), "the second time is another");
    fs_err::rename(runner.path("results"), runner.path("moved")).unwrap();
    assert!(
        first == all("moved/base", "moved/new"),
        "elsewhere it is another"
    );
}

#[test]
fn it_fails_if_it_is_asked_to_and_only_then() {
    let runner = of_each_class();
    compare(&runner, &["base", "new"]).expect(0);
    compare(&runner, &["base", "new", "--fail-on", "regression"]).expect(1);
    compare(&runner, &["base", "new", "--fail-on", "significant"]).expect(0);
    compare(
        &runner,
        &["base", "new", "--fail-on", "significant,regression"],
    )
    .expect(1);
    compare(&runner, &["base", "new", "--fail-on", "anything"]).expect(2);
    // One of six tests regresses the other way round as well, and it is the one that is fixed here.
    let back = document(&runner, &["new", "base"]);
    assert!(classes(&back).contains(&"mends regressed".to_owned()));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let runner = of_each_class();
    let says = |args: &[&str], text: &str| {
        compare(&runner, args).expect(2).says(&[text]);
    };
    says(&["base", "base"], "a run is not compared with itself");
    says(&["base", "missing"], "missing");
    says(&[], "<BASE>");
    says(
        &["base", "--provider", "hostile", "other"],
        "the run base has no provider `other`",
    );
    says(
        &["base", "--provider", "hostile", "hostile"],
        "a provider is not compared with itself",
    );
    says(&["base", "new", "--html", "--json"], "cannot be used with");
    says(
        &["base", "new", "-o", "x.csv"],
        "the name of `x.csv` does not tell the form",
    );
    compare(&runner, &["base", "new", "-o", "missing/x.md"])
        .expect(7)
        .says(&["cannot write the report to `missing/x.md`"]);
}

#[test]
fn a_file_has_what_would_be_printed() {
    let runner = of_each_class();
    for (name, form) in [
        ("x.json", "--json"),
        ("x.md", "--markdown"),
        ("x.html", "--html"),
    ] {
        let ran = compare(&runner, &["base", "new", "-o", name]).expect(0);
        assert_eq!(ran.stdout, "");
        let written = fs_err::read_to_string(runner.path(name)).unwrap();
        let printed = compare(&runner, &["base", "new", form]).expect(0).stdout;
        match form {
            "--json" => assert_eq!(
                serde_json::from_str::<Value>(&written).unwrap(),
                serde_json::from_str::<Value>(&printed).unwrap()
            ),
            _ => assert!(written == printed, "{form} is another in a file"),
        }
    }
}

#[test]
fn two_providers_of_one_run_are_compared_test_by_test() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.one]
        plugin = "hostile.wasm"
        [providers.two]
        plugin = "hostile.wasm"
        limits = { memory = "32 MiB" }
        [[tests]]
        id = "both"
        input = { do = "echo", value = 1 }
        [[tests]]
        id = "large"
        input = { do = "flood-stderr", count = 1 }
        [[tests]]
        id = "alone"
        input = { do = "echo", value = 1 }
        providers = ["two"]
        "#,
    );
    runner.exec(&["--into", "results/run"]).expect(0);
    let document = document(&runner, &["run", "--provider", "one", "two"]);
    assert_eq!(classes(&document), ["alone new"]);
    assert_eq!(document["counts"]["still_passing"], 2);
    let provider = &document["providers"][0];
    assert_eq!(
        (&provider["provider"], &provider["base_provider"]),
        (&"two".into(), &"one".into())
    );
    let parts = document["differences"].as_array().unwrap();
    let limit = parts
        .iter()
        .find(|part| part["what"] == "limit of `two`: memory");
    assert!(limit.is_some(), "{parts:#?}");
    // Without the flag a run has nothing to be compared with but itself.
    compare(&runner, &["run"]).expect(2);
}

#[test]
fn a_partial_run_is_said_to_be_one_and_lacks_no_test() {
    let base = tests("a | { do = \"echo\", value = 1 } |\nb | { do = \"echo\", value = 1 } |");
    let runner = Runner::hostile(&base);
    runner.exec(&["--into", "results/base"]).expect(0);
    runner.scenario(&format!(
        "{}\n{PROVIDERS}",
        tests("a | { do = \"echo\", value = 1 } |\nb | { do = \"loop\" } |")
    ));
    let mut running = runner.start(&["--into", "results/new", "-j", "1"]);
    running.wait_for(|event| event["event"] == "row" || event["counts"]["passed"] == 1);
    running.wait_until_running(1);
    let now = document(&runner, &["base", "new"]);
    assert_eq!(kinds(&now)[0], "running", "{now:#}");
    running.end_by(rustix::process::Signal::INT);

    let partial = document(&runner, &["base", "new"]);
    assert_eq!(kinds(&partial), ["partial", "other-input"]);
    assert_eq!(classes(&partial), ["b not-judged"]);
    let text = partial["warnings"][0]["text"].as_str().unwrap();
    assert_eq!(text, "new is partial (incomplete): 1 of 2 trials settled");
}

#[test]
fn durations_of_other_machines_are_not_compared_as_if_they_were_the_same() {
    let same = tests("a | { do = \"echo\", value = 1 } |\nb | { do = \"echo\", value = 1 } |");
    let runner = two(&same, &same);
    assert_eq!(kinds(&document(&runner, &["base", "new"])).len(), 0);

    let path = runner.path("results/base/benchmark.json");
    let mut manifest: Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    let machine = &mut manifest["sessions"][0]["machine"];
    assert!(machine["cores"].as_u64().is_some_and(|cores| cores > 0));
    machine["host"] = "elsewhere".into();
    fs_err::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let other = document(&runner, &["base", "new"]);
    assert_eq!(kinds(&other), ["other-machine"]);
    assert_eq!(other["differences"][0]["what"], "machine");
    let text = other["warnings"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("the machines are elsewhere ("), "{text}");
    assert!(text.ends_with("durations are not comparable"), "{text}");
}

#[test]
fn changes_of_what_is_measured_have_their_intervals() {
    let scenario = |extra: f64| {
        let line = |test: u32| {
            let score = f64::from(test % 5) / 10.0;
            let tokens = f64::from(100 + test * 3) + extra * f64::from(1 + test % 3);
            format!(
                "t{test} | {{ do = \"measure\", score = {score:.1}, tokens = {tokens:.1} }} |\n"
            )
        };
        tests(&(0..20).map(line).collect::<String>())
    };
    let runner = two(&scenario(0.0), &scenario(10.0));
    let document = document(&runner, &["base", "new"]);
    let tokens = measure(&document, "tokens");
    assert_eq!(
        (&tokens["unit"], &tokens["tests"]),
        (&"1".into(), &20.into())
    );
    // 7 tests have 10 more, 7 have 20 and 6 have 30.
    assert_eq!(
        (&tokens["base"], &tokens["change"]),
        (&128.5.into(), &19.5.into())
    );
    let bound = |place: usize| tokens["interval"][place].as_f64().unwrap();
    assert!((15.0..17.0).contains(&bound(0)), "{tokens}");
    assert!((22.0..24.0).contains(&bound(1)), "{tokens}");
    assert_eq!(tokens["significant"], true);
    let score = measure(&document, "score");
    assert_eq!(
        (&score["change"], &score["significant"]),
        (&0.0.into(), &false.into())
    );
    let passes = measure(&document, "pass rate");
    assert_eq!(
        (&passes["test"], &passes["p"]),
        (&"mcnemar".into(), &1.0.into())
    );
    // Nobody has said that more tokens are worse.
    let gate = ["base", "new", "--fail-on", "significant,regression"];
    let duration = measure(&document, "duration");
    let is_slower = duration["change"].as_f64().unwrap() > 0.0;
    let is_worse = is_slower && duration["significant"] == true;
    compare(&runner, &gate).expect(i32::from(is_worse));
}

#[test]
fn significantly_fewer_passes_fail_and_corrected_ones_do_not() {
    let scenario = |failing: u32| {
        let line = |test: u32| {
            let expected = u32::from(test >= failing);
            format!("t{test} | {{ do = \"echo\", value = 1 }} | equals = {expected}\n")
        };
        tests(&(0..30).map(line).collect::<String>())
    };
    let runner = two(&scenario(0), &scenario(12));
    let worse = document(&runner, &["base", "new"]);
    let passes = measure(&worse, "pass rate");
    // 2 / 2^12.
    let p = passes["p"].as_f64().unwrap();
    assert!((p - 0.000_488_281_25).abs() < 1e-12, "{p}");
    assert_eq!(passes["significant"], true);
    compare(&runner, &["base", "new", "--fail-on", "significant"]).expect(1);
}

#[test]
fn repeats_are_one_test_and_means_are_compared_where_there_are_not_as_many() {
    // The third repeat of `once` fails.
    let scenario = tests(
        r#"
        once | { do = "fail-at", repeat = 3 } |
        always | { do = "echo", value = 1 } |
        "#,
    );
    let runner = Runner::hostile(&scenario);
    runner
        .exec(&["--into", "results/base", "--repeat", "2"])
        .expect(0);
    runner
        .exec(&["--into", "results/new", "--repeat", "4"])
        .expect(1);
    let document = document(&runner, &["base", "new"]);
    assert_eq!(classes(&document), ["once regressed"]);
    assert!(kinds(&document).contains(&"other-repeats"), "{document:#}");
    let case = &document["cases"][0]["new"];
    assert_eq!((&case["trials"], &case["passed"]), (&4.into(), &3.into()));
    let passes = measure(&document, "pass rate");
    assert_eq!(
        (&passes["tests"], &passes["new"]),
        (&2.into(), &0.875.into())
    );
    assert_eq!(passes["p"], 1.0);
}

#[test]
fn what_a_guest_says_is_data_in_every_form() {
    // TOML's basic strings have JSON's escapes, and the table of tests has bars between its cells.
    let text = serde_json::to_string(HOSTILE).unwrap();
    let text = text.replace('|', "\\u007c");
    let runner = two(
        &tests("breaks | { do = \"echo\", value = 1 } |"),
        &tests(&format!(
            "breaks | {{ do = \"error\", kind = \"internal\", code = \"E1\", message = {text} }} |"
        )),
    );
    let form = |form: &[&str]| {
        compare(&runner, &[&["base", "new"], form].concat())
            .expect(0)
            .stdout
    };
    let page = form(&["--html"]);
    assert_eq!(page.matches("<script").count(), 1, "the page's own alone");
    assert!(page.contains("&lt;img src=x"), "{page}");
    let markdown = form(&["--markdown"]);
    assert!(
        !markdown.contains(['\u{1b}', '@']) || markdown.contains("breaks&#64;hostile"),
        "{markdown}"
    );
    assert!(
        !markdown.contains("<img") && !markdown.contains("<script"),
        "{markdown}"
    );
    assert!(markdown.contains("\\|"), "{markdown}");
    assert!(!form(&[]).contains('\u{1b}'));
}

#[test]
fn a_filter_means_tests_by_their_trials_of_either_run() {
    let runner = of_each_class();
    let with = |filter: &str| {
        let document = document(&runner, &["base", "new", "-E", filter]);
        assert_eq!(document["filter"], filter);
        classes(&document)
    };
    assert_eq!(
        with("outcome(failed, error)"),
        ["breaks regressed", "mends fixed", "fails still-failing"]
    );
    assert_eq!(with("test(?o*es)"), ["comes new", "goes gone"]);
    assert_eq!(with("in(base, error(internal))"), ["mends fixed"]);
    // What is not meant counts for nothing.
    let document = document(&runner, &["base", "new", "-E", "test(breaks)"]);
    assert_eq!(document["counts"]["still_passing"], 0);
    assert_eq!(measure(&document, "pass rate")["tests"], 1);
    let gate = ["base", "new", "--fail-on", "regression", "-E"];
    compare(&runner, &[&gate[..], &["test(breaks)"]].concat()).expect(1);
    compare(&runner, &[&gate[..], &["!test(breaks)"]].concat()).expect(0);
    for form in ["--markdown", "--html"] {
        let args = ["base", "new", form, "-E", "test(breaks)"];
        let text = compare(&runner, &args).expect(0).stdout;
        assert!(text.contains("Only tests of which"), "{text}");
    }
    let ran = compare(&runner, &["base", "new", "-E", "test(none)"]).expect(5);
    ran.says(&["no trial of either run is meant by `test(none)`"]);
    compare(&runner, &["base", "new", "-E", "test("]).expect(2);
}
