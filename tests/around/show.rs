//! `show`, `list` and `logs`: what they print of runs and trials.

use std::{fs, process::Command};

use jiff::{Timestamp, ToSpan as _, tz};
use rustix::process::Signal;
use serde_json::json;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    runner::{Runner, tests},
    running::{Running, finished},
    wait::wait_until,
};

#[test]
fn show_sums_scores_metrics_and_meta() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.a]
        plugin = "hostile.wasm"
        [providers.b]
        plugin = "hostile.wasm"
        [[tests]]
        id = "one"
        input = { do = "measure", score = 0.5, tokens = 1200 }
        meta = { topic = "dates", level = 10 }
        [[tests]]
        id = "two"
        input = { do = "measure", score = 1, tokens = 34 }
        expect = { equals = 1 }
        meta = { topic = "money", level = 9 }
        "#,
    );
    runner.exec(&[]).expect(1);
    let shown = runner.show(&runner.only_run());
    let table = &shown["providers"][1];
    assert_eq!((&table["provider"], &table["score"]), (&json!("b"), &json!(0.75)));
    assert_eq!(table["metrics"], json!([{"name": "tokens", "value": 1234.0, "unit": "1"}]));
    let keys: Vec<_> = shown["meta"].as_array().unwrap().iter().map(|one| &one["key"]).collect();
    assert_eq!(keys, ["level", "topic"]);
    assert_eq!(shown["meta"][0]["values"][0]["value"], 9);
    let dates = &shown["meta"][1]["values"][0];
    assert_eq!([&dates["value"], &dates["passed"]], [&json!("dates"), &json!(2)]);
    let ran = runner.run(&["show"]).expect(0);
    snapshot(&ran);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("dimensions = [\"level\"]\n{text}"));
    runner.exec(&[]).expect(1);
    let run = runner.runs().pop().unwrap();
    assert_eq!(runner.show(&run)["meta"].as_array().unwrap().len(), 1);
}

