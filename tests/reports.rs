//! `runner report`: every form, of whole and of partial runs, and of guests that would like to be more than data.

use quick_xml::{Reader, events::Event};
use serde_json::Value;

use crate::support::{
    endless,
    files::pipe,
    runner::{CommandExt as _, Runner, tests},
};

const FORMS: [&str; 5] = ["--html", "--junit", "--markdown", "--csv", "--jsonl"];

/// What a browser, an XML parser, a spreadsheet, a terminal or a code host would do something with.
const HOSTILE: &str = "=HYPERLINK(1)</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>]]>&amp;```\u{1b}[31m\u{1}@everyone";

/// A run with every outcome that a trial can have.
fn every_outcome() -> Runner {
    let runner = Runner::hostile(&tests(
        r#"
        passes | { do = "echo", value = 1 } | equals = 1
        fails | { do = "echo", value = "x" } | equals = "y"
        breaks | { do = "error", kind = "internal", code = "E1", message = "it broke" } |
        skips | { do = "verdict", verdict = "skip" } |
        "#,
    ));
    runner.exec(&["--repeat", "2"]).expect(1);
    runner
}

fn hostile() -> Runner {
    let text = serde_json::to_string(HOSTILE).unwrap();
    // TOML's basic strings have JSON's escapes.
    let runner = Runner::hostile(&tests(&format!(
        r#"
        fails | {{ do = "echo", value = {text} }} | equals = "y"
        breaks | {{ do = "error", kind = "internal", code = "E1", message = {text} }} |
        says | {{ do = "say", text = {text} }} | equals = "y"
        "#
    )));
    runner.exec(&[]).expect(1);
    runner
}

fn report(runner: &Runner, form: &str) -> String {
    runner.run(&["report", form]).expect(0).stdout
}

/// The texts and the values of attributes of an XML document, which must be well-formed.
fn texts_of_xml(xml: &str) -> Vec<String> {
    let mut reader = Reader::from_str(xml);
    let mut texts = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => return texts,
            Event::Start(start) | Event::Empty(start) => {
                for attribute in start.attributes() {
                    let value = attribute.unwrap().unescape_value().unwrap();
                    texts.push(format!(
                        "{} {value}",
                        String::from_utf8_lossy(start.name().as_ref())
                    ));
                }
            }
            Event::Text(text) => texts.push(text.decode().unwrap().into_owned()),
            _ => {}
        }
    }
}

#[test]
fn the_same_rows_give_the_same_bytes_wherever_they_are() {
    let runner = every_outcome();
    let all = || FORMS.map(|form| report(&runner, form));
    let first = all();
    assert!(first == all(), "the second time is another");

    runner.run(&["reindex"]).expect(0);
    fs_err::rename(runner.path("results"), runner.path("moved")).unwrap();
    let moved = FORMS.map(|form| {
        let args = ["report", form, "--results", "moved"];
        runner.run(&args).expect(0).stdout
    });
    assert!(first == moved, "elsewhere it is another");
}

#[test]
fn each_line_of_documents_is_what_the_schema_says_and_trials_are_in_the_plans_order() {
    let runner = every_outcome();
    let text = report(&runner, "--jsonl");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    runner.assert_valid("report", &lines);
    assert_eq!((lines.len(), &lines[0]["kind"]), (9, &"run".into()));
    let ordinals: Vec<u64> = lines[1..]
        .iter()
        .map(|line| line["ordinal"].as_u64().unwrap())
        .collect();
    assert_eq!(ordinals, (0..8).collect::<Vec<_>>());
    let provider = &lines[0]["providers"][0];
    assert_eq!(provider["pass_rate"], 2.0 / 6.0);
    assert_eq!(lines[3]["evidence"]["output"], "x");
}

