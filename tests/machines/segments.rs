//! Long lists of tests, of which workers fetch the segments that their attempts need.

use std::fmt::Write as _;

use crate::{
    nats::{Engine, assert_whole, end, exec, has_joined, worker, workers_of},
    support::{
        runner::Runner,
        truth::{assert_same_end, canonical},
        wait::wait_until,
    },
};

/// As many as make three segments.
const TESTS: usize = 10_000;
/// One that fails, in the second segment.
const FAILS: usize = 5_000;

/// A run with a long list, and behind it a test whose schema is needed to read any of them.
fn of_a_long_list() -> Runner {
    let mut list = "id,want\n".to_owned();
    for test in 0..TESTS {
        let want = match test {
            FAILS => "something else",
            _ => "said",
        };
        writeln!(list, "t{test},{want}").unwrap();
    }
    let runner = Runner::hostile(
        r#"
[[test_lists]]
files = ["long.csv"]
id = "long/{{row.id}}"
input = { do = "echo", value = "said" }
expect = { equals = "{{row.want}}" }

[[test_lists]]
files = ["short.csv"]
id = "short/{{row.id}}"
input = { do = "echo", value = "said" }
expect = { schema = "said.json" }
"#,
    );
    runner.write("long.csv", list);
    runner.write("short.csv", "id\nvalid\n");
    runner.write("said.json", r#"{"const": "said"}"#);
    runner
}

#[test]
fn a_worker_fetches_of_a_long_list_what_its_attempts_need() {
    let runner = of_a_long_list();
    runner.exec(&[]).expect(1);
    let engine = Engine::start();
    let only = worker(&runner, &engine, "only", &[]);
    let url = engine.url();
    let again = ["resume", "--rerun", "failed", "--engine", &url];
    runner.run(&again).expect(1);
    assert_eq!(workers_of(&runner.only_run()), ["here", "only"]);
    end(only);
    let checked = runner.run(&["engine", "check", "--json", &url]).expect(0);
    let checked = checked.document();
    // The plugin, what the run has stored of itself, the segment with the test, and that with the schema.
    assert_eq!(checked["blobs"], 4, "{checked:#}");
}

#[test]
fn a_long_list_comes_to_one_result_wherever_its_attempts_are_made() {
    let runner = of_a_long_list();
    runner.exec(&[]).expect(1);
    let expected = canonical(&runner.only_run());
    assert_eq!(expected.len(), TESTS + 1);
    fs_err::rename(runner.path("results"), runner.path("alone")).unwrap();

    let mut engine = Engine::start();
    let first = worker(&runner, &engine, "first", &[]);
    let live = exec(&runner, &engine, &[]);
    wait_until("there is a worker", || has_joined(&runner, "first"));
    // What was fetched already is of no use to the second worker, which asks for it again.
    engine.kill();
    engine.wipe();
    engine.start_again();
    let second = worker(&runner, &engine, "second", &[]);
    live.finish().expect(1);
    assert_whole(&runner, TESTS + 1);
    assert_same_end(&runner.only_run(), &expected);
    end(first);
    end(second);
}