#[test]
fn sessions_end_with_a_table_of_providers() {
    let runner = Runner::new(&["hostile"]);
    let test = |id: &str, value: u32| {
        format!(
            "[[tests]]\nid = \"{id}\"\nrepeat = 4\ninput = {{ do = \"measure\", score = {value}, tokens = 700 }}\nexpect = {{ min_score = 1 }}\n"
        )
    };
    let tests =
        format!("{}{}{}providers = [\"a\"]\n", test("good", 1), test("bad", 0), test("one", 1),);
    let providers =
        "[providers.b]\nplugin = \"hostile.wasm\"\n[providers.a]\nplugin = \"hostile.wasm\"\n";
    let gate = "[gate]\npass_rate = 0.9\nmax_errors = 0\n";
    runner.scenario(&format!("{gate}{providers}{tests}"));
    let ran = runner.exec(&[]).expect(1);
    let titles = "provider pass rate score tokens p50";
    let [b, a] = ["b 4 of 8 0.5 5,600 ", "a 66.7 % (39.0–86.2) 0.67 8,400 "];
    // The order is that of the file.
    ran.says(&[&format!("{titles} {b}"), a]);
    let gate = "gate failed:\n  ✗ pass rate 60 % (38.6–78.2) of 20, at least 90 %\n  ✓ 0 errors, at most 0\n";
    assert!(ran.stdout.contains(gate), "{}", ran.stdout);
    let quiet = runner.exec(&["--quiet"]).expect(1);
    assert!(!quiet.stdout.contains(titles), "{}", quiet.stdout);
    for command in [&["wait"][..], &["resume", "--rerun", "all"], &["rescore"]] {
        runner.run(command).expect(1).says(&[titles, a, b]);
    }
    let shown = runner.run(&["show"]).expect(0);
    shown.says(&[&format!("a 8 4 {}", &a[2..]), &format!("b 4 4 {}", &b[2..])]);
    let gate = "gate      failed:\n          ✗ pass rate 60 % (38.6–78.2) of 20, at least 90 %\n          ✓ 0 errors, at most 0\n";
    assert!(shown.stdout.contains(gate), "{}", shown.stdout);
    let markdown = runner.run(&["report"]).expect(0).stdout;
    for part in [
        "\nGate `failed:`\n- `✗ pass rate 60 % (38.6–78.2) of 20, at least 90 %`\n- `✓ 0 errors",
        "| provider | passed | failed | pass rate | score | tokens | p50 |",
        "| `a` | 8 | 4 | 66.7 % (39.0–86.2) | 0.67 | 8,400 | ",
    ] {
        assert!(markdown.contains(part), "{part} is not in {markdown}");
    }
    let html = runner.run(&["report", "--html"]).expect(0).stdout;
    assert!(html.contains(r#"<td class="n">8,400</td>"#), "{html}");
}

#[test]
fn wrong_answers_are_grouped_by_answer_and_by_kind() {
    let runner = Runner::new(&["hostile"]);
    let echo = |id: &str, answer: &str, expect: &str| {
        format!("{id} | {{ do = \"echo\", value = {answer} }} | {expect}\n")
    };
    let unknown = "\"I do not know\"";
    let mut list = String::new();
    for number in 0..9 {
        list += &echo(&format!("same-{number}"), unknown, &format!("equals = \"city {number}\""));
        list += &echo(&format!("lacks-{number}"), "\"no\"", &format!("contains = \"{number}\""));
        list += &echo(&format!("other-{number}"), &format!("{number}"), "equals = \"a city\"");
        list += &format!(
            "error-{number} | {{ do = \"error\", kind = \"internal\", message = \"case {number} of \\\"x{number}\\\" is not {{{number}}}\" }}\n"
        );
    }
    // Few failures of one kind are listed each with its values.
    for number in 0..3 {
        list += &echo(&format!("few-{number}"), &format!("\"{number}\""), "json = [1]");
    }
    runner.scenario(&format!("[providers.p]\nplugin = \"hostile.wasm\"\n{}", tests(&list)));
    let groups = [
        "error-2@p#1 and 6 more case 0 of \"x0\" is not {0} (values differ)",
        "same-2@p#1 and 6 more equals: got \"I do not know\" (expected values differ)",
        "lacks-2@p#1 and 6 more contains: got \"no\" (expected values differ)",
        "other-2@p#1 and 6 more equals: expected \"a city\", got 0 (values differ)",
        "few-0@p#1 json: ",
        "few-1@p#1 json: ",
        "few-2@p#1 json: ",
    ];
    runner.exec(&["-j1"]).expect(1).says(&groups);
    runner.run(&["show"]).expect(0).says(&groups);
    let markdown = runner.run(&["report"]).expect(0).stdout;
    let summary =
        "failed, 9 trials: <code>equals: got &quot;I do not know&quot; (expected values differ)";
    assert!(markdown.contains(summary), "{markdown}");
    assert!(markdown.contains("expected  \"city 0\""), "{markdown}");
    let html = runner.run(&["report", "--html"]).expect(0).stdout;
    assert_eq!(html.matches("<li class=\"group\">").count(), groups.len(), "{html}");
    // Each trial has its own reason in the list.
    assert!(html.contains(r#"equals: expected \"city 6\""#), "{html}");
}

#[test]
fn retries_are_counted_by_reason() {
    let runner = Runner::new(&["hostile"]);
    let tests = tests(
        "busy | { do = \"error\", kind = \"rate-limited\", message = \"slower\" } |
        flaky | { do = \"fail-until\", attempt = 2 } |
        wrong | { do = \"echo\", value = 1 } | equals = 2",
    );
    let retries =
        "retries = { max = 2, backoff = \"1ms\", on = [\"rate-limited\", \"unavailable\"] }";
    runner.scenario(&format!(
        "[defaults]\n{retries}\n[providers.p]\nplugin = \"hostile.wasm\"\n{tests}"
    ));
    runner.exec(&[]).expect(1);
    snapshot(&runner.run(&["show"]).expect(0));
    let shown = runner.run(&["show", "--json"]).expect(0).document();
    assert_eq!(shown["retries"], json!({ "rate-limited": 2, "unavailable": 1 }));
}

#[test]
fn failures_are_listed_in_plan_order() {
    let runner = Runner::new(&["hostile"]);
    let same: String = (1..5)
        .map(|n| format!("same-{n} | {{ do = \"echo\", value = \"\" }} | equals = \"y\"\n"))
        .collect();
    let tests = tests(&format!(
        "slow | {{ do = \"sleep\", ms = 300 }} | equals = \"x\"
        tree | {{ do = \"echo\", value = {{ a = 2, b = [1] }} }} | json = {{ a = 1, b = [1, 2] }}
        {same}"
    ));
    runner.scenario(&format!("[providers.hostile]\nplugin = \"hostile.wasm\"\n{tests}"));
    let list = "failed: ✗ failed slow@hostile#1 equals: expected \"x\", got \"slept\" \
                ✗ failed tree@hostile#1 json: 2 differences; $.a: expected 1, got 2 \
                ✗ failed same-1@hostile#1, same-2@hostile#1, same-3@hostile#1 and 1 more equals: expected \"y\", got \"\"";
    runner.exec(&["-j", "2"]).expect(1).says(&[list]);
    runner.run(&["show"]).expect(0).says(&[list]);
    let rerun = runner.run(&["resume", "latest", "--rerun", "same-1"]).expect(1);
    snapshot(&rerun);
    let run = runner.only_run();
    let (_, short) = run.id().rsplit_once('-').unwrap();
    let ran = runner.run(&["show", "latest", "tree"]).expect(0);
    snapshot(&ran);
    ran.says(&[&format!("reproduce: runner plugin run --from {short} --trial tree@hostile#1")]);
    snapshot(&runner.run(&["show", "latest", "same-1"]).expect(0));
}

#[test]
fn show_names_flaky_trials_and_attempts() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile(
        "[defaults]\nretries = { max = 1 }\n[[tests]]\nid = \"flaky\"\nrepeat = 3\ninput = { do = \"fail-until\" }\n[[tests]]\nid = \"sure\"\ninput = { do = \"echo\", value = 1 }\n",
    );
    runner.exec(&["-j", "3"]).expect(0);
    transcript.run(&runner, &["show"]).expect(0);
    assert!(
        runner.run(&["show", "--failed"]).expect(0).stdout.starts_with("no trial has failed\n")
    );
    snapshot(&runner.run(&["show", "-E", "test(sure) & flaky()"]));
    let ran = transcript.run(&runner, &["show", "--flaky"]).expect(0);
    assert!(!ran.stdout.contains("sure@"), "{}", ran.stdout);
    let lines = ran.stdout.lines().filter(|line| line.contains("@hostile"));
    let trials: Vec<_> = lines.map(|line| line.split(['@', ' ']).nth(3).unwrap()).collect();
    assert_eq!(
        trials,
        ["hostile#1", "hostile#1", "hostile#2", "hostile#2", "hostile#3", "hostile#3"]
    );
    let rows = runner.run(&["show", "--flaky", "--json"]).expect(0).document();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 6);
    transcript.check("show_names_flaky_trials_and_attempts");
}

#[test]
fn show_lists_every_difference_by_path() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile(&tests(
        r#"
        tree   | { do = "echo", value = { a = { b = "two", "x y" = 1 }, list = [1, 2, 3], same = 1.0 } } | equals = { a = { b = "zwei", q = 1 }, list = [1, 5], same = 1 }
        text   | { do = "echo", value = '{"a": 1}' } | equals = { a = 1 }
        space  | { do = "echo", value = "10\u00a0EUR" } | equals = "10 EUR"
        "#,
    ));
    runner
        .exec(&[])
        .expect(1)
        .says(&["tree@hostile#1 equals: 5 differences; $.a.b: expected \"zwei\", got \"two\""]);
    let ran = transcript.run(&runner, &["show", "latest", "tree"]).expect(0);
    assert!(!ran.stdout.contains("- expected"), "{}", ran.stdout);
    // A component has no `output`.
    let ran = runner.run(&["show", "latest", "text"]).expect(0);
    assert!(!ran.stdout.contains("output = "), "{}", ran.stdout);
    let ran = transcript.run(&runner, &["show", "latest", "space"]).expect(0);
    assert!(!ran.stdout.contains('\u{a0}'), "{}", ran.stdout);
    transcript.check("show_lists_every_difference_by_path");
}

#[cfg(debug_assertions)]
#[test]
fn statuses_are_words_of_the_column() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } | equals = 1"));
    runner.exec(&[]).expect(0);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = 1", "equals = 2"));
    runner.exec(&[]).expect(1);
    let mut command = runner.command(&["exec", "scenario.toml"]);
    // Its workers end at once.
    Running::start(command.env("RUNNER_TEST_WORKER", "no-worker")).finish().expect(70);
    let states = |words: &str| {
        let listed = runner.run(&["list", "--json", "--status", words]).expect(0).document();
        let runs = listed["runs"].as_array().unwrap().iter();
        runs.map(|run| run["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states("failed"), ["not-started", "failed"]);
    assert_eq!(states("completed"), ["failed", "passed"]);
    assert_eq!(states("passed"), ["passed"]);
    assert_eq!(states("not-started,damaged"), ["not-started"]);
    transcript.run(&runner, &["list"]).expect(0);
    transcript.run(&runner, &["list", "--status", "damaged"]).expect(0);
    transcript.run(&runner, &["resume"]).expect(2);
    let prune = ["prune", "--status", "passed,not-started"];
    runner.run(&prune).expect(0).says(&["✗ not started", "✓ passed", "would delete 2 runs"]);
    transcript.check("statuses_are_words_of_the_column");
}

#[test]
fn times_without_a_zone_are_local() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } |"));
    runner.exec(&[]).expect(0);
    // Twelve hours east of UTC, it is an hour ago. In UTC it is in the future.
    let zone = tz::TimeZone::fixed(tz::offset(12));
    let hour_ago = (Timestamp::now() - 1.hour()).to_zoned(zone).strftime("%FT%T").to_string();
    let list = |zone: &str| {
        let mut command = runner.command(&["list", "--json", "--since", &hour_ago]);
        let listed = Running::start(command.env("TZ", zone)).finish().expect(0).document();
        listed["runs"].as_array().unwrap().len()
    };
    assert_eq!([list("AAA-12"), list("UTC")], [1, 0]);
}

#[test]
fn users_have_names_without_environment() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } |"));
    runner.exec(&[]).expect(0);
    let name = finished(Command::new("id").arg("-un")).stdout;
    let user = runner.only_run().manifest()["sessions"][0]["user"].clone();
    assert_eq!(user, name.trim());
    assert_eq!(runner.list()[0]["user"], user);
}

#[test]
fn subfolders_use_the_runs_above() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } |"));
    runner.exec(&[]).expect(0);
    let id = runner.only_run().id().to_owned();
    let below = runner.path("a/b");
    fs::create_dir_all(&below).unwrap();
    let list = |home: &str| {
        let mut command = runner.command(&["list"]);
        Running::start(command.current_dir(&below).env("HOME", runner.path(home))).finish()
    };
    let found = list("").expect(0);
    found.says(&[&id]);
    assert_eq!(found.stderr, "using the runs in ../../results\n");
    snapshot(&list("a").expect(0));
    fs::create_dir(runner.path("a/.git")).unwrap();
    snapshot(&list("").expect(0));
}

