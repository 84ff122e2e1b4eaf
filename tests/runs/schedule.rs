//! When trials run: concurrency, rates, memory, limits, giving up.
//!
//! Of time only lower bounds and overlaps are asserted: a busy machine may take as long as it likes.

use serde_json::json;

use crate::support::{
    peak::measured,
    runner::{Run, Runner, tests},
    spans::{most_at_once, spans},
};

#[test]
fn a_limit_of_the_command_line_is_a_ceiling_for_every_provider() {
    let runner = Runner::hostile(&tests(r#"grow | { do = "grow-memory", count = 20 } |"#));
    runner.exec(&[]).expect(0);
    runner
        .exec(&["--limit", "memory=8MiB", "--limit", "reply=1KiB"])
        .expect(1);
    let run = &runner.runs()[1];
    let error = &run.row("grow")["error"];
    assert_eq!(error["class"], "out-of-memory");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("`limits.memory` is 8.0 MiB"),
        "{error}"
    );
    let limits = &run.manifest()["providers"][0]["limits"];
    assert_eq!(
        (&limits["memory"], &limits["reply"]),
        (&json!(8 << 20), &json!(1024))
    );
    assert_eq!(
        run.manifest()["options"]["limits"],
        json!(["memory=8MiB", "reply=1KiB"])
    );

    // A ceiling never raises.
    runner.exec(&["--limit", "memory=2GiB"]).expect(0);
    assert_eq!(
        runner.runs()[2].manifest()["providers"][0]["limits"]["memory"],
        256 << 20
    );
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
        assert!(
            rows.iter()
                .all(|row| row["outcome"] == "failed" && row["final"] == true)
        );
        assert!(rows.len() >= bad, "{args:?}: {}", rows.len());
        // What had begun on the other executor is finished; nothing is begun afterwards.
        assert!(rows.len() <= bad + 1, "{args:?}: {}", rows.len());
        assert_eq!(run.manifest()["counts"]["failed"], rows.len());
    }
}

#[test]
fn what_lies_ready_is_not_begun_once_a_run_gives_up() {
    // They are short, so that many would lie ready.
    let runner = Runner::hostile(
        "[run]\nfail_fast = 3\n[[tests]]\nid = \"a\"\nrepeat = 20\ninput = { do = \"echo\" }\nexpect = { equals = 1 }\n",
    );
    for _ in 0..5 {
        let ran = runner.exec(&["-j", "2", "--json"]).expect(4);
        let run = runner.runs().pop().unwrap();
        let rows = run.rows().len();
        assert!((3..=4).contains(&rows), "{rows}");
        let events = ran.events();
        let stopping = events.iter().find(|event| event["event"] == "stopping");
        // Begun, and not only assigned.
        assert!(stopping.unwrap()["in_flight"].as_u64().unwrap() <= 1);
    }
}

#[test]
fn a_fail_fast_can_be_switched_off_and_that_stays_so() {
    let runner = Runner::hostile(
        "[run]\nfail_fast = true\n[[tests]]\nid = \"a\"\nrepeat = 6\ninput = { do = \"echo\" }\nexpect = { equals = 1 }\n",
    );
    runner.exec(&["-j", "1"]).expect(4);
    assert_eq!(runner.runs().pop().unwrap().rows().len(), 1);
    for off in ["--fail-fast=0", "--fail-fast=off", "--fail-fast=1.0"] {
        runner.exec(&["-j", "1", off]).expect(1);
        let run = runner.runs().pop().unwrap();
        assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    }
    // Stored with the run, where no later session asks for anything else.
    let run = |args: &[&str]| {
        fs_err::remove_dir_all(runner.path("results")).unwrap();
        runner.exec(&["-j", "1"]).expect(4);
        runner.run(&[&["resume"], args].concat())
    };
    run(&["--fail-fast=off"]).expect(1);
    assert_eq!(
        runner.only_run().manifest()["options"]["fail_fast"],
        json!(false)
    );
    run(&["--fail-fast=2"]).expect(4);
    runner.run(&["resume", "--fail-fast=off"]).expect(1);
    assert_eq!(runner.only_run().rows().len(), 6);
}

