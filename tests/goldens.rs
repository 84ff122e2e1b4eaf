//! Every report of runs that never change, as files in `tests/goldens`; `UPDATE=1` writes them. And runs that came about
//! in other ways, whose reports tell the same.

use std::path::Path;

use regex::Regex;
use serde_json::Value;

use crate::support::{
    masks::masked,
    runner::{Runner, tests},
};

const FORMS: [&str; 5] = ["html", "junit", "markdown", "csv", "jsonl"];

/// Runs that version 0.1.0 has left: every outcome with a retry and repeats, a partial one, and one that was gone on with
/// after its scenario had changed.
const GOLDENS: [(&str, &str); 3] = [
    ("every-outcome", "failed"),
    ("partial", "interrupted"),
    ("changed", "changed"),
];

fn report(runner: &Runner, results: &str, run: &str, form: &str) -> String {
    let args = ["report", run, "--results", results, &format!("--{form}")];
    runner.run(&args).expect(0).stdout
}

/// What is the same in every page stands once in the sources.
fn without_own_style_and_script(page: &str) -> String {
    let own = Regex::new("(?s)(<style>|<script>).*?(</style>|</script>)|sha256-[A-Za-z0-9+/=]+");
    own.unwrap().replace_all(page, "$1$2").into_owned()
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let to = to.join(entry.path().strip_prefix(from).unwrap());
        match entry.file_type().is_dir() {
            true => fs_err::create_dir_all(to).unwrap(),
            false => drop(fs_err::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn reports_of_runs_that_never_change_are_the_same_wherever_these_lie() {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/0.1.0");
    let names = fs_err::read_to_string(made.join("names.txt")).unwrap();
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let runner = Runner::new(&[]);
    for results in ["results", "elsewhere"] {
        copy(&made.join("results"), &runner.path(results));
    }
    // Nothing of it may be needed that is elsewhere in the root but contents.
    fs_err::remove_file(runner.path("elsewhere/runner.db")).unwrap();
    for (name, what) in GOLDENS {
        let mut ids = names.lines().filter_map(|line| line.split_once(' '));
        let (_, id) = ids.find(|(known, _)| *known == what).unwrap();
        for form in FORMS {
            let text = report(&runner, "results", id, form);
            assert!(
                text == report(&runner, "elsewhere", id, form),
                "{name} {form}"
            );
            let text = without_own_style_and_script(&text);
            let golden = goldens.join(format!("{name}.{form}"));
            if std::env::var_os("UPDATE").is_some() {
                fs_err::create_dir_all(&goldens).unwrap();
                fs_err::write(&golden, &text).unwrap();
            }
            let expected = fs_err::read_to_string(&golden).unwrap_or_default();
            assert!(
                expected == text,
                "{} is not what the report says now; `UPDATE=1 cargo test --test all -- goldens` writes it",
                golden.display()
            );
        }
    }
}

/// A report without what tells when and in how many sessions its run was made.
#[cfg(debug_assertions)]
fn timeless(form: &str, report: &str) -> String {
    let replaced = |text: &str, pattern: &str, with: &str| {
        let pattern = Regex::new(pattern).unwrap();
        pattern.replace_all(text, with).into_owned()
    };
    match form {
        "jsonl" => {
            let lines = report.lines().map(|line| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                for key in [
                    "run",
                    "manifest",
                    "created_at",
                    "completed_at",
                    "worked_ms",
                    "started_at",
                    "duration_ms",
                    "providers",
                ] {
                    line.as_object_mut().unwrap().remove(key);
                }
                format!("{line}\n")
            });
            lines.collect()
        }
        "csv" => replaced(report, r"\d{4}-\d\d-\d\dT[^,]*,[\d.]+,", "[began],[took],"),
        "junit" => replaced(report, r#"(time|timestamp)="[^"]*""#, "$1"),
        "html" => {
            let page = report.split("<h2>How it ran").next().unwrap();
            let page = replaced(page, r"(?s)<svg.*?</svg>", "[durations]");
            masked(&replaced(&page, r"\d{4}-\d\d-\d\dT[\d:.]+Z?", "[instant]"))
        }
        _ => masked(&replaced(report, r"\d{4}-\d\d-\d\dT[\d:.]+Z?", "[instant]")),
    }
}

/// With a trial for each outcome, one that passes with its second attempt, and repeats.
#[cfg(debug_assertions)]
fn scenario() -> Runner {
    let text = tests(
        r#"
        passes | { do = "echo", value = 1 } | equals = 1
        fails | { do = "echo", value = "one\ntwo" } | equals = "one\n2"
        breaks | { do = "error", kind = "internal", code = "E1", message = "it broke" } |
        waits | { do = "sleep", ms = 60 } |
        skips | { do = "verdict", verdict = "skip" } |
        recovers | { do = "fail-until", attempt = 2 } | equals = 2
        waits-again | { do = "sleep", ms = 60 } |
        says | { do = "say", text = "hello" } | equals = 0
        writes | { do = "artifact", name = "a.txt" } | equals = 0
        measures | { do = "measure", score = 0.5, tokens = 10 } |
        "#,
    );
    let retries = "[defaults]\nretries = { max = 1, backoff = \"1ms\", on = [\"unavailable\"] }\n";
    Runner::hostile(&format!("name = \"golden\"\n{retries}{text}"))
}

#[cfg(debug_assertions)]
#[test]
fn a_run_that_was_killed_and_gone_on_with_has_the_reports_of_one_that_was_not() {
    let straight = scenario();
    let args = ["exec", "scenario.toml", "--repeat", "2", "-j", "1"];
    straight.run(&args).expect(1);
    let expected = FORMS.map(|form| timeless(form, &report(&straight, "results", "latest", form)));
    for commit in [1, 2, 3] {
        let runner = scenario();
        let dying = runner.start_failing(&args, &format!("row.written@{commit}=kill"));
        dying.finish_killed();
        runner.run(&["resume"]).expect(1);
        for (form, expected) in FORMS.iter().zip(&expected) {
            let told = timeless(form, &report(&runner, "results", "latest", form));
            assert_same(form, expected, &told);
        }
    }
}

#[cfg(debug_assertions)]
#[track_caller]
fn assert_same(form: &str, expected: &str, told: &str) {
    let differing = expected.lines().zip(told.lines()).find(|(a, b)| a != b);
    assert!(expected == told, "{form}: {differing:#?}");
}
