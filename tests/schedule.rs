//! When trials run and how often: retries, deadlines, concurrency, rates, memory, selection, giving up.
//!
//! Of time only lower bounds and overlaps are asserted: a busy machine may take as long as it likes.

use serde_json::{Value, json};

use crate::support::runner::{Run, Runner, tests};

/// When an attempt ran, in milliseconds since 1970.
#[derive(Clone, Copy)]
struct Span {
    start: f64,
    end: f64,
}

fn span(row: &Value) -> Span {
    let started: jiff::Timestamp = row["started_at"].as_str().unwrap().parse().unwrap();
    let start = started.as_millisecond() as f64;
    Span {
        start,
        end: start + row["duration_ms"].as_f64().unwrap(),
    }
}

/// The rows' spans, by start.
fn spans<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Vec<Span> {
    let mut spans: Vec<_> = rows.into_iter().map(span).collect();
    spans.sort_by(|one, other| one.start.total_cmp(&other.start));
    spans
}

/// How many spans share an instant, at most. Starts are rounded down to a millisecond, so an overlap counts above two.
fn most_at_once(spans: &[Span]) -> usize {
    let at = |time: f64| spans.iter().filter(move |span| span.start <= time && time + 2.0 < span.end);
    spans.iter().map(|span| at(span.start).count()).max().unwrap_or(0)
}

fn attempts(run: &Run, test: &str) -> Vec<Value> {
    let mut rows = run.rows();
    rows.retain(|row| row["test"] == test);
    rows.sort_by_key(|row| row["attempt"].as_u64());
    rows
}

#[test]
fn a_trial_that_passes_after_a_retry_is_flaky_and_each_attempt_has_its_row() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "flaky"
        input = { do = "fail-until", attempt = 3 }
        retries = { max = 5, backoff = "60ms" }
        "#,
    );
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let rows = attempts(&run, "flaky");
    let told: Vec<_> = rows.iter().map(|row| [&row["attempt"], &row["final"], &row["outcome"], &row["flaky"]]).collect();
    assert_eq!(
        json!(told),
        json!([
            [1, false, "error", null],
            [2, false, "error", null],
            [3, true, "passed", true]
        ])
    );
    assert_eq!(run.manifest()["counts"]["flaky"], 1);
    assert_eq!(run.manifest()["counts"]["error"], 0);

    // The backoff doubles; starts are known to a millisecond.
    let spans = spans(&rows);
    assert!(spans[1].start - spans[0].start >= 59.0);
    assert!(spans[2].start - spans[1].start >= 119.0);
}

#[test]
fn only_the_classes_that_are_listed_are_retried() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "denied"
        input = { do = "error", kind = "denied" }
        retries = { max = 2 }
        [[tests]]
        id = "unavailable"
        input = { do = "error", kind = "unavailable" }
        retries = { max = 2 }
        [[tests]]
        id = "trap"
        input = { do = "trap" }
        retries = { max = 1, on = ["trap"] }
        [[tests]]
        id = "timeout"
        input = { do = "loop" }
        timeout = "50ms"
        retries = { max = 1, on = ["timeout"] }
        [[tests]]
        id = "failed"
        input = { do = "echo", value = 1 }
        expect = { equals = 2 }
        retries = { max = 2, on = ["trap", "timeout", "other"] }
        [[tests]]
        id = "expected"
        input = { do = "trap" }
        expect = { error = "trap" }
        retries = { max = 2, on = ["trap"] }
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    for (test, number, outcome) in [
        ("denied", 1, "error"),
        ("unavailable", 3, "error"),
        ("trap", 2, "error"),
        ("timeout", 2, "timeout"),
        ("failed", 1, "failed"),
        ("expected", 1, "passed"),
    ] {
        let rows = attempts(&run, test);
        assert_eq!(rows.len(), number, "{test}");
        let finals: Vec<_> = rows.iter().map(|row| row["final"].as_bool().unwrap()).collect();
        assert_eq!(finals.iter().filter(|is_final| **is_final).count(), 1, "{test}");
        let last = rows.last().unwrap();
        assert_eq!((&last["final"], &last["outcome"]), (&json!(true), &json!(outcome)), "{test}");
    }
}