#[test]
fn a_partial_run_has_a_report_that_names_what_has_not_run() {
    let runner = endless::endless();
    let running = endless::running(&runner);
    let planned = report(&runner, "--csv").lines().count();
    assert!(planned > 1, "a run that goes on has a report, too");
    running.end_by(rustix::process::Signal::INT);

    let csv = report(&runner, "--csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let outcomes: Vec<String> = reader
        .records()
        .map(|record| record.unwrap()[5].to_owned())
        .collect();
    assert_eq!(outcomes.len() + 1, planned);
    assert!(outcomes.iter().all(String::is_empty), "{outcomes:?}");
    let page = report(&runner, "--html");
    assert!(page.contains(": incomplete (interrupted)</title>"));
    assert!(page.contains("<td class=\"none\">not run</td>"));
    assert!(report(&runner, "--junit").contains("<skipped message=\"not run to its end\">"));
}

#[test]
fn what_a_guest_says_is_data_in_every_form() {
    let runner = hostile();
    let page = report(&runner, "--html");
    assert_eq!(page.matches("<script").count(), 1, "the page's own alone");
    assert!(!page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");

    let xml = report(&runner, "--junit");
    let said = HOSTILE.replace(['\u{1b}', '\u{1}'], "\u{fffd}");
    let texts = texts_of_xml(&xml);
    let error = format!("error {said}");
    assert!(texts.contains(&error), "{texts:#?}");

    let markdown = report(&runner, "--markdown");
    assert!(!markdown.contains(['\u{1b}', '\u{1}']));
    let fences = markdown.lines().filter(|line| line.starts_with("````"));
    assert!(fences.count() >= 2, "{markdown}");

    let csv = report(&runner, "--csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let messages: Vec<String> = reader
        .records()
        .map(|record| record.unwrap()[15].to_owned())
        .collect();
    assert!(messages.contains(&format!("'{HOSTILE}")), "{messages:?}");
}

#[test]
fn statistics_are_of_tests_and_know_that_their_repeats_are_alike() {
    let mut text = tests(
        r#"
        once | { do = "fail-at", repeat = 3 } |
        always | { do = "measure", score = 0.5, tokens = 10 } |
        never | { do = "measure", score = 0.25, tokens = 40 } | equals = 1
        "#,
    );
    text = text.replace("id = \"once\"", "id = \"once\"\ntags = [\"slow\"]");
    let runner = Runner::hostile(&text);
    runner.exec(&["--repeat", "4"]).expect(1);
    let head: Value =
        serde_json::from_str(report(&runner, "--jsonl").lines().next().unwrap()).unwrap();
    let groups = head["statistics"].as_array().unwrap();
    let [all, slow] = &groups[..] else {
        panic!("{groups:#?}")
    };
    assert_eq!((&all["tag"], &slow["tag"]), (&Value::Null, &"slow".into()));
    assert_eq!([&all["tests"], &all["trials"], &all["passed"]], [3, 12, 7]);
    // By `python3`, with the sums 3, 4 and 0 of 4 each:
    // `m = 7 / 12; print((3 / 2 * sum((s - 4 * m) ** 2 for s in (3, 4, 0))) ** 0.5 / 12)`.
    let is = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
    };
    is(&all["pass_rate"]["standard_error"], 0.300_462_606_288_665_8);
    // `from math import comb; print(1 - comb(1, 2) / comb(4, 2), comb(3, 2) / comb(4, 2))` and means with 1 and 0.
    let attempts = all["attempts"].as_array().unwrap();
    let sizes: Vec<_> = attempts
        .iter()
        .map(|several| several["k"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [1, 2, 3, 4]);
    is(&attempts[1]["any"], 2.0 / 3.0);
    is(&attempts[1]["all"], 0.5);
    is(&attempts[3]["all"], 1.0 / 3.0);
    is(&all["score"]["mean"], 0.375);
    is(&all["metrics"][0]["mean"], 25.0);
    is(&all["metrics"][0]["standard_error"], 15.0);
    assert_eq!(
        slow["pass_rate"]["standard_error"],
        Value::Null,
        "of one test nothing follows"
    );

    let page = report(&runner, "--html");
    assert!(page.contains("4 attempts: 66.7 % · 33.3 %"), "{page}");
    let markdown = report(&runner, "--markdown");
    let line =
        "hostile: of 4 attempts at a test, at least one passes with 66.7 %, all pass with 33.3 %";
    assert!(markdown.contains(line), "{markdown}");
}

#[test]
fn a_file_is_written_whole_and_its_name_tells_the_form() {
    let runner = every_outcome();
    for (name, form) in ["html", "xml", "md", "csv", "jsonl"].into_iter().zip(FORMS) {
        let file = format!("report.{name}");
        let ran = runner.run(&["report", "-o", &file]).expect(0);
        assert_eq!(ran.stdout, "");
        let written = fs_err::read_to_string(runner.path(&file)).unwrap();
        assert!(
            written == report(&runner, form),
            "{form} is another in a file"
        );
    }
    runner.run(&["report", "-o", "report", "--csv"]).expect(0);
    let says = ["the name of `report.pdf` does not tell the form", "`.html`"];
    runner
        .run(&["report", "-o", "report.pdf"])
        .expect(2)
        .says(&says);
    let ran = runner
        .run(&["report", "-o", "missing/report.html"])
        .expect(7);
    ran.says(&["cannot write the report to `missing/report.html`"]);
    let both = runner.run(&["report", "--csv", "--html"]).expect(2);
    both.says(&["cannot be used with"]);
}

/// What a scenario asks for, with a name of its own for one.
const ASKED: &str =
    "[report]\nhtml = true\njunit = \"tests.xml\"\nmarkdown = true\ncsv = false\njsonl = true\n";

/// What a session has left is what `runner report` writes of the run as it is now.
#[track_caller]
fn assert_left(runner: &Runner) {
    let run = runner.only_run();
    for (form, name) in [
        ("--html", "report.html"),
        ("--junit", "tests.xml"),
        ("--markdown", "report.md"),
        ("--jsonl", "report.jsonl"),
    ] {
        assert!(report(runner, form) == run.read(name), "{name}");
    }
    assert!(!run.dir.join("report.csv").exists());
}

#[test]
fn every_session_leaves_the_reports_that_its_scenario_asks_for() {
    let runner = Runner::hostile(&format!(
        "{ASKED}{}",
        tests(
            r#"
            passes | { do = "echo" } |
            fails | { do = "echo", value = 1 } | equals = 2
            "#
        )
    ));
    let ran = runner.exec(&[]).expect(1);
    ran.says(&[
        "report: results/",
        "report.html",
        "tests.xml",
        "report.md",
        "report.jsonl",
    ]);
    assert!(
        ran.stderr
            .trim_end()
            .lines()
            .last()
            .unwrap()
            .contains("failed: 1 of 2")
    );
    assert_left(&runner);
    let first = runner.only_run().read("report.jsonl");
    runner.run(&["resume", "--rerun", "failed"]).expect(1);
    assert_left(&runner);
    assert!(first != runner.only_run().read("report.jsonl"));
    runner.run(&["verify"]).expect(0);
    let names = fs_err::read_dir(&runner.only_run().dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(
        names
            .filter(|name| name.starts_with('.'))
            .all(|name| !name.starts_with(".new-"))
    );
}

#[test]
fn a_session_that_is_stopped_leaves_its_reports_too() {
    let runner = endless::endless();
    let text = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{text}\n{ASKED}"));
    let running = endless::running(&runner);
    running.end_by(rustix::process::Signal::INT);
    assert_left(&runner);
    assert!(
        runner
            .only_run()
            .read("report.md")
            .contains("incomplete (interrupted)")
    );
}

#[test]
fn a_report_that_cannot_be_written_changes_nothing_else() {
    let runner = Runner::hostile(&format!("{ASKED}{}", tests("a | { do = \"echo\" } |")));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    fs_err::remove_file(run.dir.join("report.html")).unwrap();
    fs_err::create_dir(run.dir.join("report.html")).unwrap();
    let ran = runner.run(&["resume", "--rerun", "all"]).expect(0);
    ran.says(&["cannot write the report `results/", "report.html`"]);
    assert!(!ran.stderr.contains(".new-"), "{}", ran.stderr);
    assert_eq!(run.manifest()["status"], "completed");
    assert!(run.read("runner.log").contains("cannot write the report"));
    // The others are there.
    assert_eq!(report(&runner, "--jsonl"), run.read("report.jsonl"));

    for missing in ["nowhere/report.html", "report.html/x.html"] {
        let args = ["report", "-o", missing];
        let refused = runner.run(&args).expect(7);
        refused.says(&["cannot write the report to", missing]);
        assert!(!refused.stderr.contains(".tmp"), "{}", refused.stderr);
    }
}

#[test]
fn nothing_in_a_page_turns_the_direction_of_a_text_or_hides() {
    let text = serde_json::to_string("a\u{202e}b\u{200b}c\u{85}d").unwrap();
    let runner = Runner::hostile(&tests(&format!(
        r#"
        fails | {{ do = "echo", value = {text} }} | equals = "y"
        "#
    )));
    runner.exec(&[]).expect(1);
    let page = report(&runner, "--html");
    assert!(!page.contains(['\u{202e}', '\u{200b}', '\u{85}']), "{page}");
    assert!(page.contains(r"a\u{202e}b\u{200b}c\u{85}d"), "{page}");
}

/// What is long of a trial is put aside while others are read, and is there again where it is told.
#[test]
fn long_texts_are_told_in_full_with_the_attempts_of_their_trials() {
    let long = "long ".repeat(2_000);
    let runner = Runner::hostile(&format!(
        "[defaults]\nretries = {{ max = 1, on = [\"internal\"] }}\n{}",
        tests(&format!(
            r#"
            breaks | {{ do = "error", kind = "internal", code = "E1", message = "{long}" }} |
            fails | {{ do = "echo", value = "{long}" }} | equals = "y"
            "#
        ))
    ));
    runner.exec(&[]).expect(1);
    let lines = runner.run(&["report", "--jsonl"]).expect(0).events();
    assert_eq!(lines[1]["attempts"], 2);
    assert_eq!(lines[1]["error"]["message"], long);
    assert_eq!(lines[1]["evidence"]["input"]["message"], long);
    assert_eq!(
        (&lines[2]["attempts"], &lines[2]["evidence"]["output"]),
        (&1.into(), &long.clone().into())
    );
    for form in ["--csv", "--junit", "--html"] {
        assert!(report(&runner, form).contains(&long), "{form}");
    }
}

#[test]
fn a_report_is_written_into_what_is_no_regular_file() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo", value = 1 } |"#));
    runner.exec(&[]).expect(0);
    let expected = report(&runner, "--csv");

    pipe(&runner.path("pipe"));
    let script = "cat pipe & $runner report --csv -o pipe; wait";
    let ran = runner.shell(script).run().expect(0);
    assert_eq!(ran.stdout, expected);
    assert!(!runner.path("pipe").is_file(), "the pipe was replaced");

    let script = "{ echo before; $runner report --csv -o /dev/stdout; } >file; cat file";
    let ran = runner.shell(script).run().expect(0);
    assert_eq!(ran.stdout, format!("before\n{expected}"));

    let full = runner.run(&["report", "--csv", "-o", "/dev/full"]);
    full.expect(7)
        .says(&["cannot write the report to `/dev/full`: No space left on device"]);
    runner.exec(&[]).expect(0);
    let compare = ["compare", &runner.ids()[0], "--json", "-o", "/dev/full"];
    runner.run(&compare).expect(7).says(&["No space left"]);

    // Nobody reads the rest, which is nobody's fault.
    let script = "$runner report --html -o /dev/stdout | true";
    runner.shell(script).run().expect(0);
}

#[test]
fn a_report_goes_where_links_lead_and_replaces_nothing_that_may_not_be_written() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo", value = 1 } |"#));
    runner.exec(&[]).expect(0);
    let expected = report(&runner, "--csv");
    runner.write("folder/old.csv", "old");
    for (link, target) in [
        ("link", "folder/first"),
        ("folder/first", "old.csv"),
        ("dangling", "folder/new.csv"),
    ] {
        std::os::unix::fs::symlink(target, runner.path(link)).unwrap();
    }
    for (link, target) in [("link", "folder/old.csv"), ("dangling", "folder/new.csv")] {
        runner.run(&["report", "--csv", "-o", link]).expect(0);
        assert!(runner.path(link).is_symlink(), "{link} was replaced");
        let written = fs_err::read_to_string(runner.path(target)).unwrap();
        assert_eq!(written, expected, "{link}");
    }

    // The administrator may write it all the same, unless that is taken away.
    runner.write("fixed.csv", "old");
    let script = r#"chmod 444 fixed.csv
        [ "$(id -u)" = 0 ] && set -- setpriv --bounding-set=-dac_override
        "$@" "$runner" report --csv -o fixed.csv"#;
    let refused = runner.shell(script).run().expect(7);
    refused.says(&["cannot write the report to `fixed.csv`: Permission denied"]);
    assert_eq!(
        fs_err::read_to_string(runner.path("fixed.csv")).unwrap(),
        "old"
    );

    // What others may not read they may not read afterwards.
    let script = "chmod 600 fixed.csv; $runner report --csv -o fixed.csv; ls -l fixed.csv";
    let ran = runner.shell(script).run().expect(0);
    assert!(ran.stdout.starts_with("-rw-------"), "{ran:?}");
}