#[test]
fn an_attempt_that_ends_while_the_run_gives_up_leaves_its_retries_to_be_done() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "late"
        input = { do = "loop" }
        timeout = "1s"
        retries = { max = 2, on = ["timeout"] }
        [[tests]]
        id = "bad"
        input = { do = "trap" }
        "#,
    );
    runner.exec(&["-j", "2", "--fail-fast"]).expect(4);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "fail-fast", "", "failed"]);
    let rows = run.rows();
    let told: Vec<_> = rows
        .iter()
        .map(|row| [&row["test"], &row["outcome"], &row["final"]])
        .collect();
    assert_eq!(
        json!(told),
        json!([["bad", "error", true], ["late", "timeout", false]])
    );
    let counts = &run.manifest()["counts"];
    assert_eq!(
        (&counts["error"], &counts["timeout"]),
        (&json!(1), &json!(0))
    );
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
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 8\ninput = { do = \"sleep\", ms = 150 }\n",
    );
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
    assert!(whole >= 4.0 * 50.0, "{whole} ms");
}

/// A run of a provider whose attempts may take 256 MiB, eight at a time in a memory for one: first eight that show how little
/// they hold, then those of `test`.
fn scarce(test: &str) -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        r#"
        [run]
        concurrency = 8
        memory = "300MiB"
        [providers.p]
        plugin = "hostile.wasm"
        [[tests]]
        id = "first"
        repeat = 8
        input = {{ do = "echo" }}
        [[tests]]
        id = "then"
        repeat = 8
        {test}
        "#
    ));
    runner
}

#[test]
fn attempts_that_hold_little_do_not_wait_for_what_they_may_have() {
    let runner = scarce(r#"input = { do = "sleep", ms = 2000 }"#);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let rows = run.rows();
    let of = |test: &str| {
        let rows = rows.iter().filter(|row| row["test"] == test);
        most_at_once(&spans(rows))
    };
    // Nothing was known of the first; of the others the last to begin is still one of eight.
    assert!(of("first") <= 1, "{}", of("first"));
    assert!(of("then") > 4, "{}", of("then"));
}

#[test]
fn growth_beyond_what_others_have_held_waits_and_is_not_denied() {
    const MIB: u64 = 1024 * 1024;
    let runner = scarce("input = { do = \"grow-memory\", count = 150 }");
    let (ran, peak) = measured(runner.command(&["exec", "scenario.toml"]));
    ran.expect(0);
    // Each of the eight has held 150 MiB, and all of them together never more than they may.
    assert!(peak < 300 * MIB + 128 * MIB, "{peak}");
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
            input = {{ do = "sleep", ms = 400 }}
            "#
        )
    };
    let runner = Runner::new(&["hostile"]);
    for memory in ["5GiB", "6GiB"] {
        runner.scenario(&scenario(memory));
        let ran = runner.exec(&["--json"]).expect(0);
        // One after the other they take longer than it takes until events tell how far it is.
        let waits = r#""waits_for_memory":true"#;
        assert!(
            memory == "6GiB" || ran.stdout.contains(waits),
            "{}",
            ran.stdout
        );
        let log = runner.run(&["logs", "latest", "--runner"]).expect(0).stdout;
        assert!(log.contains("attempts run at a time: "), "{log}");
    }
    let most = |run: &Run| most_at_once(&spans(&run.rows()));
    assert_eq!(runner.runs().iter().map(most).collect::<Vec<_>>(), [1, 2]);

    runner.scenario(&scenario("2GiB"));
    let ran = runner.exec(&[]).expect(2);
    ran.says(&[
        "provider `large` would never fit into this memory",
        "memory = \"2GiB\"",
        "its limit is 3.0 GiB",
    ]);

    // Without `memory` it is the machine's that an attempt must fit into.
    runner.scenario(
        &scenario("200TiB")
            .replace("memory = \"200TiB\"", "")
            .replace("3GiB", "100TiB"),
    );
    let ran = runner.exec(&[]).expect(2);
    ran.says(&["provider `large`: its `limits.memory` of 100.0 TiB is more than all attempts may take together"]);
    assert_eq!(runner.runs().len(), 2);
}
