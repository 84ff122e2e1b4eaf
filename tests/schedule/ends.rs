//! Early ends of a session: bad trials and budgets.

use super::two_providers;
use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{run::Run, runner::Runner, truth::assert_consistent};

const FAILING: &str = r#"
    [run]
    fail_fast = 2
    [defaults]
    repeat = 5
    [[tests]]
    id = "good"
    input = { do = "echo", value = 1 }
    [[tests]]
    id = "bad"
    input = { do = "echo", value = 1 }
    expect = { equals = 2 }
    [[tests]]
    id = "rest"
    input = { do = "echo", value = 1 }
"#;

fn bad(run: &Run) -> u64 {
    run.count("failed")
}

#[test]
fn fail_fast_ends_session_and_resume_continues() {
    let runner = Runner::hostile(FAILING);
    let ran = runner.exec(&["-j", "1"]).expect(4);
    snapshot(&ran);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["incomplete", "fail-fast", "", "failed"]);
    assert_eq!((run.count("passed"), bad(&run)), (5, 2));
    assert_consistent(&runner);
    // A flag that is not given keeps its value. Each session counts for itself.
    runner.run(&["resume", "-j", "1"]).expect(4);
    assert_eq!(bad(&run), 4);
    runner.run(&["resume", "--fail-fast=3"]).expect(1);
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    assert_eq!(run.rows().len(), 15);
    assert_consistent(&runner);
}

#[test]
fn fail_fast_of_command_line_counts() {
    for (flag, code, failed) in [
        ("--fail-fast", 4, 1),
        ("--fail-fast=4", 4, 4),
        // The first count above a fifth of 15.
        ("--fail-fast=0.2", 4, 4),
        ("--fail-fast=off", 1, 5),
        ("--fail-fast=0", 1, 5),
    ] {
        let runner = Runner::hostile(FAILING);
        let ran = runner.exec(&["-j", "1", flag]).expect(code);
        if code == 4 {
            snapshot(&ran);
        }
        assert_eq!(bad(&runner.only_run()), failed, "{flag}");
    }
    let runner = Runner::hostile(FAILING);
    let says = "expected a count such as 3, a fraction such as 0.1, or `off`";
    runner.refused(&["--fail-fast=1.5"], &["--fail-fast", says]);
}

const MEASURING: &str = r#"
    [run.budget]
    metrics = { tokens = 100 }
    [[tests]]
    id = "a"
    input = { do = "measure", tokens = 30 }
    repeat = 10
"#;

#[test]
fn resume_needs_larger_budget() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile(MEASURING);
    runner.exec(&["-j", "1"]).expect(4);
    let run = runner.only_run();
    let before = run.manifest();
    transcript.run(&runner, &["resume"]).expect(2);
    assert_eq!(run.manifest(), before);
    runner.run(&["resume", "-j", "1", "--budget", "tokens=160"]).expect(4);
    assert_eq!(run.rows().len(), 6);
    // A flag that was given also holds for later sessions.
    transcript.run(&runner, &["resume"]).expect(2);
    runner.run(&["resume", "--budget", "tokens=off"]).expect(0);
    assert_eq!(run.ending()[0], "completed");
    assert_eq!(run.rows().len(), 10);
    transcript.check("resume_needs_larger_budget");
}

#[test]
fn own_budget_ends_provider_alone() {
    let runner = two_providers(
        "budget = { metrics = { tokens = 50 } }",
        r#"
        [[tests]]
        id = "a"
        input = { do = "measure", tokens = 30 }
        repeat = 10
        "#,
    );
    runner.exec(&["-j", "1"]).expect(4);
    let run = runner.only_run();
    assert_eq!(run.ending()[1], "budget");
    let rows = run.rows();
    let of = |provider: &str| rows.iter().filter(|row| row["provider"] == provider).count();
    assert_eq!((of("hostile"), of("other")), (2, 10));
    let refused = runner.run(&["resume"]).expect(2);
    snapshot(&refused);
    runner.run(&["resume", "--budget", "hostile:tokens=off"]).expect(0);
    assert_eq!(run.rows().len(), 20);
}

#[test]
fn unused_budgets_are_reported() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile(MEASURING);
    let ran = runner.exec(&["--budget", "tokens=off", "--budget", "tokns=5"]).expect(0);
    snapshot(&ran);
    // Of a metric that only some attempts have, a budget counts too little.
    let unmeasured = "[[tests]]\nid = \"b\"\ninput = { do = \"echo\" }\nrepeat = 2\n";
    let runner = Runner::hostile(&format!("{MEASURING}{unmeasured}"));
    let says = "2 of 12 attempts with an output did not measure `tokens`, and its budget counts only the others";
    runner.exec(&["--budget", "tokens=1000"]).expect(0).says(&[says]);
    let runner = Runner::hostile(MEASURING);
    transcript.refused(&runner, &["--budget", "nobody:tokens=5"]);
    transcript.refused(&runner, &["--budget", "tokens"]);
    transcript.check("unused_budgets_are_reported");
}
