//! Number of attempts of a trial.

use serde_json::{Value, json};

use crate::support::{runner::Runner, truth::assert_told_truly};

fn told(rows: &[Value]) -> Value {
    rows.iter()
        .map(|row| json!([row["attempt"], row["final"], row["outcome"], row["flaky"]]))
        .collect()
}

#[test]
fn passed_retry_makes_trial_flaky() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"late\"\ninput = { do = \"fail-until\", attempt = 3 }\nretries = { max = 5 }\n",
    );
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let expected =
        json!([[1, false, "error", null], [2, false, "error", null], [3, true, "passed", true]]);
    assert_eq!(told(&run.rows_of("late")), expected);
    assert_eq!((run.count("passed"), run.count("flaky"), run.count("error")), (1, 1, 0));
    assert_told_truly(&runner);
}

#[test]
fn used_up_retries_leave_the_error() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"never\"\ninput = { do = \"error\", kind = \"unavailable\", code = \"E1\" }\nretries = { max = 2 }\n",
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let expected =
        json!([[1, false, "error", null], [2, false, "error", null], [3, true, "error", null]]);
    assert_eq!(told(&run.rows_of("never")), expected);
    assert_eq!(run.count("error"), 1);
}

#[test]
fn other_errors_are_not_retried() {
    let runner = Runner::hostile(
        r#"
        [defaults]
        retries = { max = 2 }
        [[tests]]
        id = "denied"
        input = { do = "error", kind = "denied" }
        [[tests]]
        id = "trap"
        input = { do = "trap" }
        [[tests]]
        id = "failed"
        input = { do = "echo", value = 1 }
        expect = { equals = 2 }
        [[tests]]
        id = "expected"
        input = { do = "error", kind = "unavailable" }
        expect = { error = "unavailable" }
        [[tests]]
        id = "limited"
        input = { do = "error", kind = "rate-limited" }
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    for (test, attempts) in
        [("denied", 1), ("trap", 1), ("failed", 1), ("expected", 1), ("limited", 3)]
    {
        assert_eq!(run.rows_of(test).len(), attempts, "{test}");
    }
    assert_eq!(run.row("expected")["outcome"], "passed");
}
