//! Snapshots of the screens that commands share, at 60, 80 and 200 columns.

use std::time::Duration;

use clap::CommandFactory as _;
use insta::assert_snapshot;
use runner_engine::Preview;
use runner_model::{
    Counts, Grants, Limits, NetGrant, RowRef, Time, TrialId, digest, known::Known, log::Said,
    provider::PluginKind,
};
use runner_record::{InFlight, Live, ManifestProvider, now};
use runner_report::{Denials, Failures, RunList, RunSummary, Section, call_sections};
use serde_json::{Value, json};

use super::progress::{Done, Pace, bar_lines, oldest, slow};
use super::{grants, out::fitted, style::plain, summary, trials};
use crate::{
    command::{Cli, with_grouped_help},
    commands::list,
};

const EXTENT: trials::Extent =
    trials::Extent { columns: None, is_full: false, remedy: "`--full` shows all", known: None };

/// Formats a text as the printer does, without colours. Each width has its own title.
pub fn at_widths(render: impl Fn(Option<usize>) -> String) -> String {
    let at = |columns: usize| {
        let text = plain(&fitted(&render(Some(columns)), Some(columns)));
        format!("== {columns}\n{text}\n")
    };
    [60, 80, 200].map(at).concat()
}

/// Returns a completed run of 12 trials that started two hours ago, changed by `keys`.
pub fn run(keys: &Value) -> RunSummary {
    let started = now().as_millis() - 9_000_000;
    let time = |millis: i64| json!(Time::from_millis(millis));
    let mut head = json!({
        "run": "20261120T091804.015Z-6ba42b73", "scenario": "checkout", "status": "completed",
        "verdict": "passed", "stage": "finish", "sessions": 1, "started_at": time(started),
        "completed_at": time(started + 4_200), "worked_ms": 4_200,
        "counts": counts(12, [12, 0, 0, 0, 0, 0]),
    });
    for (key, value) in keys.as_object().unwrap() {
        head[key] = value.clone();
    }
    let run_dir = "results/20261120T091804.015Z-6ba42b73".to_owned();
    RunSummary::new(serde_json::from_value(head).unwrap(), "6ba42b73".to_owned(), run_dir.into())
}

pub fn counts(planned: u64, done: [u64; 6]) -> Value {
    let [passed, failed, error, timeout, skipped, flaky] = done;
    json!({
        "planned": planned, "passed": passed, "failed": failed, "error": error,
        "timeout": timeout, "skipped": skipped, "flaky": flaky,
    })
}

fn row(test: &str, provider: &str, outcome: &str, keys: &Value) -> String {
    let mut row = json!({
        "v": 4, "trial": format!("{test}@{provider}#1"), "test": test, "provider": provider,
        "repeat": 1, "attempt": 1, "outcome": outcome, "started_at": "2026-11-20T09:18:04.015Z",
        "duration_ms": 1_234.5, "usage": {"peak_memory": 65_536},
    });
    for (key, value) in keys.as_object().unwrap() {
        row[key] = value.clone();
    }
    row.to_string()
}

fn read(row: &str) -> RowRef<'_> {
    serde_json::from_str(row).unwrap()
}

/// Returns a row with a failed check, whose message has a line that is wider than most terminals.
fn failed(test: &str, provider: &str) -> String {
    let check = json!({
        "kind": "equals", "verdict": "fail",
        "difference_count": 1, "differences": [{"path": "$.total", "expected": "12", "actual": "13"}],
        "expected": {"total": 12, "currency": "EUR", "items": ["apples", "pears", "plums", "quinces"]},
        "actual": {"total": 13, "currency": "EUR", "items": ["apples", "pears", "plums", "quinces"]},
    });
    row(test, provider, "failed", &json!({"checks": [check]}))
}

fn trap(test: &str) -> String {
    let error = json!({
        "class": "trap", "code": "unreachable", "message": "the guest trapped",
        "stderr": "panicked at cart.rs:15:\nerror: no such item",
    });
    row(test, "model", "error", &json!({"error": error}))
}