#[test]
fn names_that_match_nothing_have_advice() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile(&tests(
        r#"
        one-long-name | { do = "echo", value = 1 } |
        another-name  | { do = "echo", value = 1 } |
        "#,
    ));
    runner.exec(&["-j", "1"]).expect(0);
    let ran = transcript.run(&runner, &["show", "latest", "one-lon-name@hostile"]).expect(2);
    assert!(!ran.stderr.contains("another"), "{}", ran.stderr);
    transcript.run(&runner, &["show", "results/"]).expect(2);
    snapshot(&runner.run(&["logs"]).expect(0));
    snapshot(&runner.run(&["logs", "latest", "one-"]));
    for args in [&["logs", "--calls"][..], &["show", "latest", "one-", "--calls"]] {
        snapshot(&runner.run(args).expect(0));
    }
    for (command, trial, shown) in [
        ("show", "one-long-name", "one-long-name"),
        ("show", "*-name", "'*-name'"),
        ("logs", "another-name@hostile#1", "another-name@hostile#1"),
        ("logs", "an*", "'an*'"),
    ] {
        let advice = format!("newest run does to show it: runner {command} latest {shown}");
        runner.run(&[command, trial]).expect(2).says(&[&advice]);
    }
    transcript.run(&runner, &["show", "x*"]).expect(2);
    for (command, shown) in
        [("show", "show -E 'provider(hostile)'"), ("logs", "logs latest '*@hostile#*'")]
    {
        let advice = format!("of the newest run has this name to show its trials: runner {shown}");
        runner.run(&[command, "hostile"]).expect(2).says(&[&advice]);
    }
    let id = runner.only_run().id().to_owned();
    let several = format!("to show their results: runner show {} -E name@", &id[id.len() - 8..]);
    let ran = runner.run(&["show", "latest", "name@"]).expect(2);
    snapshot(&ran);
    ran.says(&[&several]);
    transcript.run(&runner, &["show", "-E", "name@"]).expect(0);
    transcript.check("names_that_match_nothing_have_advice");
}