#[test]
fn a_guest_that_says_when_to_come_back_is_not_asked_before() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "limited"
        input = { do = "error", kind = "rate-limited", retry_after = 200 }
        retries = { max = 1, backoff = "1ms" }
        "#,
    );
    runner.exec(&[]).expect(1);
    let spans = spans(&attempts(&runner.only_run(), "limited"));
    assert_eq!(spans.len(), 2);
    assert!(spans[1].start - spans[0].start >= 199.0);
}

#[test]
fn each_deadline_that_fires_is_named() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.free]
        plugin = "hostile.wasm"
        [providers.capped]
        plugin = "hostile.wasm"
        limits = { time = "80ms" }
        [[tests]]
        id = "attempt"
        input = { do = "loop" }
        timeout = "60ms"
        [[tests]]
        id = "provider"
        input = { do = "loop" }
        timeout = "5s"
        providers = ["capped"]
        [[tests]]
        id = "trial"
        input = { do = "sleep" }
        trial_timeout = "50ms"
        "#,
    );
    runner.exec(&["--provider", "capped"]).expect(1);
    let codes = |run: &Run| -> Value {
        ["attempt", "provider", "trial"].map(|test| run.row(test)["error"]["code"].clone()).into()
    };
    let run = runner.only_run();
    assert_eq!(codes(&run), json!(["timeout", "limits.time", "trial_timeout"]));
    let message = run.row("provider")["error"]["message"].clone();
    assert_eq!(message, "no reply within 80ms, set by the provider's `limits.time`");

    runner.exec(&["--provider", "capped", "--limit", "time=20ms"]).expect(1);
    assert_eq!(codes(&runner.runs()[1]), json!(["limit-time", "limit-time", "limit-time"]));
}

#[test]
fn a_trial_timeout_bounds_all_attempts_and_no_backoff_crosses_it() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "together"
        input = { do = "loop" }
        timeout = "100ms"
        trial_timeout = "150ms"
        retries = { max = 9, on = ["timeout"] }
        [[tests]]
        id = "backoff"
        input = { do = "error", kind = "unavailable" }
        trial_timeout = "2s"
        retries = { max = 9, backoff = "1h" }
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let rows = attempts(&run, "together");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0]["error"]["code"], "timeout");
    assert_eq!(rows[1]["error"]["code"], "trial_timeout");
    assert_eq!(rows[1]["final"], true);
    assert_eq!(attempts(&run, "backoff").len(), 1);
    assert_eq!(run.row("backoff")["outcome"], "error");
}

