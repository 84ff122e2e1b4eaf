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
            if form == "csv" {
                assert_the_same_by_all_of_each_row(&runner, id, &text);
            }
            assert_golden(name, form, &text);
        }
    }
}

/// With a filter all of each row is read, and without one only what CSV has cells for.
#[track_caller]
fn assert_the_same_by_all_of_each_row(runner: &Runner, run: &str, csv: &str) {
    let args = ["report", run, "--csv", "--filter", "provider(*)"];
    let ran = runner.run(&[&args[..], &["--results", "results"]].concat());
    assert_eq!(ran.expect(0).stdout, csv, "{run}");
}

/// A report is what its file in `tests/goldens` says.
#[track_caller]
fn assert_golden(name: &str, form: &str, text: &str) {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let golden = goldens.join(format!("{name}.{form}"));
    if std::env::var_os("UPDATE").is_some() {
        fs_err::create_dir_all(&goldens).unwrap();
        fs_err::write(&golden, text).unwrap();
    }
    let expected = fs_err::read_to_string(&golden).unwrap_or_default();
    assert!(
        expected == text,
        "{} is not what the report says now; `UPDATE=1 cargo test --test all -- goldens` writes it",
        golden.display()
    );
}

/// A report without what tells when and in how many sessions its run was made.
fn timeless(form: &str, report: &str) -> String {
    let replaced = |text: &str, pattern: &str, with: &str| {
        let pattern = Regex::new(pattern).unwrap();
        pattern.replace_all(text, with).into_owned()
    };
    // When records of logs came: as JSON, also within a text, and in a page as people read it.
    let quote = r#"(?:\\?"|&quot;)"#;
    let at = format!(r#"{quote}at{quote}:{quote}\d{{4}}-[\d:.T-]+Z{quote},"#);
    let report = &replaced(report, &at, "");
    let report = &replaced(report, r"\b\d\d:\d\d:\d\d\.\d{3}Z ", "");
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
                for list in ["grades", "graders"] {
                    let list = line.get_mut(list).and_then(Value::as_array_mut);
                    for said in list.into_iter().flatten() {
                        said.as_object_mut().unwrap().remove("duration_ms");
                    }
                }
                format!("{line}\n")
            });
            lines.collect()
        }
        "csv" => without_times(report),
        "junit" => masked(&replaced(report, r#"(time|timestamp)="[^"]*""#, "$1")),
        "html" => {
            let page = report.split("<h2>How it ran").next().unwrap();
            let page = replaced(page, r"(?s)<svg.*?</svg>", "[durations]");
            masked(&replaced(&page, r"\d{4}-\d\d-\d\dT[\d:.]+Z?", "[instant]"))
        }
        _ => masked(&replaced(report, r"\d{4}-\d\d-\d\dT[\d:.]+Z?", "[instant]")),
    }
}

/// A table without the columns that tell when, and for how long.
fn without_times(table: &str) -> String {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let names = reader.headers().unwrap().clone();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&names).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        let cells = names.iter().zip(&record);
        let cells = cells.map(|(name, cell)| match name {
            "started_at" => "[began]",
            name if name.ends_with("duration_ms") && !cell.is_empty() => "[took]",
            _ => cell,
        });
        writer.write_record(cells).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

/// What a browser, an XML parser, a spreadsheet, a terminal or a code host would do something with.
const HOSTILE: &str = "=HYPERLINK(1)</pre><script>alert(1)</script><img src=x onerror=alert(2)>]]>&amp;```\u{1b}[31m\u{1}@everyone";

/// With graders that let pass, refuse, give a score that is too low, an answer that is none, and words of which somebody else
/// might take some for theirs.
fn graded() -> Runner {
    let runner = Runner::new(&["echo", "hostile"]);
    let hostile = serde_json::to_string(HOSTILE).unwrap();
    runner.scenario(&format!(
        r#"
        name = "graded"
        [providers.echo]
        plugin = "echo.wasm"
        [graders.judge]
        plugin = "hostile.wasm"
        input = "{{{{output}}}}"
        retries = {{ max = 1, backoff = "1ms", on = ["unavailable"] }}
        [graders.word]
        plugin = "echo.wasm"
        input = {{ verdict = "pass", score = 0.75, explanation = "{{{{reference}}}} of {{{{provider}}}}" }}
        [[tests]]
        id = "good"
        input = {{ do = "measure", score = 0.9, tokens = 10 }}
        reference = "as good as that"
        expect = {{ graders = ["judge", "word"], min_score = 0.5 }}
        [[tests]]
        id = "low"
        input = {{ do = "measure", score = 0.25, tokens = 20 }}
        expect = {{ graders = ["judge"], min_score = 0.5 }}
        [[tests]]
        id = "refused"
        input = {{ do = "judge" }}
        expect = {{ graders = ["word", "judge"] }}
        [[tests]]
        id = "hostile"
        input = {{ do = "judge", text = {hostile} }}
        expect = {{ graders = ["judge"] }}
        [[tests]]
        id = "no-answer"
        input = {{ do = "fail-at" }}
        expect = {{ graders = ["judge", "word"] }}
        [[tests]]
        id = "not-held"
        input = {{ do = "judge" }}
        expect = {{ equals = 1, graders = ["judge"] }}
        "#
    ));
    runner
}

#[test]
fn what_graders_said_is_in_every_report_wherever_the_run_lies() {
    let runner = graded();
    runner.exec(&["-j", "1"]).expect(1);
    copy(&runner.path("results"), &runner.path("elsewhere"));
    fs_err::remove_file(runner.path("elsewhere/runner.db")).unwrap();
    for form in FORMS {
        let text = report(&runner, "results", "latest", form);
        if form == "csv" {
            assert_the_same_by_all_of_each_row(&runner, "latest", &text);
        }
        let moved = report(&runner, "elsewhere", "latest", form);
        assert!(text == moved, "{form}");
        let text = timeless(form, &text);
        let text = without_own_style_and_script(&text);
        assert!(form != "html" || !text.contains("<img"), "{text}");
        assert_golden("graded", form, &text);
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_graded_run_that_was_killed_and_gone_on_with_has_the_reports_of_one_that_was_not() {
    let args = ["exec", "scenario.toml", "-j", "1"];
    for commit in 1..=6 {
        let runner = graded();
        let dying = runner.start_failing(&args, &format!("row.written@{commit}=kill"));
        // How many commits it takes nobody can say.
        if let (_, Some(9)) = dying.wait() {
            runner.run(&["resume", "--from", "latest"]).expect(1);
        }
        for form in FORMS {
            let told = timeless(form, &report(&runner, "results", "latest", form));
            let told = without_own_style_and_script(&told);
            let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
            let golden = golden.join(format!("graded.{form}"));
            assert_same(form, &fs_err::read_to_string(golden).unwrap(), &told);
        }
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