#[test]
fn summary_lines_fit_the_terminal() {
    let open = |status: &str, reason: &str, passed: u64| {
        run(&json!({
            "status": status, "verdict": "none", "reason": reason,
            "counts": counts(12, [passed, 0, 0, 0, 0, 0]),
        }))
    };
    let runs = [
        run(&json!({})),
        run(&json!({"counts": counts(12, [12, 0, 0, 0, 0, 2])})),
        run(&json!({"verdict": "failed", "counts": counts(12, [6, 3, 1, 1, 1, 2])})),
        run(&json!({
            "status": "incomplete", "verdict": "none", "reason": "interrupted", "signal": "SIGINT",
            "counts": counts(12, [5, 2, 0, 0, 0, 0]),
        })),
        open("incomplete", "budget", 3),
        open("failed", "plugin", 0),
        open("cancelled", "cancelled", 4),
        run(&json!({"status": "running", "verdict": "none", "counts": counts(12, [0; 6])})),
        run(&json!({"verdict": "damaged", "counts": counts(12, [5, 0, 0, 0, 0, 0])})),
    ];
    let lines = runs.iter().map(|run| summary::line(run, Duration::from_millis(4_200)));
    let lines = lines.collect::<Vec<_>>().join("\n");
    assert_snapshot!(at_widths(|_| lines.clone()), @r"
    == 60
    ✓ passed: 12 of 12 in 4.2 s
    ✓ passed: 12 of 12 (2 flaky) in 4.2 s
    ✗ failed: 5 of 12 (6 passed, 3 failed, 1 error, 1 timeout,
      1 skipped, 2 flaky) in 4.2 s
    ◐ incomplete (SIGINT): 7 of 12 done (5 passed, 2 failed) in
      4.2 s; exit code 130
    ◐ incomplete (budget): 3 of 12 done (3 passed) in 4.2 s;
      exit code 4
    ✗ not started (plugin); exit code 3
    ⊘ cancelled: 4 of 12 done (4 passed) in 4.2 s; exit code 4
    ○ running: 0 of 12 done in 4.2 s
    ✗ damaged: 5 of 12 done (5 passed) in 4.2 s; exit code 8
    == 80
    ✓ passed: 12 of 12 in 4.2 s
    ✓ passed: 12 of 12 (2 flaky) in 4.2 s
    ✗ failed: 5 of 12 (6 passed, 3 failed, 1 error, 1 timeout, 1 skipped, 2 flaky)
      in 4.2 s
    ◐ incomplete (SIGINT): 7 of 12 done (5 passed, 2 failed) in 4.2 s; exit code 130
    ◐ incomplete (budget): 3 of 12 done (3 passed) in 4.2 s; exit code 4
    ✗ not started (plugin); exit code 3
    ⊘ cancelled: 4 of 12 done (4 passed) in 4.2 s; exit code 4
    ○ running: 0 of 12 done in 4.2 s
    ✗ damaged: 5 of 12 done (5 passed) in 4.2 s; exit code 8
    == 200
    ✓ passed: 12 of 12 in 4.2 s
    ✓ passed: 12 of 12 (2 flaky) in 4.2 s
    ✗ failed: 5 of 12 (6 passed, 3 failed, 1 error, 1 timeout, 1 skipped, 2 flaky) in 4.2 s
    ◐ incomplete (SIGINT): 7 of 12 done (5 passed, 2 failed) in 4.2 s; exit code 130
    ◐ incomplete (budget): 3 of 12 done (3 passed) in 4.2 s; exit code 4
    ✗ not started (plugin); exit code 3
    ⊘ cancelled: 4 of 12 done (4 passed) in 4.2 s; exit code 4
    ○ running: 0 of 12 done in 4.2 s
    ✗ damaged: 5 of 12 done (5 passed) in 4.2 s; exit code 8
    ");
}

#[test]
fn tables_of_runs_fit_the_terminal() {
    let group = json!({"id": "20261120T091803.500Z-c5b08f1a", "place": 2, "of": 3});
    let list = RunList {
        v: 1,
        runs: vec![
            run(&json!({"verdict": "failed", "counts": counts(12, [6, 3, 1, 1, 1, 0])})),
            run(&json!({"scenario": "a-scenario-with-a-long-name", "group": group})),
            run(&json!({
                "status": "running", "verdict": "none", "stage": "waiting", "completed_at": null,
                "worked_ms": 0, "counts": counts(1_000_000, [0; 6]),
            })),
            run(&json!({
                "status": "running", "verdict": "none", "stage": "run", "completed_at": null,
                "message": "no worker is connected", "counts": counts(12, [6, 0, 0, 0, 0, 0]),
            })),
        ],
        unreadable: Vec::new(),
    };
    assert_snapshot!(at_widths(|screen| list::table(&list, false, screen)), @r"
    == 60
    run       status                         done
    6ba42b73  ✗ failed                      12/12
    6ba42b73  ✓ passed                      12/12
    6ba42b73  ○ running (waiting)     0/1,000,000
    6ba42b73  ○ running (no workers)         6/12
    == 80
    run       status                  scenario                          done  failed
    6ba42b73  ✗ failed                checkout                         12/12       5
    6ba42b73  ✓ passed                a-scenario-with-a-long-n…        12/12
    6ba42b73  ○ running (waiting)     checkout                   0/1,000,000
    6ba42b73  ○ running (no workers)  checkout                          6/12
    == 200
    run       status                  scenario                                              done  failed  started  ended     took
    6ba42b73  ✗ failed                checkout                                             12/12       5  2 h ago  2 h ago  4.2 s
    6ba42b73  ✓ passed                a-scenario-with-a-long-name (2/3 of c5b08f1a)        12/12          2 h ago  2 h ago  4.2 s
    6ba42b73  ○ running (waiting)     checkout                                       0/1,000,000          –        –            –
    6ba42b73  ○ running (no workers)  checkout                                              6/12          2 h ago  –        4.2 s
    ");
}

#[test]
fn lists_of_failures_fit_the_terminal() {
    let mut failures = Failures::default();
    let long = "carts/a-cart-with-a-very-long-name/and-a-discount-code";
    for row in
        [failed("vat/rounding", "model-small"), failed("vat/rounding", "model-large"), trap(long)]
    {
        failures.add_result(&read(&row), 30, &Known::default());
    }
    for number in 0..20 {
        let row = failed(&format!("shipping/zone-{number}"), "model-small");
        failures.add_result(&read(&row), number, &Known::default());
    }
    assert_snapshot!(at_widths(|screen| trials::list(&failures, None, screen)), @r#"
    == 60
    failed:
      ✗ error    carts/a-cart-with-a-very-long-name/and-a-
                 discount-code@model#1
                 error: no such item
      ✗ failed   shipping/zone-0@model-small#1,
                 shipping/zone-1@model-small#1,
                 shipping/zone-2@model-small#1 and 19 more
                 equals: at $.total: expected 12, got 13
    == 80
    failed:
      ✗ error    carts/a-cart-with-a-very-long-name/and-a-discount-code@model#1
                 error: no such item
      ✗ failed   shipping/zone-0@model-small#1, shipping/zone-1@model-small#1,
                 shipping/zone-2@model-small#1 and 19 more
                 equals: at $.total: expected 12, got 13
    == 200
    failed:
      ✗ error    carts/a-cart-with-a-very-long-name/and-a-discount-code@model#1  error: no such item
      ✗ failed   shipping/zone-0@model-small#1, shipping/zone-1@model-small#1, shipping/zone-2@model-small#1 and 19 more  equals: at $.total: expected 12, got 13
    "#);
}

#[test]
fn blocks_of_failures_fit_the_terminal() {
    let retried =
        row("vat/flaky", "model", "passed", &json!({"attempt": 2, "flaky": true, "final": true}));
    let rows = [failed("vat/rounding", "model-small"), trap("carts/empty"), retried];
    let blocks = rows
        .iter()
        .map(|row| trials::block(&read(row), &Known::default(), 2))
        .collect::<Vec<_>>()
        .join("\n");
    assert_snapshot!(at_widths(|_| blocks.clone()), @r#"
    == 60
    ✗ failed vat/rounding@model-small#1 1.2 s
        equals: at $.total: expected 12, got 13
    ✗ error carts/empty@model#1 1.2 s
        trap unreachable: the guest trapped; its standard error
          ends with:
          panicked at cart.rs:15:
          error: no such item
    ✓ passed vat/flaky@model#1 (attempt 2) flaky 1.2 s
    == 80
    ✗ failed vat/rounding@model-small#1 1.2 s
        equals: at $.total: expected 12, got 13
    ✗ error carts/empty@model#1 1.2 s
        trap unreachable: the guest trapped; its standard error ends with:
          panicked at cart.rs:15:
          error: no such item
    ✓ passed vat/flaky@model#1 (attempt 2) flaky 1.2 s
    == 200
    ✗ failed vat/rounding@model-small#1 1.2 s
        equals: at $.total: expected 12, got 13
    ✗ error carts/empty@model#1 1.2 s
        trap unreachable: the guest trapped; its standard error ends with:
          panicked at cart.rs:15:
          error: no such item
    ✓ passed vat/flaky@model#1 (attempt 2) flaky 1.2 s
    "#);
}

#[test]
fn pages_of_calls_fit_the_terminal() {
    let row = row(
        "call",
        "shout",
        "passed",
        &json!({
            "output": {"shout": "HELLO"}, "metrics": [{"name": "words", "value": 1.0, "unit": "1"}],
            "checks": [{"name": "polite", "verdict": "pass"}],
        }),
    );
    let said = json!({
        "log": [{
            "at": "2026-11-20T09:18:04.015Z", "level": "warn",
            "message": "a message that is wider than a narrow terminal and has a control character \u{1b}",
            "fields": [["cart", "7"]],
        }],
        "stderr": "one\ntwo\n",
    });
    let said = said.to_string();
    let said: Said<'_> = serde_json::from_str(&said).unwrap();
    let page = trials::page(&read(&row), call_sections(&read(&row), &said), EXTENT);
    assert_snapshot!(at_widths(|_| page.clone()), @r"
    == 60
    ✓ passed call@shout#1 1.2 s
    checks
      pass polite
    metrics
      words 1
    usage
      memory 64 KiB at most; 0 host calls, 0 HTTP requests, 0 B
        in, 0 B out
    log
      09:18:04.015 warn  a message that is wider than a narrow
                         terminal and has a control character
                         \u{1b} cart=7
    standard error
      one
      two
    == 80
    ✓ passed call@shout#1 1.2 s
    checks
      pass polite
    metrics
      words 1
    usage
      memory 64 KiB at most; 0 host calls, 0 HTTP requests, 0 B in, 0 B out
    log
      09:18:04.015 warn  a message that is wider than a narrow terminal and has a
                         control character \u{1b} cart=7
    standard error
      one
      two
    == 200
    ✓ passed call@shout#1 1.2 s
    checks
      pass polite
    metrics
      words 1
    usage
      memory 64 KiB at most; 0 host calls, 0 HTTP requests, 0 B in, 0 B out
    log
      09:18:04.015 warn  a message that is wider than a narrow terminal and has a control character \u{1b} cart=7
    standard error
      one
      two
    ");
}

#[test]
fn long_values_on_pages_are_cut() {
    let said = json!({"stdout": "line\n".repeat(300)}).to_string();
    let said: Said<'_> = serde_json::from_str(&said).unwrap();
    let row = row("call", "shout", "passed", &json!({}));
    let page = plain(&trials::page(&read(&row), call_sections(&read(&row), &said), EXTENT));
    assert_eq!(page.matches("  line").count(), 200);
    assert!(page.ends_with("  … 100 more lines: `--full` shows all"), "{page}");
}

#[test]
fn wide_pages_have_expected_and_output_side_by_side() {
    let row = row("a", "p", "failed", &json!({}));
    let page = |columns| {
        let section = |title, text: &str| Section { title, text: text.to_owned() };
        let sections = vec![
            section("expected", "equals {\n  \"total\": 12\n}"),
            section("output", "{\n  \"total\": 13\n}"),
        ];
        plain(&trials::page(&read(&row), sections, trials::Extent { columns, ..EXTENT }))
    };
    assert_snapshot!(page(Some(40)), @r#"
    ✗ failed a@p#1 1.2 s
        failed
    expected           output
      equals {           {
        "total": 12        "total": 13
      }                  }
    "#);
    assert!(page(Some(30)).contains("  }\noutput\n  {"), "{}", page(Some(30)));
    assert_eq!(page(None), page(Some(30)));
}

fn provider(grants: Grants, requests: &[&str]) -> ManifestProvider {
    let description = json!({
        "name": "weather", "version": "1.0.0", "summary": "", "requests": requests,
    });
    ManifestProvider {
        name: "weather".to_owned(),
        is_grader: false,
        is_tool: false,
        is_development: false,
        plugin: "weather.wasm".to_owned(),
        digest: digest(b""),
        kind: PluginKind::Component,
        limits: Limits::default(),
        grants,
        mounts: Vec::new(),
        description: serde_json::from_value(description).unwrap(),
    }
}

fn granted() -> Grants {
    Grants {
        net: vec![NetGrant::parse("https://api.example.com").unwrap()],
        secrets: vec!["API_KEY".into()],
        ..Grants::default()
    }
}

#[test]
fn dry_runs_list_grants_and_missing_ones() {
    let preview = Preview {
        scenario: "checkout".to_owned(),
        jobs: 4,
        tests: 10,
        trials: 20,
        overrides: Default::default(),
        providers: vec![
            provider(granted(), &["secret:API_KEY", "secret:TOKEN", "fs:rw:work", "gpu:1"]),
            provider(Grants::default(), &[]),
        ],
        missing_secrets: ["API_KEY".to_owned()].into(),
        access: Vec::new(),
        notify: Default::default(),
        notices: Vec::new(),
    };
    let text = grants::preview(&preview).join("\n");
    assert_snapshot!(plain(&text), @r#"
    checkout: 20 trials on 2 providers, 4 at a time
    weather: component `weather.wasm`, memory 256 MiB
      [providers.weather.grants]
      net = ["https://api.example.com"]
      secrets = ["API_KEY"]
      secret API_KEY (no value)
      requests, not granted: secret:TOKEN, fs:rw:work, gpu:1
      to grant them, add to the scenario:
        [providers.weather.grants]
        net = ["https://api.example.com"]
        secrets = ["API_KEY", "TOKEN"]
        fs = [{ path = "work", mount = "/work", mode = "rw" }]
        [providers.weather.limits]
        scratch = "16MiB"
    weather: component `weather.wasm`, memory 256 MiB
      grants: none
    "#);
}

#[test]
fn denials_end_with_a_table_to_paste() {
    let secret = json!({"what": "the secret `TOKEN`", "grant": "secrets = [\"TOKEN\"]"});
    let host = json!({"what": "a request to `*.example.com`"});
    let mut denials = Denials::default();
    for denied in [json!([secret, host]), json!([secret])] {
        let error = json!({"class": "denied", "code": "denied", "message": "not granted"});
        let row = row("a", "weather", "error", &json!({"denied": denied, "error": error}));
        denials.add(&read(&row));
    }
    let text = grants::denials(&denials, &[provider(granted(), &[])]);
    assert_snapshot!(plain(&text), @r#"
    denied:
      weather: the secret `TOKEN`, in 2 attempts
      weather: a request to `*.example.com`
        to allow it, add to the scenario:
          [providers.weather.grants]
          net = ["https://api.example.com"]
          secrets = ["API_KEY", "TOKEN"]
    "#);
}

/// Progress of a session that has done all of `counts`.
fn done(counts: &Counts, elapsed: Duration) -> Done<'_> {
    Done {
        counts,
        done: counts.done(),
        planned: counts.done(),
        is_again: false,
        retried: 0,
        before: 0,
        elapsed,
        until_newest: elapsed,
        per_trial: None,
    }
}

#[test]
fn bars_of_reruns_count_the_trials_of_the_session() {
    let counts = Counts { passed: 30, failed: 10, ..Counts::default() };
    let per_trial = Some(Duration::from_secs(1));
    let again = Done {
        done: 4,
        planned: 20,
        is_again: true,
        per_trial,
        ..done(&counts, Duration::from_secs(4))
    };
    assert_eq!(
        bar_lines(80, None, again, "", None),
        ["0:04 ━━━━──────────────────── 4/20 now  30 passed, 10 failed  1.0/s, 16 s left"]
    );
}

#[test]
fn narrow_progress_bars_have_fewer_parts() {
    let counts = Counts { passed: 40, failed: 2, error: 1, ..Counts::default() };
    let many = Counts { passed: 81_000, failed: 1_200, flaky: 7, ..Counts::default() };
    let bars = [40, 60, 80, 200].map(|columns| {
        let lines = |counts: &Counts, planned, before, oldest| {
            let elapsed = Duration::from_secs(75);
            let until_newest = elapsed;
            let new = (counts.done() - before) as u32;
            let per_trial = elapsed.checked_div(new);
            let done = Done { planned, before, until_newest, per_trial, ..done(counts, elapsed) };
            let oldest = Option::map(oldest, str::to_owned);
            bar_lines(columns, None, done, "; more wait for memory", oldest).join("\n")
        };
        let few = lines(&counts, 85, 0, Some("SLOW 12 s a@p#1; key"));
        // A resumed run has no rate before its first result.
        let resumed = lines(&counts, 85, 43, None);
        format!("== {columns}\n{few}\n{resumed}\n{}\n", lines(&many, 100_000, 0, None))
    });
    assert_snapshot!(bars.concat(), @r"
    == 40
    1:15 43/85  ✓ 40  ✗ 3  0.6/s, 74 s left
    more wait for memory
    SLOW 12 s a@p#1; key
    1:15 ━━━━━━━━───────── 43/85  ✓ 40  ✗ 3
    more wait for memory
    1:15 82,200/100,000  ✓ 81,000  ✗ 1,200  1,096/s, 17 s left
    more wait for memory
    == 60
    1:15 ━━━━━━━━━────────── 43/85  ✓ 40  ✗ 3  0.6/s, 74 s left
    more wait for memory
    SLOW 12 s a@p#1; key
    1:15 ━━━━━━━━━───────── 43/85  40 passed, 2 failed, 1 error
    more wait for memory
    1:15 82,200/100,000  ✓ 81,000  ✗ 1,200  1,096/s, 17 s left
    more wait for memory
    == 80
    1:15 ━━━━━━━━━━────────── 43/85  40 passed, 2 failed, 1 error  0.6/s, 74 s left
    more wait for memory
    SLOW 12 s a@p#1; key
    1:15 ━━━━━━━━━━━━──────────── 43/85  40 passed, 2 failed, 1 error
    more wait for memory
    1:15 ━━━━━━━━━━━━━━━━──── 82,200/100,000  ✓ 81,000  ✗ 1,200  1,096/s, 17 s left
    more wait for memory
    == 200
    1:15 ━━━━━━━━━━━━──────────── 43/85  40 passed, 2 failed, 1 error  0.6/s, 74 s left
    more wait for memory
    SLOW 12 s a@p#1; key
    1:15 ━━━━━━━━━━━━──────────── 43/85  40 passed, 2 failed, 1 error
    more wait for memory
    1:15 ━━━━━━━━━━━━━━━━━━━───── 82,200/100,000  81,000 passed, 1,200 failed, 7 flaky  1,096/s, 17 s left
    more wait for memory
    ");
}

#[test]
fn outputs_that_wait_for_graders_are_executed() {
    let counts = Counts { passed: 15, failed: 2, ungraded: 3, ..Counts::default() };
    let bars = [60, 80, 200].map(|columns| {
        let elapsed = Duration::from_secs(75);
        let (counts, until_newest) = (&counts, elapsed);
        let per_trial = elapsed.checked_div(17);
        let done = Done { planned: 20, until_newest, per_trial, ..done(counts, elapsed) };
        bar_lines(columns, None, done, "", None).concat()
    });
    let run = run(&json!({
        "status": "incomplete", "verdict": "none", "reason": "interrupted", "signal": "SIGINT",
        "counts": {
            "planned": 20, "passed": 15, "failed": 2, "error": 0, "timeout": 0, "skipped": 0,
            "flaky": 0, "ungraded": 3,
        },
    }));
    let line = summary::line(&run, Duration::from_millis(4_200));
    let list = RunList { v: 1, runs: vec![run], unreadable: Vec::new() };
    let table = list::table(&list, false, Some(80));
    let table = plain(&table);
    let cell = table.lines().nth(1).unwrap();
    assert!(cell.contains(" 17/20 (3 ungraded) "), "{table}");
    assert_snapshot!(format!("{}\n{}", bars.join("\n"), at_widths(|_| line.clone())), @r"
    1:15 ━━━━━━── 20/20, 17 graded  ✓ 15  ✗ 2  0.2/s, 14 s left
    1:15 ━━━━━━━━━━━━━━━─── 20/20, 17 graded  15 passed, 2 failed  0.2/s, 14 s left
    1:15 ━━━━━━━━━━━━━━━━━━━━──── 20/20, 17 graded  15 passed, 2 failed  0.2/s, 14 s left
    == 60
    ◐ incomplete (SIGINT): 20 of 20 executed, 17 graded
      (15 passed, 2 failed) in 4.2 s; exit code 130
    == 80
    ◐ incomplete (SIGINT): 20 of 20 executed, 17 graded (15 passed, 2 failed) in
      4.2 s; exit code 130
    == 200
    ◐ incomplete (SIGINT): 20 of 20 executed, 17 graded (15 passed, 2 failed) in 4.2 s; exit code 130
    ");
}

#[test]
fn time_left_falls_between_two_completions() {
    let counts = Counts { passed: 40, ..Counts::default() };
    let left = |elapsed: u64| {
        let [elapsed, until_newest] = [elapsed, 10].map(Duration::from_secs);
        let counts = &counts;
        let per_trial = until_newest.checked_div(40);
        let done = Done { planned: 60, until_newest, per_trial, ..done(counts, elapsed) };
        bar_lines(200, None, done, "", None).concat().split("passed  ").nth(1).unwrap().to_owned()
    };
    assert_eq!([10, 12, 14].map(left), ["4.0/s, 5 s left", "3.3/s, 3 s left", "2.9/s, 1 s left"]);
    assert_eq!(left(16), "2.5/s");
}

#[test]
fn time_left_follows_recent_trials() {
    let millis = Duration::from_millis;
    let mut pace = Pace::default();
    pace.add(0, millis(0));
    assert_eq!(pace.per_trial(2, millis(0)), None);
    (1..=8).for_each(|tenth| pace.add(6 * tenth, millis(100 * tenth)));
    assert_eq!(pace.per_trial(2, millis(100)), Some(millis(800) / 48));
    // The attempts that run now take longer than those that are done.
    assert_eq!(pace.per_trial(2, millis(2_100)), None);
    (1..20).for_each(|second| pace.add(48 + second, millis(800 + 1_000 * second)));
    assert_eq!(pace.per_trial(2, millis(2_100)), Some(millis(1_000)));
}

#[test]
fn slowest_attempts_are_named() {
    let now = now();
    let attempt = |id: &str, ms: u64| {
        let since = Time::from_millis(now.as_millis() - ms as i64);
        json!({"trial": id, "attempt": 1, "ms": ms, "phase": "computing", "since": since})
    };
    let ages = [62_000, 30_000, 12_400, 11_000, 900];
    let attempts = ages.iter().zip('a'..).map(|(ms, id)| attempt(&format!("{id}@p#1"), *ms));
    let attempts: Vec<InFlight> = serde_json::from_value(attempts.collect()).unwrap();
    assert_eq!(slow(&attempts, now), ["SLOW 62 s a@p#1", "SLOW 30 s b@p#1", "SLOW 12 s c@p#1"]);
    assert!(slow(&attempts[4..], now).is_empty());
    let oldest_of = |in_flight| oldest(&Live { at: now, in_flight, ..Live::default() }, 34);
    assert_eq!(oldest_of(attempts[4..].to_vec()), None);
    let quicker: Vec<InFlight> =
        serde_json::from_value(json!([attempt("a@p#1", 900), attempt("b@p#1", 3_900)])).unwrap();
    assert_eq!(oldest_of(quicker).unwrap(), "running 3 s: b@p#1");
    let mut graded = attempts[..1].to_vec();
    graded[0].grader = Some("judge".to_owned());
    assert_eq!(slow(&graded, now), ["SLOW 62 s a@p#1 judged by judge"]);
    assert_eq!(oldest_of(attempts[2..].to_vec()).unwrap(), "SLOW 12 s c@p#1, SLOW 11 s d@p#1");
    // The provider of a trial with a long name stays, and names without room are left out.
    let mut long = attempts;
    long[0].trial = TrialId::parse("carts/a-cart-with-a-very-long-name@model#1").unwrap();
    assert_eq!(oldest_of(long).unwrap(), "SLOW 62 s carts/…long-name@model#1");
}

#[test]
fn bars_count_retries_and_name_runs_of_groups() {
    let counts = Counts { passed: 3, ..Counts::default() };
    let bar = |columns| {
        let elapsed = Duration::from_secs(1);
        let done = Done { planned: 12, retried: 6, ..done(&counts, elapsed) };
        bar_lines(columns, Some("a (2/3)"), done, "", None).concat()
    };
    assert_eq!(bar(80), "a (2/3) 0:01 ━━━━━━────────────────── 3/12  3 passed, 6 to retry");
    assert_eq!(bar(40), "a (2/3) 0:01 3/12  ✓ 3  6 to retry");
}

#[test]
fn help_lists_all_commands() {
    // As without a terminal, whose width clap would use.
    let mut program = with_grouped_help(Cli::command()).term_width(100);
    let names: Vec<_> =
        program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let help = program.render_help().to_string();
    for name in names {
        assert!(help.contains(&format!("\n  {name} ")), "{name} is in no group");
    }
    assert_snapshot!(help, @r"
    Runs tests of TOML scenarios on sandboxed WASM providers

    Usage: runner [OPTIONS] <COMMAND>

    Start:
      init         Write a first scenario that runs as it is
      validate     Check scenarios with their test lists, inputs and configurations

    Run:
      exec         Run a scenario
      resume       Continue a run that was cut short
      rescore      Judge the stored outputs of a run again
      accept       Accept the outputs of a run as expectations
      known        Print the known failures of a run, or update their lists
      merge        Make one run of the shards of a plan

    Inspect:
      list         List the runs, newest first
      show         Show a run, or one of its trials
      report       Write a report of a run
      compare      Compare two runs, or two providers
      history      Show results of tests over the runs of a scenario
      logs         Print the logs, standard output and standard error of attempts
      serve        Show the runs in a browser, and answer programs over HTTP

    Control:
      stop         Stop a run; `resume` continues it
      cancel       Stop a run for good; only `resume --force` continues it
      pause        Pause a run
      unpause      Continue a paused run
      wait         Wait until runs have ended, and exit with their exit code
      queue        List active runs and the queue, or change the queue
      label        Set or remove labels of a run, also while it is running

    Use several machines:
      worker       Run attempts for runs on other machines, until Ctrl-C
      broker       Check the NATS server that connects workers

    Write providers:
      plugin       Write, build and try plugins

    Maintain:
      verify       Check the files of a run for damage
      cleanup      Update the status of runs whose process died
      notify       Send the notifications that were not delivered
      trust        Allow settings, requests and runs that others made, after showing them
      prune        Delete old runs
      pin          Protect a run from `prune`
      unpin        Allow `prune` to delete a run again
      reindex      Rebuild `runner.db`, the index of the runs

    Help:
      help         Print the help of a command
      schema       Print the JSON Schema of a file or of `--json`
      completions  Print completions of commands, flags and runs for a shell
      man          Print the manual page of a command, or write all pages

    Options:
          --color <WHEN>  Use colours: auto, always or never [default: auto]
      -h, --help          Print help
      -V, --version       Print version

    `runner help COMMAND` prints a command's arguments and examples.
    ");
}
