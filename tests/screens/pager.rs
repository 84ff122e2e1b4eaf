//! Long output goes through a pager on a terminal, and nowhere else.

use crate::support::{
    runner::{CommandExt as _, Runner, tests},
    terminal::{Screen, on_terminal},
};

fn finished() -> Runner {
    let runner = Runner::hostile(&tests(r#"one | { do = "echo", value = 1 } | equals = 1"#));
    runner.exec(&[]).expect(0);
    runner
}

/// Shows the run on a terminal with this pager.
fn paged(runner: &Runner, pager: &str, args: &[&str]) -> Screen {
    let mut command = runner.command(&[&["show"], args].concat());
    command.env("PAGER", pager);
    on_terminal(command, 80).finish()
}

#[test]
fn a_terminal_shows_it_in_the_pager() {
    let runner = finished();
    let shown = paged(&runner, "sed 's/^/| /'", &[]).expect(0);
    let runs = shown.text.lines().filter(|line| !line.is_empty());
    assert!(runs.clone().count() > 3, "{}", shown.text);
    assert!(
        runs.clone().all(|line| line.starts_with("| ")),
        "{}",
        shown.text
    );
    // As git has it: `less` ends by itself where everything fits.
    let environment = paged(&runner, "echo LESS=$LESS; cat > /dev/null", &[]).expect(0);
    assert_eq!(environment.text.trim(), "LESS=FRX");
}

#[test]
fn without_a_terminal_or_with_no_pager_it_is_printed() {
    let runner = finished();
    for args in [&["--no-pager"][..], &["--json"]] {
        let shown = paged(&runner, "sed 's/^/| /'", args).expect(0);
        assert!(!shown.text.contains("| "), "{}", shown.text);
    }
    let mut piped = runner.command(&["show"]);
    piped.env("PAGER", "sed 's/^/| /'");
    let ran = piped.run().expect(0);
    assert!(!ran.stdout.contains("| "), "{}", ran.stdout);
}

#[test]
fn a_pager_that_cannot_start_or_ends_early_is_no_error() {
    let runner = finished();
    let shown = paged(&runner, "no-such-pager", &[]).expect(0);
    shown.says(&["✓ passed: 1 of 1"]);
    paged(&runner, "true", &[]).expect(0);
    let first = paged(&runner, "head -n 1", &[]).expect(0);
    assert_eq!(first.text.trim().lines().count(), 1, "{}", first.text);
    // A trial that is not there is told, and no pager is started for nothing.
    let none = paged(&runner, "echo started; cat", &["latest", "nothing"]).expect(5);
    assert!(!none.text.contains("started"), "{}", none.text);
}
