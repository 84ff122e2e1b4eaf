//! Colours, and that everything fits where it is shown.

use anstream::adapter::strip_str;
use unicode_width::UnicodeWidthStr as _;

use super::{interrupted, show, three};
use crate::support::runner::{Runner, tests};

const WIDTHS: [u16; 3] = [60, 80, 120];

#[test]
fn colours_tell_passed_failed_open_and_dropped_apart() {
    let runner = three();
    let exec = |args: &[&str]| show(&runner, 100, &[&["exec", "scenario.toml"], args].concat());
    let passed = exec(&["--test", "pass"]).expect(0);
    assert!(
        passed
            .coloured
            .contains("\u{1b}[32m✓ passed: 1 of 1\u{1b}[39m"),
        "{}",
        passed.coloured
    );
    let failed = exec(&["--test", "fail"]).expect(1);
    assert!(
        failed
            .coloured
            .contains("\u{1b}[31m✗ failed: 1 of 1\u{1b}[39m"),
        "{}",
        failed.coloured
    );
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    runner.run(&["cancel", "latest"]).expect(0);

    let listed = show(&runner, 100, &["list"]).expect(0);
    for cell in [
        "\u{1b}[38;5;208m⊘ cancelled\u{1b}[39m",
        "\u{1b}[33m◐ incomplete\u{1b}[39m",
        "\u{1b}[31m✗ 1 failed\u{1b}[39m",
        "\u{1b}[32m✓ passed\u{1b}[39m",
        "● completed  ",
    ] {
        assert!(
            listed.coloured.contains(cell),
            "{cell:?}\n{}",
            listed.coloured
        );
    }
}

#[test]
fn nothing_is_wider_than_the_terminal() {
    let runner = three();
    runner.exec(&["--exclude", "endless"]).expect(1);
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["event"] == "row");
    live.kill();
    let first = runner.ids().remove(0);
    for columns in WIDTHS {
        for (args, code) in [
            (&["list"][..], 0),
            (&["show"], 0),
            (&["show", "--failed"], 0),
            (&["show", "--history"], 0),
            (&["logs"], 0),
            (&["compare", &first, "latest"], 0),
            (&["history"], 0),
            (&["cleanup"], 0),
            (&["prune", "--keep-last", "0"], 0),
            (&["exec", "scenario.toml", "--exclude", "endless"], 1),
            (&["exec", "scenario.toml", "--dry-run"], 0),
            (&["exec", "missing.toml"], 2),
            (&["resume", "--from", "nothing"], 2),
            (&["stop"], 2),
            (&["show", "nothing"], 2),
            (&["validate", "scenario.toml"], 0),
        ] {
            show(&runner, columns, args).expect(code).fits();
        }
    }
}

#[test]
fn the_queue_shows_since_when_requests_wait_however_narrow_it_is() {
    let runner = three();
    runner
        .run(&["exec", "--queue", "scenario.toml"])
        .expect(0)
        .says(&["runner queue"]);
    let since = regex::Regex::new(r"\d\d-\d\d \d\d:\d\d").unwrap();
    for columns in WIDTHS {
        let screen = show(&runner, columns, &["queue"]).expect(0);
        assert!(since.is_match(&screen.fits().text), "{}", screen.text);
    }
}

#[test]
fn the_bar_fits_however_often_it_is_drawn() {
    let runner = Runner::hostile(&tests(
        r#"
        first | { do = "echo", value = 1 } |
        long-name-of-a-trial-that-takes-its-time | { do = "sleep", ms = 1500 } |
        "#,
    ));
    for columns in WIDTHS {
        let screen = show(&runner, columns, &["exec", "scenario.toml", "-j", "1"]).expect(0);
        let drawn: Vec<_> = screen.coloured.split(['\r', '\n']).collect();
        let drawn: Vec<_> = drawn
            .iter()
            .map(|line| strip_str(line).to_string())
            .collect();
        let is_bar = |line: &String| line.contains(" 1/2  1 passed") && line.contains(" left");
        assert!(drawn.iter().any(is_bar), "{columns}: {drawn:#?}");
        // A second line follows a first one that is filled up with blanks.
        for line in drawn.iter().filter(|line| line.contains("/2")) {
            let columns = usize::from(columns);
            let below: String = line.chars().skip(columns).collect();
            let is_message = |text: &str| text.starts_with("longest") || text.starts_with("compil");
            assert!(line.width() <= 2 * columns, "{columns}: {line:?}");
            assert!(
                below.trim().is_empty() || is_message(&below),
                "{columns}: {line:?}"
            );
        }
    }
}