#[test]
fn a_limit_of_the_command_line_is_a_ceiling_for_every_provider() {
    let runner = Runner::hostile(&tests(r#"grow | { do = "grow-memory", count = 20 } |"#));
    runner.exec(&[]).expect(0);
    runner.exec(&["--limit", "memory=8MiB", "--limit", "reply=1KiB"]).expect(1);
    let run = &runner.runs()[1];
    let error = &run.row("grow")["error"];
    assert_eq!(error["class"], "out-of-memory");
    assert!(error["message"].as_str().unwrap().contains("`limits.memory` is 8.0 MiB"), "{error}");
    let limits = &run.manifest()["providers"][0]["limits"];
    assert_eq!((&limits["memory"], &limits["reply"]), (&json!(8 << 20), &json!(1024)));
    assert_eq!(run.manifest()["options"]["limits"], json!(["memory=8MiB", "reply=1KiB"]));

    // A ceiling never raises.
    runner.exec(&["--limit", "memory=2GiB"]).expect(0);
    assert_eq!(runner.runs()[2].manifest()["providers"][0]["limits"]["memory"], 256 << 20);
}

#[test]
fn a_test_runs_as_often_as_it_or_the_command_line_says() {
    let runner = Runner::hostile(
        r#"
        [defaults]
        repeat = 2
        [[tests]]
        id = "twice"
        input = { do = "test" }
        [[tests]]
        id = "thrice"
        repeat = 3
        input = { do = "test" }
        "#,
    );
    let trials = |args: &[&str]| {
        runner.exec(args).expect(0);
        let mut rows = runner.runs().last().unwrap().rows();
        rows.sort_by_key(|row| row["ordinal"].as_u64());
        let trials = rows.iter().map(|row| {
            assert_eq!(row["output"]["repeat"], row["repeat"]);
            format!("{} {}", row["test"].as_str().unwrap(), row["repeat"])
        });
        trials.collect::<Vec<_>>()
    };
    assert_eq!(trials(&[]), ["twice 1", "twice 2", "thrice 1", "thrice 2", "thrice 3"]);
    assert_eq!(trials(&["--repeat", "1"]), ["twice 1", "thrice 1"]);
}

#[test]
fn the_command_line_selects_by_id_provider_and_tag() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.a]
        plugin = "hostile.wasm"
        [providers.b]
        plugin = "hostile.wasm"
        [[tests]]
        id = "x/one"
        tags = ["smoke"]
        input = { do = "echo" }
        [[tests]]
        id = "x/two"
        input = { do = "echo" }
        [[tests]]
        id = "y"
        tags = ["smoke", "slow"]
        providers = ["b"]
        input = { do = "echo" }
        "#,
    );
    let selected = |args: &[&str]| -> String {
        let dry = runner.run(&[&["exec", "scenario.toml", "--dry-run"], args].concat()).expect(0);
        let dry = dry.stdout.trim().replace('\n', " ");
        runner.exec(args).expect(0);
        let run = runner.runs().pop().unwrap();
        let mut rows = run.rows();
        assert_eq!(run.manifest()["metadata"]["planned_test_count"], rows.len());
        rows.sort_by_key(|row| row["ordinal"].as_u64());
        let trials: Vec<_> = rows.iter().map(|row| row["trial"].as_str().unwrap()).collect();
        assert_eq!(trials.join(" "), dry);
        dry.replace("#1", "")
    };
    assert_eq!(selected(&[]), "x/one@a x/one@b x/two@a x/two@b y@b");
    assert_eq!(selected(&["--test", "x/*"]), "x/one@a x/one@b x/two@a x/two@b");
    assert_eq!(selected(&["--test", "y", "--test", "*two"]), "x/two@a x/two@b y@b");
    assert_eq!(selected(&["--provider", "a"]), "x/one@a x/two@a");
    assert_eq!(selected(&["--tag", "smoke"]), "x/one@a x/one@b y@b");
    assert_eq!(selected(&["--tag", "smoke", "--exclude", "x/*"]), "y@b");
    let run = runner.runs().pop().unwrap();
    assert_eq!(run.manifest()["selection"], json!({"tags": ["smoke"], "exclude": ["x/*"]}));
}

#[test]
fn nothing_selected_exits_5_and_creates_nothing() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    for args in [&["--test", "b"][..], &["--tag", "t"], &["--exclude", "*"], &["--test", "b", "--dry-run"]] {
        let ran = runner.exec(args).expect(5);
        ran.says(&["no test is selected in `scenario.toml`"]);
        assert_eq!(ran.stdout, "");
        assert!(!runner.path("results").exists());
    }
}

#[test]
fn a_dry_run_creates_nothing() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    assert_eq!(runner.exec(&["--dry-run"]).expect(0).stdout, "a@hostile#1\n");
    assert!(!runner.path("results").exists());
}

fn failing(count: usize) -> Runner {
    Runner::hostile(&format!(
        "[[tests]]\nid = \"a\"\nrepeat = {count}\ninput = {{ do = \"sleep\", ms = 1 }}\nexpect = {{ equals = 1 }}\n"
    ))
}

#[test]
fn fail_fast_begins_no_trial_after_so_many_bad_ones() {
    for (args, bad) in [
        (&["--fail-fast"][..], 1),
        (&["--fail-fast=3"], 3),
        // More than a tenth of 200.
        (&["--fail-fast=0.1"], 21),
    ] {
        let runner = failing(200);
        let ran = runner.exec(&[&["-j", "2"], args].concat()).expect(4);
        ran.says(&["incomplete (fail-fast)", "enough trials ended badly"]);
        let run = runner.only_run();
        assert_eq!(run.ending(), ["incomplete", "fail-fast", "", "failed"]);
        let rows = run.rows();
        assert!(rows.iter().all(|row| row["outcome"] == "failed" && row["final"] == true));
        assert!(rows.len() >= bad, "{args:?}: {}", rows.len());
        // What had begun is finished; nothing is begun afterwards. Attempts of a millisecond lie ready in small numbers.
        assert!(rows.len() < bad + 100, "{args:?}: {}", rows.len());
        assert_eq!(run.manifest()["counts"]["failed"], rows.len());
    }
}

