//! Results beside a list of known failures, in every place that counts or lists results.

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{runner::Runner, running::Running};

/// Two known failures, one in a group that another test leaves, a failure that is not known, and a pass that is.
const SCENARIO: &str = r#"
[known]
files = ["known.toml"]

[providers.echo]
plugin = "bundled:echo"

[[tests]]
id = "fine"
input = "a"
expect = { equals = "a" }

[[tests]]
id = "dates/offset"
input = "a"
expect = { equals = "b" }

[[tests]]
id = "dates/local"
input = "a"
expect = { equals = "c" }

[[tests]]
id = "fixed"
input = "a"
expect = { equals = "a" }

[[tests]]
id = "fresh"
input = "a"
expect = { equals = "d" }
"#;

const KNOWN: &str = r#"
[[failures]]
tests = ["dates/*"]
reason = "offset lost, issue 375"

[[failures]]
tests = ["fixed"]
reason = "not <yet>"
"#;

fn runner() -> Runner {
    let runner = Runner::new(&[]);
    runner.scenario(SCENARIO);
    runner.write("known.toml", KNOWN);
    runner
}

/// Returns a folder whose newest run has two known failures and nothing unexpected.
fn green() -> Runner {
    let runner = runner();
    runner.write("known.toml", KNOWN.replace("\"fixed\"", "\"fresh\""));
    runner.exec(&[]).expect(0);
    runner
}