#[test]
fn advice_after_a_budget_is_used_up_works() {
    let runner = Runner::hostile(
        "[run.budget]\nmetrics = { tokens = 1 }\n[[tests]]\nid = \"a\"\nrepeat = 3\ninput = { do = \"measure\", tokens = 1 }\nexpect = { equals = 2 }\n",
    );
    let ran = runner.exec(&["-j", "1"]).expect(4);
    snapshot(&ran);
    assert!(!ran.stderr.contains("--rerun") && !ran.stderr.contains("--accept"), "{}", ran.stderr);
    snapshot(&runner.run(&["resume", "--rerun", "failed"]).expect(2));
    runner.run(&["resume", "-j", "1", "--budget", "tokens=2"]).expect(4);
    assert_eq!(runner.only_run().rows().len(), 2);
}

#[test]
fn unknown_run_may_mean_the_newest_of_a_scenario() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    runner.exec(&[]).expect(0);
    for args in [
        ["show", "lastest"],
        ["resume", "scenario.toml"],
        ["compare", "some/folder/scenario.toml"],
        ["show", "latest:scenaro"],
        ["compare", "x.toml"],
    ] {
        transcript.run(&runner, &args).expect(2);
    }
    transcript.check("unknown_run_may_mean_the_newest_of_a_scenario");
}