#[test]
fn a_provider_runs_as_many_attempts_at_once_as_it_may() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [run]
        concurrency = 6
        [defaults]
        repeat = 6
        [providers.narrow]
        plugin = "hostile.wasm"
        concurrency = 2
        [providers.wide]
        plugin = "hostile.wasm"
        [[tests]]
        id = "nap"
        input = { do = "sleep", ms = 150 }
        "#,
    );
    runner.exec(&[]).expect(0);
    let rows = runner.only_run().rows();
    let of = |provider: &str| spans(rows.iter().filter(|row| row["provider"] == provider));
    assert_eq!(of("narrow").len(), 6);
    assert_eq!(most_at_once(&of("narrow")), 2);
    assert!(most_at_once(&of("wide")) > 2);
    assert!(most_at_once(&spans(&rows)) <= 6);
}

#[test]
fn jobs_bound_how_many_attempts_run_at_once() {
    let runner = Runner::hostile("[[tests]]\nid = \"nap\"\nrepeat = 8\ninput = { do = \"sleep\", ms = 60 }\n");
    runner.exec(&["-j", "1"]).expect(0);
    runner.exec(&["-j", "4"]).expect(0);
    let most = |run: &Run| most_at_once(&spans(&run.rows()));
    assert_eq!(runner.runs().iter().map(most).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn a_rate_spaces_the_starts_of_attempts() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [run]
        concurrency = 4
        [providers.paced]
        plugin = "hostile.wasm"
        rate = "20/s"
        [[tests]]
        id = "quick"
        repeat = 8
        input = { do = "echo" }
        "#,
    );
    runner.exec(&[]).expect(0);
    let spans = spans(&runner.only_run().rows());
    assert_eq!(spans.len(), 8);
    // An attempt may begin later than it was let go, so only the whole can be relied on.
    let whole = spans[7].start - spans[0].start;
    assert!(whole >= 6.5 * 50.0, "{whole} ms");
}

#[test]
fn attempts_start_only_while_their_memory_limits_fit_together() {
    let scenario = |memory: &str| {
        format!(
            r#"
            [run]
            concurrency = 4
            memory = "{memory}"
            [providers.large]
            plugin = "hostile.wasm"
            limits = {{ memory = "3GiB" }}
            [[tests]]
            id = "nap"
            repeat = 4
            input = {{ do = "sleep", ms = 80 }}
            "#
        )
    };
    let runner = Runner::new(&["hostile"]);
    for memory in ["5GiB", "6GiB"] {
        runner.scenario(&scenario(memory));
        runner.exec(&[]).expect(0);
    }
    let most = |run: &Run| most_at_once(&spans(&run.rows()));
    assert_eq!(runner.runs().iter().map(most).collect::<Vec<_>>(), [1, 2]);

    runner.scenario(&scenario("2GiB"));
    let ran = runner.exec(&[]).expect(2);
    ran.says(&["provider `large` would never fit into this memory", "memory = \"2GiB\"", "its limit is 3.0 GiB"]);

    // Without `memory` it is the machine's that an attempt must fit into.
    runner.scenario(&scenario("200TiB").replace("memory = \"200TiB\"", "").replace("3GiB", "100TiB"));
    let ran = runner.exec(&[]).expect(2);
    ran.says(&["provider `large`: its `limits.memory` of 100.0 TiB is more than all attempts may take together"]);
    assert_eq!(runner.runs().len(), 2);
}

#[test]
fn the_runs_timeout_really_stops_and_records_what_was_begun() {
    let runner = Runner::hostile(
        "[run]\nmemory = \"1TiB\"\n[[tests]]\nid = \"endless\"\nrepeat = 9\ninput = { do = \"loop\" }\n",
    );
    let ran = runner.exec(&["-j", "3", "--timeout-minutes", "0.02"]).expect(4);
    ran.says(&["the run's time is up", "incomplete (timeout)", "exit code 4"]);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "timeout", "", "none"]);
    let rows = run.rows();
    assert_eq!(rows.len(), 3, "the others were never begun");
    assert!(rows.iter().all(|row| row["outcome"] == "stopped" && row["final"] == false));
    let counts = &run.manifest()["counts"];
    assert_eq!((&counts["planned"], &counts["timeout"]), (&json!(9), &json!(0)));
}

#[test]
fn a_backoff_that_would_cross_the_runs_deadline_is_not_slept() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\ninput = { do = \"error\", kind = \"unavailable\" }\nretries = { max = 3, backoff = \"10m\" }\n",
    );
    runner.exec(&["--timeout-minutes", "5"]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    assert_eq!(run.rows().len(), 1);
}