#[test]
fn green_ends_print_the_number_of_known_failures() {
    let runner = green();
    let line = "✓ passed: 2 passed, 3 known";
    let ran = runner.exec(&[]).expect(0);
    ran.says(&[line]);
    for absent in ["failed:", "see why"] {
        assert!(!ran.stdout.contains(absent), "{}", ran.stdout);
    }
    for args in [
        &["show"][..],
        &["show", "--failed"],
        &["show", "--matrix"],
        &["wait", "latest"],
        &["resume", "latest"],
        &["rescore", "latest"],
        &["compare"],
        &["exec", "scenario.toml", "--quiet"],
        &["wait", "latest", "--quiet"],
    ] {
        runner.run(args).expect(0).says(&[line]);
    }
    for system in ["GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE"] {
        let mut command = runner.command(&["exec", "scenario.toml", "--json"]);
        let ran = Running::start(command.env(system, "true")).finish().expect(0);
        ran.says(&["3 known failures are not listed: runner show ", "-E 'known()'"]);
    }
    let junit = runner.run(&["report", "--junit"]).expect(0).stdout;
    assert!(junit.contains(r#"<property name="known failures" value="3"/>"#), "{junit}");
    runner.run(&["show", "--failed"]).says(&["3 known failures are left out"]);
    runner.run(&["list"]).expect(0).says(&["known"]);
    runner.run(&["report", "--markdown"]).expect(0).says(&["2 passed, 3 known", "known()"]);
    for form in ["html", "junit", "csv"] {
        runner.run(&["report", &format!("--{form}")]).expect(0).says(&["known"]);
    }
}

#[test]
fn unexpected_results_come_first_in_the_summary() {
    let runner = runner();
    let ran = runner.exec(&[]).expect(1);
    let first = "✗ failed: 2 unexpected (1 failed, 1 passes although known), 1 passed, 2 known";
    ran.says(&[first, "passes although known: not <yet>", "2 known failures are left out"]);
    assert!(!ran.stdout.contains("dates/"), "{}", ran.stdout);
    runner.run(&["show"]).expect(0).says(&[first]);
    // Beside a run in which the test passed.
    runner.scenario(&SCENARIO.replace("\"d\"", "\"a\""));
    runner
        .exec(&[])
        .expect(1)
        .says(&["✗ failed: 1 unexpected (1 passes although known), 2 passed"]);
    runner.scenario(SCENARIO);
    let second =
        "✗ failed: 2 unexpected (1 newly failing, 1 passes although known), 1 passed, 2 known";
    runner.exec(&[]).expect(1).says(&[second]);
    runner.run(&["show"]).expect(0).says(&[second]);
    runner.write("known.toml", KNOWN.replace("\"fixed\"", "\"fresh\""));
    let verdict = "0 trials judged: no outcome has changed, and the verdict has: failed → passed";
    runner.run(&["rescore"]).expect(0).says(&[verdict]);
    runner.write("known.toml", KNOWN);
    let ran = runner.exec(&["--test", "fixed"]).expect(1);
    ran.says(&["✗ failed: 1 unexpected (1 passes although known) in "]);
}

#[test]
fn failures_are_the_unexpected_results() {
    let runner = runner();
    runner.exec(&[]).expect(1);
    for flag in ["--failed", "--unexpected"] {
        let shown = runner.run(&["show", flag]).expect(0);
        snapshot(&shown);
        assert!(!shown.stdout.contains("dates/"), "{}", shown.stdout);
        assert!(!shown.stdout.contains("not apply"), "{}", shown.stdout);
    }
    let both = runner.run(&["show", "--failed", "-E", "test(fresh)"]).expect(0);
    assert!(
        !both.stdout.contains("fixed@") && !both.stdout.contains("left out"),
        "{}",
        both.stdout
    );
    let known = runner.run(&["show", "-E", "known()"]).expect(0);
    snapshot(&known);
    assert!(!known.stdout.contains("fresh@"), "{}", known.stdout);
    let page = runner.run(&["show", "latest", "dates/offset"]).expect(0);
    snapshot(&page);

    // Only unexpected results run again.
    let again = runner.run(&["resume", "latest", "--rerun", "failed"]).expect(1);
    again.says(&["2 trials of 5", "`--rerun failed` leaves out 2 known failures"]);
    let last = runner.exec(&["--last-failed"]).expect(1);
    last.says(&["2 trials on", "`--last-failed` leaves out 2 known failures"]);
    runner.exec(&["--failed-in", "latest"]).expect(1).says(&["2 trials on"]);

    let runner = green();
    let nothing = runner.run(&["resume", "latest", "--rerun", "failed"]).expect(5);
    snapshot(&nothing);
    snapshot(&runner.exec(&["--last-failed"]).expect(5));
}

#[test]
fn documents_have_states_and_reasons() {
    let runner = runner();
    runner.exec(&[]).expect(1);
    let run: Value = runner.run(&["show", "--json"]).expect(0).document();
    let counts = &run["run"]["counts"];
    assert_eq!([&counts["failed"], &counts["known"], &counts["unexpected_passes"]], [3, 2, 1]);
    let mut known = run["known"].as_array().unwrap().clone();
    known.sort_by_key(|one| one["trial"].to_string());
    let lost = "offset lost, issue 375";
    assert_eq!(
        known,
        [
            json!({"trial": "dates/local@echo#1", "state": "known", "reason": lost, "place": "known.toml:2"}),
            json!({"trial": "dates/offset@echo#1", "state": "known", "reason": lost, "place": "known.toml:2"}),
            json!({"trial": "fixed@echo#1", "state": "unexpected-pass", "reason": "not <yet>", "place": "known.toml:6"}),
        ]
    );
    let trial: Value = runner.run(&["show", "latest", "fixed", "--json"]).expect(0).document();
    let entry = json!({"state": "unexpected-pass", "reason": "not <yet>", "place": "known.toml:6"});
    assert_eq!(trial["known"], entry);
    let trial: Value = runner.run(&["show", "latest", "fresh", "--json"]).expect(0).document();
    assert_eq!(trial.get("known"), None);
}

#[test]
fn values_of_meta_count_known_failures() {
    let runner = runner();
    let second = "[providers.second]\nplugin = \"bundled:echo\"\n\n[[tests]]";
    let with_meta = SCENARIO.replace("expect =", "meta = { topic = \"all\" }\nexpect =");
    runner.scenario(&with_meta.replacen("[[tests]]", second, 1));
    runner.exec(&[]).expect(1);
    let run: Value = runner.run(&["show", "--json"]).expect(0).document();
    let value = &run["meta"][0]["values"][0];
    let counts = |of: &Value| ["failed", "known", "unexpected_passes"].map(|key| of[key].clone());
    assert_eq!([value, &value["providers"][0]].map(counts), [[6, 4, 2], [3, 2, 1]]);
}

/// Returns a folder whose two runs have two known failures and another failure, each on two providers.
fn twice() -> Runner {
    let runner = runner();
    let second = "[providers.second]\nplugin = \"bundled:echo\"\n\n[[tests]]";
    runner.scenario(&SCENARIO.replacen("[[tests]]", second, 1));
    runner.exec(&[]).expect(1);
    let since = "): 2 still failing, 2 passing although known, 4 known results: ";
    runner.exec(&[]).expect(1).says(&[since]);
    runner
}

#[test]
fn comparisons_keep_known_failures_apart() {
    let runner = twice();
    let run: Value = runner.run(&["show", "--json"]).expect(0).document();
    let counts = &run["since_previous"]["counts"];
    assert_eq!(["still_failing", "unexpected_pass", "known"].map(|key| &counts[key]), [2, 2, 4]);
    let compared = runner.run(&["compare"]).expect(0);
    snapshot(&compared);
    let document: Value = runner.run(&["compare", "--json"]).expect(0).document();
    let changes = document["changes"].as_array().unwrap();
    let known: Vec<_> = changes.iter().filter(|one| one["class"] == "known").collect();
    assert_eq!(known.len(), 4);
    assert_eq!(
        known[0]["new"],
        json!({"outcome": "failed", "known": "known", "passed": 0, "trials": 1})
    );
    // An entry expects the failure of a test that passed before.
    runner.scenario(&SCENARIO.replace("\"b\"", "\"a\""));
    runner.exec(&[]).expect(1);
    runner.scenario(SCENARIO);
    runner.exec(&[]).expect(1);
    snapshot(&runner.run(&["compare", "--fail-on", "regressed"]).expect(0));
}

#[test]
fn entry_of_one_provider_makes_the_other_no_worse() {
    let runner = Runner::new(&[]);
    runner.write(
        "known.toml",
        "[[failures]]\ntests = [\"a\"]\nproviders = [\"one\"]\nreason = \"old\"\n",
    );
    runner.scenario(
        "[known]\nfiles = [\"known.toml\"]\n[providers.one]\nplugin = \"bundled:echo\"\n\
         [providers.two]\nplugin = \"bundled:echo\"\n\
         [[tests]]\nid = \"a\"\ninput = 1\nexpect.equals = 2\n",
    );
    runner.exec(&[]).expect(1);
    let compared = ["compare", "latest", "latest", "--providers", "one", "two"];
    let regressed = ["--fail-on", "regressed", "--json"];
    let document: Value = runner.run(&[&compared[..], &regressed].concat()).expect(0).document();
    assert_eq!(document["changes"][0]["class"], "still-failing", "{document}");
}

#[test]
fn histories_keep_known_failures_apart() {
    let runner = twice();
    let history = runner.run(&["history"]).expect(0);
    snapshot(&history);
    let document: Value = runner.run(&["history", "--json"]).expect(0).document();
    assert_eq!([&document["runs"][0]["failed"], &document["runs"][0]["known"]], [6, 4]);
    let tests = document["tests"].as_array().unwrap();
    let failing = tests.iter().filter(|one| one["failing_runs"] == 2);
    let mut failing: Vec<_> = failing.map(|one| one["test"].as_str().unwrap()).collect();
    failing.sort_unstable();
    assert_eq!(failing, ["fixed", "fixed", "fresh", "fresh"], "{document}");
    let passing =
        tests.iter().filter(|one| one["marks"] == json!(["unexpected_pass", "unexpected_pass"]));
    assert_eq!(passing.count(), 2);
    let known = tests.iter().filter(|one| one["marks"] == json!(["known", "known"]));
    assert_eq!(known.count(), 4);
    let trial = &["show", "latest", "dates/offset@echo#1"][..];
    snapshot(&runner.run(trial).expect(0));
    let document: Value = runner.run(&[trial, &["--json"]].concat()).expect(0).document();
    assert_eq!(document["history"][0]["known"], "known");
    let lost = "offset lost, issue 375";
    let other = json!({"trial": "dates/offset@second#1", "state": "known", "reason": lost, "place": "known.toml:2"});
    assert_eq!(document["others_known"], json!([other]));
}

#[test]
fn reports_name_known_failures() {
    let runner = runner();
    runner.exec(&[]).expect(1);
    let xml = runner.run(&["report", "--junit"]).expect(0).stdout;
    for text in [
        r#"<testsuites name="scenario" tests="5" failures="2" errors="0""#,
        r#"<testsuite name="echo" tests="5" skipped="2" errors="0" failures="2""#,
        r#"<skipped message="failed; known: offset lost, issue 375"/>"#,
        r#"<failure message="passes although known: not &lt;yet&gt;" type="unexpected-pass"></failure>"#,
    ] {
        assert!(xml.contains(text), "{text}:\n{xml}");
    }
    let csv = runner.run(&["report", "--csv"]).expect(0).stdout;
    assert!(csv.starts_with("trial,test,provider,repeat,outcome,flaky,attempt,started_at,duration_ms,score,reason,known,"));
    let rows = csv.lines().skip(1).map(|line| (&line[..line.find('@').unwrap()], line));
    for (test, line) in rows {
        let state = match test {
            "fixed" => ",unexpected-pass,",
            "dates/offset" | "dates/local" => ",known,",
            _ => ",,",
        };
        assert!(line.contains(state), "{line}");
    }
    let markdown = runner.run(&["report", "--markdown"]).expect(0).stdout;
    for text in [
        "5 trials: 1 passed, 2 unexpected, 2 known.",
        "passed, 1 trial: <code>passes although known: not &lt;yet&gt;</code>",
        "2 known failures are not listed: `runner show",
        " known |",
    ] {
        assert!(markdown.contains(text), "{text}:\n{markdown}");
    }
    assert!(!markdown.contains("dates/"), "{markdown}");
    let html = runner.run(&["report", "--html"]).expect(0).stdout;
    for text in ["1 passed, 2 unexpected, 2 known", "<b>2</b> known", "passes although known"] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn trial_names_its_entry_and_those_that_do_not_apply() {
    let runner = runner();
    let expired = "\n[[failures]]\ntests = [\"fresh\"]\nreason = \"a draft\"\nuntil = 2020-02-29\n";
    runner.write("known.toml", KNOWN.to_owned() + expired);
    runner.exec(&[]).expect(1);
    let show = |test: &str| runner.run(&["show", "latest", test]).expect(0);
    snapshot(&show("dates/local"));
    show("fresh").says(&["expired 2020-02-29: a draft (known.toml:10)"]);
    let trial: Value = runner.run(&["show", "latest", "fresh", "--json"]).expect(0).document();
    let entry = json!({
        "why": "expired", "tests": ["fresh"], "place": "known.toml:10", "reason": "a draft",
        "until": "2020-02-29",
    });
    assert_eq!([trial.get("known"), trial.get("stale")], [None, Some(&json!([entry]))]);
}

#[test]
fn trial_has_the_results_of_its_repeats() {
    let runner = runner();
    runner.scenario(&SCENARIO.replace("id = \"fixed\"", "id = \"fixed\"\nrepeat = 2"));
    runner.exec(&[]).expect(1);
    let document = |trial: &str| -> Value {
        runner.run(&["show", "latest", trial, "--json"]).expect(0).document()
    };
    let result = |repeat: u8| {
        json!({
            "trial": format!("fixed@echo#{repeat}"), "repeat": repeat, "outcome": "passed",
            "flaky": false, "known": "unexpected-pass",
        })
    };
    for trial in ["fixed@echo#1", "fixed@echo#2"] {
        assert_eq!(document(trial)["repeats"], json!([result(1), result(2)]));
    }
    assert_eq!(document("fresh@echo#1").get("repeats"), None);
}

#[test]
fn failures_name_the_number_of_stale_entries() {
    let runner = runner();
    let stale = "[[failures]]\ntests = [\"fine\"]\nreason = \"r\"\nuntil = 2020-02-29\n\
        [[failures]]\ntests = [\"gone\"]\nreason = \"r\"\n";
    runner.write("known.toml", format!("{KNOWN}\n{stale}"));
    runner.exec(&[]).expect(1);
    let words = "2 entries do not apply: 1 expired, 1 unmatched; `runner known` lists them";
    runner.run(&["show", "--failed"]).expect(0).says(&[words]);
}

#[test]
fn run_without_a_list_says_nothing_of_known_failures() {
    let runner = Runner::new(&[]);
    runner.scenario(&SCENARIO.replace("[known]\nfiles = [\"known.toml\"]\n", ""));
    let ran = runner.exec(&[]).expect(1);
    ran.says(&["✗ failed: 3 of 5 (2 passed, 3 failed)"]);
    let mut texts = vec![ran.stdout, runner.only_run().text("benchmark.json")];
    for args in [
        &["show", "--failed"][..],
        &["show"],
        &["list"],
        &["report", "--csv"],
        &["report", "--junit"],
        &["report", "--markdown"],
        &["show", "--json"],
    ] {
        texts.push(runner.run(args).expect(0).stdout);
    }
    for text in texts {
        for word in ["known", "unexpected"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
}