#[test]
fn failures_are_shown_in_the_order_of_lists() {
    let runner = Runner::hostile(&tests(
        r#"
        wrong-1 | { do = "echo", value = 1 } | equals = 2
        broken  | { do = "trap" } |
        other   | { do = "echo", value = 3 } | equals = 2
        wrong-2 | { do = "echo", value = 1 } | equals = 2
        "#,
    ));
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.only_run();
    let suite = run.manifest()["metadata"]["suite"].as_str().unwrap().to_owned();
    for is_lost in [false, true] {
        if is_lost {
            fs::remove_file(runner.path(&format!("results/store/{}/{suite}", &suite[..2])))
                .unwrap();
        }
        let shown = runner.run(&["show", "--failed"]).expect(0).stdout;
        let lines = shown.lines();
        let trials: Vec<_> =
            lines.filter_map(|line| line.split_once('@')?.0.split(' ').next_back()).collect();
        assert_eq!(trials, ["broken", "wrong-1", "wrong-2", "other"], "lost: {is_lost}\n{shown}");
    }
}

#[test]
fn long_texts_below_a_diff_are_counted() {
    let lines: Vec<_> = (0..200).map(|number| format!("line {number}")).collect();
    let (expected, output) = (lines.join("\\n"), lines.join("\\n").replace("line 77", "other"));
    let runner = Runner::hostile(&tests(&format!(
        r#"text | {{ do = "echo", value = "{output}" }} | equals = "{expected}""#
    )));
    runner.exec(&[]).expect(1);
    let page = runner.run(&["show", "latest", "text"]).expect(0);
    snapshot(&page);
    assert!(!page.stdout.contains("\n  line 100\n"), "{}", page.stdout);
    let full = runner.run(&["show", "latest", "text", "--full"]).expect(0).stdout;
    assert_eq!(full.matches("\n  line 100\n").count(), 2, "{full}");
}

#[test]
fn long_line_below_a_difference_is_counted() {
    let line = "word ".repeat(500);
    let runner = Runner::hostile(&tests(&format!(
        r#"
        text | {{ do = "echo", value = "{line}x" }} | equals = "{line}y"
        more | {{ do = "echo", value = "" }} | equals = "{}"
        "#,
        "a\\n".repeat(50)
    )));
    runner.exec(&[]).expect(1);
    let page = runner.run(&["show", "latest", "text"]).expect(0);
    snapshot(&page);
    assert!(page.stdout.len() < 3_000, "{}", page.stdout);
    let page = runner.run(&["show", "latest", "more"]).expect(0);
    snapshot(&page);
    let full = runner.run(&["show", "latest", "text", "--full"]).expect(0).stdout;
    assert!(full.matches(&line).count() >= 3, "{full}");
}

#[test]
fn tests_and_globs_name_their_trials() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"odd/crash\"\nrepeat = 2\ninput = { do = \"say\", text = \"loud\" }\n[[tests]]\nid = \"odd/other\"\ninput = { do = \"say\", text = \"else\" }\n",
    );
    runner.exec(&[]).expect(0);
    for name in ["odd/crash", "odd/crash@hostile", "*crash*"] {
        let pages = runner.run(&["show", "latest", name]).expect(0);
        snapshot(&pages);
        let logs = runner.run(&["logs", "latest", name]).expect(0).stdout;
        assert!(logs.contains("#1:") && logs.contains("#2:") && !logs.contains("other"), "{logs}");
    }
    snapshot(&runner.run(&["show", "latest", "odd/crash", "--json"]).expect(2));
    let ran = runner.run(&["show", "latest", "crsh"]).expect(2);
    snapshot(&ran);
    assert!(!ran.stderr.contains("other"), "{}", ran.stderr);
}

#[test]
fn failed_attempts_of_unfinished_trials_are_listed() {
    let runner = Runner::hostile(
        "[defaults]\nretries = { max = 2, backoff = \"10m\" }\n[[tests]]\nid = \"a\"\ninput = { do = \"fail-until\" }\n",
    );
    let mut running = runner.started(&["exec", "scenario.toml"]);
    wait_until("the row is there", || {
        assert!(running.is_alive());
        runner.runs().pop().is_some_and(|run| !run.rows().is_empty())
    });
    let line = "not done: a@hostile#1 after 1 attempt: try again";
    running.end_by(Signal::INT).0.expect(130).says(&[line]);
    runner.run(&["show"]).expect(0).says(&[line]);
}

#[test]
fn reason_of_a_cancelled_run_has_its_author() {
    let runner = Runner::endless(1, "sleep", "");
    let mut running = runner.started(&["exec", "scenario.toml"]);
    running.wait_until_running(&runner, 1);
    runner.run(&["cancel", "latest", "--reason", "wrong"]).expect(0);
    let ended = running.finish().expect(4);
    assert!(ended.stdout.lines().any(|line| line.starts_with("cancelled by ")), "{ended:?}");
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(shown.contains("\ncancelled by ") && shown.contains(": wrong\n"), "{shown}");
    assert!(!shown.contains("\n  wrong\n") && !shown.contains("stopped"), "{shown}");
}
