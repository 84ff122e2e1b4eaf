//! Reports as JUnit's XML, Markdown, CSV and traces: `runner report`, `[report]`, `--report` and `--junit`.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{collections::BTreeSet, fs};

use regex::Regex;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    run::Run,
    runner::{Runner, tests},
    running::Running,
    server::{Response, Server},
    wait::{wait_for, wait_until},
};

/// A text that tries to become markup, a command of a terminal or of a job, a mention or a formula.
const HOSTILE: &str = r#""a <b>1</b> & ]]> | [x](http://y) @octocat\n::set-output name=x::y\n````\n</details> ##[error]x \u0000\u001b[31m\u202e\u0001\uffff </script>""#;

/// Trials with every outcome on two providers.
fn every_outcome(head: &str) -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        r#"
        {head}
        [providers.a]
        plugin = "hostile.wasm"
        [providers.b]
        plugin = "hostile.wasm"
        [[tests]]
        id = "sum"
        input = {{ do = "echo", value = 1 }}
        expect = {{ equals = 2 }}
        [[tests]]
        id = "score"
        repeat = 2
        input = {{ do = "measure", score = 0.5, tokens = -1200 }}
        [[tests]]
        id = "late"
        input = {{ do = "fail-until", attempt = 3 }}
        retries = {{ max = 5 }}
        [[tests]]
        id = "never"
        input = {{ do = "error", kind = "unavailable", code = "E1" }}
        retries = {{ max = 1 }}
        [[tests]]
        id = "slow"
        providers = ["a"]
        timeout = "50ms"
        input = {{ do = "loop" }}
        [[tests]]
        id = "hostile"
        input = {{ do = "echo", value = {HOSTILE} }}
        expect = {{ equals = "other\nline" }}
        [[tests]]
        id = "formula"
        input = {{ do = "error", code = "=cmd", message = "=1+1" }}
        [[tests]]
        id = "skip"
        input = {{ do = "verdict", verdict = "skip" }}
        "#
    ));
    runner
}

fn report(runner: &Runner, args: &[&str]) -> String {
    runner.run(&[&["report"], args].concat()).expect(0).stdout
}

/// Returns the JUnit report with `T` in place of each time.
fn untimed(text: &str) -> String {
    Regex::new(r#" time="\d+\.\d{3}""#).unwrap().replace_all(text, r#" time="T""#).into_owned()
}

/// Fails unless the text has only elements and attributes that Jenkins' schema `junit-10.xsd` allows, where it allows them, and
/// the characters of XML. Returns the elements as `parent/element`.
fn check_junit(text: &str) -> Vec<String> {
    const TAG: &str = r#"<(/?)([\w-]+)((?: [\w-]+="[^"<>]*")*)(/?)>"#;
    const RERUN: [&str; 4] = ["flakyFailure", "flakyError", "rerunFailure", "rerunError"];
    let (_, body) = text.split_once("?>\n").unwrap();
    let (tag, attribute) = (Regex::new(TAG).unwrap(), Regex::new(r#" ([\w-]+)="#).unwrap());
    let (mut open, mut found) = (vec!["document".to_owned()], Vec::new());
    for part in tag.captures_iter(body) {
        if &part[1] == "/" {
            assert_eq!(open.pop().as_deref(), Some(&part[2]));
            continue;
        }
        let (parent, name) = (open.last().unwrap().clone(), part[2].to_owned());
        let names: Vec<_> =
            attribute.captures_iter(&part[3]).map(|one| one[1].to_owned()).collect();
        let allowed: &[&str] = match (&*parent, &*name) {
            ("document", "testsuites") => &["name", "tests", "failures", "errors", "time"],
            ("testsuites", "testsuite") => {
                &["name", "tests", "skipped", "errors", "failures", "time", "timestamp"]
            }
            ("testsuite", "properties") | ("testcase", "system-out") => &[],
            ("properties", "property") => &["name", "value"],
            // The last two are not in the schema. GitLab and actions for GitHub read them.
            ("testsuite", "testcase") => &["name", "classname", "time", "file", "line"],
            ("testcase", "failure" | "error" | "skipped") => &["message", "type"],
            ("testcase", rerun) if RERUN.contains(&rerun) => &["message", "type"],
            other => panic!("{other:?}"),
        };
        assert!(names.iter().all(|name| allowed.contains(&&**name)), "{}", &part[0]);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{}", &part[0]);
        found.push(format!("{parent}/{name}"));
        if part[4].is_empty() {
            open.push(name);
        }
    }
    assert_eq!(open, ["document"]);
    let rest = tag.replace_all(body, "");
    assert!(!rest.contains('<') && !rest.contains("]]>"), "{rest}");
    assert!(!text.contains(['\0', '\u{1}', '\u{1b}', '\u{202e}', '\u{ffff}']), "{text}");
    found
}

#[test]
fn junit_has_a_case_for_each_trial() {
    let runner = every_outcome("");
    runner.exec(&[]).expect(1);
    let text = report(&runner, &["--junit"]);
    let found = check_junit(&text);
    let count = |name: &str| found.iter().filter(|found| *found == name).count();
    assert_eq!((count("testsuites/testsuite"), count("testsuite/testcase")), (2, 17));
    assert_eq!((count("testcase/failure"), count("testcase/error")), (4, 5));
    assert_eq!((count("testcase/flakyError"), count("testcase/rerunError")), (4, 2));
    let untimed = untimed(&text);
    for part in [
        r#"<testsuites name="scenario" tests="17" failures="4" errors="5" time="T""#,
        r#"<testsuite name="a" tests="9" skipped="1" errors="3" failures="2" time="T""#,
        r#"<testsuite name="b" tests="8" skipped="1" errors="2" failures="2" time="T""#,
        r#"<property name="pass rate" value="0.3750"/>"#,
        r#"<testcase name="sum@a#1" classname="scenario.a" time="T""#,
        r#"<failure message="equals: expected 2, got 1" type="failed">"#,
        r#"<error message="no reply within 50ms,"#,
        r#"<error message="unavailable E1" type="unavailable">"#,
    ] {
        assert!(untimed.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(text, report(&runner, &["--junit"]));
}

#[test]
fn hostile_texts_stay_text_in_forms() {
    let runner = every_outcome("");
    runner.exec(&[]).expect(1);
    check_junit(&report(&runner, &["--junit", "-E", "test(hostile)"]));

    let markdown = report(&runner, &[]);
    assert_eq!(markdown, report(&runner, &["--markdown"]));
    let code = Regex::new(r"`[^`]*`|<code>[^<]*</code>").unwrap();
    let (mut fence, mut is_in_details) = (None, false);
    for line in markdown.lines() {
        match &fence {
            // The text has four backticks, so its fence has more.
            Some(end) if line == end => fence = None,
            Some(_) => assert!(!line.starts_with("::") && !line.contains("##["), "{line}"),
            None if line.starts_with("```") => {
                fence = Some(line.trim_end_matches("text").to_owned());
            }
            None => {
                let plain = code.replace_all(line, "");
                assert!(!plain.contains('@') && !plain.contains("]("), "{line}");
                is_in_details =
                    (is_in_details || line.starts_with("<details>")) && line != "</details>";
                assert!(!plain.contains('<') || is_in_details || line == "</details>", "{line}");
            }
        }
    }
    assert_eq!((fence, is_in_details), (None, false));
    assert!(!markdown.contains(['\u{1b}', '\0', '\u{202e}']), "{markdown}");

    let csv = report(&runner, &["--csv"]);
    assert!(csv.contains("formula@a#1,formula,a,1,error,false,1,"), "{csv}");
    assert!(csv.contains(",'=1+1,"), "{csv}");
    assert!(!csv.contains(",=") && !csv.contains("##["), "{csv}");

    runner.write("a\u{1b}\u{202e}.toml", fs::read(runner.path("scenario.toml")).unwrap());
    runner.run(&["exec", "a\u{1b}\u{202e}.toml", "--test", "sum"]).expect(1);
    let named = report(&runner, &["--junit"]);
    assert!(named.contains(r#"classname="a\u{1b}\u{202e}.a""#), "{named}");
    check_junit(&named);
}

#[test]
fn trace_has_each_attempt_in_lanes() {
    let runner = every_outcome("");
    runner.exec(&["-j", "1"]).expect(1);
    let run = runner.only_run();
    let trace: Value = serde_json::from_str(&report(&runner, &["--trace"])).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let attempts: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(attempts.len(), run.rows().len());
    let late = attempts.iter().filter(|event| event["name"] == "late@a#1");
    assert_eq!(late.map(|event| &event["args"]["attempt"]).collect::<Vec<_>>(), [1, 2, 3]);
    // One attempt ran at a time. The time of one that is interrupted can reach into the next one.
    assert!(
        attempts.iter().all(|event| event["tid"].as_u64() < Some(3) && event["pid"] == 0),
        "{events:?}"
    );
    let names = events.iter().filter(|event| event["name"] == "process_name");
    assert_eq!(names.map(|event| &event["args"]["name"]).collect::<Vec<_>>(), ["this machine"]);
    let selected = report(&runner, &["--trace", "-E", "test(formula) & provider(a)"]);
    assert!(!selected.contains("sum@a"), "{selected}");
}

#[test]
fn csv_has_a_line_per_trial_in_plan_order() {
    let runner = every_outcome("");
    runner.exec(&[]).expect(1);
    let csv = report(&runner, &["--csv"]);
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "trial,test,provider,repeat,outcome,flaky,attempt,started_at,duration_ms,score,reason,metrics.tokens,input,output,meta"
    );
    let trials = lines[1..].iter().map(|line| line.split(',').next().unwrap());
    // Outputs have line breaks.
    let trials: Vec<_> =
        trials.filter(|cell| cell.ends_with(['1', '2']) && cell.contains('@')).collect();
    assert_eq!(trials.len(), 17);
    assert_eq!(trials[..4], ["sum@a#1", "sum@b#1", "score@a#1", "score@a#2"]);
    assert!(
        lines[3].contains(",0.5,,-1200,\"{\"\"do\"\":\"\"measure\"\",")
            && lines[7].starts_with("late@a#1,late,a,1,passed,true,3,"),
        "{csv}"
    );
    let filtered = report(&runner, &["--csv", "-E", "test(sum) & provider(b)"]);
    assert_eq!(filtered, format!("{}\n{}\n", lines[0], lines[2]));
    let nothing = report(&runner, &["--csv", "-E", "test(none)"]);
    assert_eq!(nothing, format!("{}\n", lines[0]));
}

#[test]
fn csv_has_inputs_outputs_and_meta() {
    let runner = Runner::new(&[]);
    let long = "é".repeat(40_000);
    runner.scenario(&format!(
        "[providers.e]\nplugin = \"bundled:echo\"\n[defaults]\nmeta = {{ topic = \"a, b\" }}\n[[tests]]\nid = \"text\"\ninput = \"=1+1\"\n[[tests]]\nid = \"json\"\ninput = {{ a = [1, \"x\\ny\"] }}\n[[tests]]\nid = \"long\"\ninput = \"{long}\"\n"
    ));
    runner.run(&["exec", "scenario.toml"]).expect(0);
    let csv = report(&runner, &["--csv"]);
    let mut reader = csv.lines();
    assert!(reader.next().unwrap().ends_with(",reason,input,output,meta"), "{csv}");
    let meta = "\"{\"\"topic\"\":\"\"a, b\"\"}\"";
    let line = reader.next().unwrap();
    assert!(line.ends_with(&format!(",'=1+1,'=1+1,{meta}")), "{line}");
    let json = r#""{""a"":[1,""x\ny""]}""#;
    let line = reader.next().unwrap();
    assert!(line.ends_with(&format!(",{json},{json},{meta}")), "{line}");
    let line = reader.next().unwrap();
    let cut = format!("{}…", "é".repeat(16_000));
    assert!(line.ends_with(&format!(",{cut},{cut},{meta}")), "{}", &line[..200]);
}

#[test]
fn junit_names_the_place_of_each_test() {
    let runner = Runner::new(&[]);
    let own = "[providers.e]\nplugin = \"bundled:echo\"\n[[test_lists]]\nfiles = [\"../data/*.jsonl\"]\n[[tests]]\nid = \"own\"\ninput = 1\n";
    for folder in ["repo/.git", "repo/sub", "repo/data"] {
        fs::create_dir_all(runner.path(folder)).unwrap();
    }
    runner.write("repo/sub/one.toml", own);
    runner
        .write("repo/data/tests.jsonl", "{\"id\":\"x\",\"input\":1}\n{\"id\":\"y\",\"input\":2}\n");
    runner.run(&["exec", "repo/sub/one.toml"]).expect(0);
    let junit = report(&runner, &["--junit"]);
    check_junit(&junit);
    for place in [
        r#"name="own@e#1" classname="one.e" time="T""#,
        r#"file="sub/one.toml" line="6">"#,
        r#"file="data/tests.jsonl" line="1">"#,
        r#"file="data/tests.jsonl" line="2">"#,
    ] {
        assert!(untimed(&junit).contains(place), "{place} is not in\n{junit}");
    }
    let time = Regex::new(r#"<(\w+) [^>]*time="(\d+\.\d{3})""#).unwrap();
    let times: Vec<_> = time.captures_iter(&junit).collect();
    assert_eq!(times.len(), 5, "{junit}");
    assert_eq!(times[0][2], times[1][2]);
    // Without its files, a report has the rest.
    fs::remove_dir_all(runner.path("repo/data")).unwrap();
    fs::remove_file(runner.path("repo/sub/one.toml")).unwrap();
    let junit = report(&runner, &["--junit"]);
    assert!(!junit.contains(" line=") && junit.matches("<testcase ").count() == 3, "{junit}");
}

#[test]
fn reports_count_reruns_as_show_does() {
    let runner = every_outcome("");
    runner.exec(&[]).expect(1);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    runner.run(&["resume", "latest", "--accept-changes"]).expect(1);
    runner.run(&["resume", "latest", "--rerun", "errors"]).expect(1);
    let junit = report(&runner, &["--junit"]);
    check_junit(&junit);
    for table in runner.show(&runner.only_run())["providers"].as_array().unwrap() {
        let count = |name: &str| table[name].as_u64().unwrap();
        let [passed, failed, skipped] = ["passed", "failed", "skipped"].map(count);
        let errors = count("error") + count("timeout");
        let suite = format!(
            "<testsuite name={} tests=\"{}\" skipped=\"{skipped}\" errors=\"{errors}\" failures=\"{failed}\" ",
            table["provider"],
            passed + failed + skipped + errors
        );
        assert!(junit.contains(&suite), "{suite}\n{junit}");
    }
    assert!(!junit.contains("equals: expected 2"), "{junit}");
}

#[test]
fn filtered_reports_name_their_filter() {
    let runner = every_outcome("");
    runner.exec(&[]).expect(1);
    let filter = "test(s*) & provider(a)";
    let markdown = report(&runner, &["-E", filter]);
    let line = format!("Only trials that match `{filter}` are counted and listed.\n");
    assert!(markdown.contains(&line), "{markdown}");
    let property = "<property name=\"filter\" value=\"test(s*) &amp; provider(a)\"/>";
    let junit = report(&runner, &["--junit", "-E", filter]);
    assert!(junit.contains(property), "{junit}");
    for form in ["--junit", "--markdown", "--html"] {
        let text = report(&runner, &[form]);
        assert!(
            !text.contains("trials that match") && !text.contains("those that match"),
            "{form}"
        );
    }
}

#[test]
fn markdown_fits_a_comment() {
    let runner = Runner::new(&["hostile"]);
    let list: String = (0..120)
        .map(|index| {
            let reason = "x".repeat(1000 + index);
            format!("{{\"id\": \"t{index}\", \"input\": {{\"do\": \"error\", \"message\": \"{reason}\"}}}}\n")
        })
        .collect();
    runner.write("tests.jsonl", list);
    runner.scenario(
        "[providers.p]\nplugin = \"hostile.wasm\"\n[[test_lists]]\nfiles = [\"tests.jsonl\"]\n",
    );
    runner.exec(&["--quiet"]).expect(1);
    let markdown = report(&runner, &["--markdown"]);
    assert!(markdown.len() <= 65_536, "{}", markdown.len());
    let shown = markdown.matches("</details>").count();
    assert!(shown > 20, "{shown}");
    let left = format!("\nNot shown here: {} more trials.\n", 120 - shown);
    assert!(markdown.contains(&left), "{left}");
    assert!(markdown.ends_with(" --failed`\n"), "{markdown}");
}

#[test]
fn long_reasons_are_cut_in_reports() {
    let runner = Runner::new(&["hostile"]);
    let reason = "x".repeat(70_000);
    let list = format!(
        "{{\"id\": \"long\", \"input\": {{\"do\": \"error\", \"message\": \"{reason}\"}}}}\n\
         {{\"id\": \"short\", \"input\": {{\"do\": \"error\", \"message\": \"it broke\"}}}}\n"
    );
    runner.write("tests.jsonl", list);
    runner.scenario(
        "[providers.p]\nplugin = \"hostile.wasm\"\n[[test_lists]]\nfiles = [\"tests.jsonl\"]\n",
    );
    runner.exec(&["--quiet"]).expect(1);
    let markdown = report(&runner, &["--markdown"]);
    assert!(markdown.contains("it broke"), "{markdown}");
    assert!(markdown.contains("xxx…</code>"), "{markdown}");
    let csv = report(&runner, &["--csv"]);
    // A cell of a spreadsheet has at most 32,767 units of UTF-16.
    assert!(csv.contains(&format!(",{}…,", "x".repeat(16_000))), "{}", csv.len());
}

#[test]
fn held_gate_skips_failures_in_junit() {
    let runner = every_outcome("[gate]\npass_rate = 0.3");
    runner.exec(&[]).expect(0);
    let text = report(&runner, &["--junit"]);
    let found = check_junit(&text);
    assert!(!found.contains(&"testcase/failure".to_owned()), "{text}");
    for part in [
        r#"failures="0" errors="0" time=""#,
        r#"<skipped message="failed; gate passed"/>"#,
        r#"<skipped message="timeout; gate passed"/>"#,
        "<system-out>equals: ",
        r#"<property name="gate" value="passed: ✓ pass rate 40 % (19.8–64.3) of 15"#,
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let strict = report(&runner, &["--junit", "--junit-strict"]);
    assert!(strict.contains(r#"tests="17" failures="4" errors="5" time=""#), "{strict}");
    let ran = runner.run(&["report", "--csv", "--junit-strict"]).expect(2);
    snapshot(&ran);
    // A gate says nothing about results that are lost.
    let run = runner.only_run();
    let index = run.text("index.jsonl");
    let at = index.find("score@a#1").unwrap();
    run.write("index.jsonl", format!("{}#{}", &index[..at], &index[at + 1..]));
    let damaged = report(&runner, &["--junit"]);
    assert!(damaged.contains(r#"failures="4" errors="5" time=""#), "{damaged}");
}

#[test]
fn stopped_run_reports_missing_results() {
    let runner = Runner::endless(3, "loop", "");
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{text}[report]\njunit = true\nmarkdown = \"all.md\"\ncsv = true\n"));
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(&runner, 2);
    let early = report(&runner, &["--junit"]);
    assert!(early.contains(r#"<property name="state" value="running"/>"#), "{early}");
    running.end_by(Signal::INT);
    let run = runner.only_run();
    let junit = run.text("junit.xml");
    check_junit(&junit);
    assert!(junit.contains(r#"<testsuite name="hostile" tests="3" skipped="3" "#), "{junit}");
    assert!(junit.contains(r#"<property name="state" value="incomplete (SIGINT)"/>"#), "{junit}");
    assert_eq!(junit.matches("<skipped message=\"no result").count(), 3, "{junit}");
    let markdown = run.text("all.md");
    assert!(markdown.contains("> **3 trials have no result**"), "{markdown}");
    assert_eq!(run.text("report.csv").matches(",no result,").count(), 3);
    let page = report(&runner, &["--html"]);
    for part in ["incomplete (SIGINT): 0 of 3 done", "<b>3</b> no result", "runner resume"] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    runner.run(&["verify"]).expect(0);
}

#[test]
fn damaged_run_is_reported_as_damaged() {
    let runner = every_outcome("");
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let index = run.text("index.jsonl");
    let at = index.find("score@a#1").unwrap();
    run.write("index.jsonl", format!("{}#{}", &index[..at], &index[at + 1..]));
    let junit = report(&runner, &["--junit"]);
    assert!(junit.contains(r#"<property name="damaged or lost results" value="2"/>"#), "{junit}");
    assert!(junit.contains(r#"<property name="state" value="damaged"/>"#), "{junit}");
    let markdown = report(&runner, &[]);
    for part in ["damaged\n", "> **1 result is lost**", "> **1 line of the results is damaged**"] {
        assert!(markdown.contains(part), "{part} is not in\n{markdown}");
    }
    let page = report(&runner, &["--html"]);
    for part in ["✗ damaged: ", "1 result is lost", "1 line of index.jsonl is damaged"] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    let suite = run.manifest()["metadata"]["suite"].as_str().unwrap().to_owned();
    fs::remove_file(runner.path(&format!("results/store/{}/{suite}", &suite[..2]))).unwrap();
    let junit = report(&runner, &["--junit"]);
    let found = check_junit(&junit);
    assert_eq!(found.iter().filter(|found| *found == "testsuite/testcase").count(), 16);
    assert!(junit.contains(r#"<property name="stored tests" value="cannot be read"/>"#), "{junit}");
    for form in ["--markdown", "--html"] {
        assert!(report(&runner, &[form]).contains("The stored tests cannot be read"), "{form}");
    }
}

#[test]
fn sessions_write_requested_reports() {
    let runner = every_outcome("[report]\nhtml = true\njunit = \"tests.xml\"\ncsv = false");
    let args = ["--report", "a.md", "--report", "b.csv", "--junit", "c.out"];
    runner.exec(&args).expect(1).says(&["report: a.md", "report: c.out"]);
    let run = runner.only_run();
    assert!(
        run.text("report.html").starts_with("<!doctype html>")
            || run.text("report.html").starts_with("<!DOCTYPE html>")
    );
    for (file, form) in [("a.md", "--markdown"), ("b.csv", "--csv"), ("c.out", "--junit")] {
        let written = fs::read_to_string(runner.path(file)).unwrap();
        assert_eq!(written, report(&runner, &[form]), "{file}");
    }
    assert_eq!(run.text("tests.xml"), report(&runner, &["--junit"]));
    assert!(!run.dir.join("report.csv").exists());
    let mode = |name: &str| fs::metadata(run.dir.join(name)).unwrap().permissions().mode();
    assert_eq!(mode("tests.xml"), mode("benchmark.json"));

    // A report that cannot be written does not change the status of the run.
    fs::remove_file(run.dir.join("tests.xml")).unwrap();
    fs::create_dir(run.dir.join("tests.xml")).unwrap();
    let resumed = runner.run(&["resume", "latest", "--rerun", "failed"]).expect(7);
    resumed.says(&["error: cannot write the report to", "tests.xml", "it is a folder"]);
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    assert_eq!(runner.list()[0]["exit_code"], 7);
    runner.run(&["show"]).expect(0).says(&["lost: cannot write the report to", "tests.xml"]);
}

#[test]
fn lost_report_of_background_run_is_recorded() {
    let runner = Runner::new(&[]);
    let _server = waits_for(&runner, "go");
    let exec = ["exec", "scenario.toml", "-j", "1", "--junit", "out/junit.xml"];
    let exits = Regex::new("exit code (.)").unwrap();
    for queued in [false, true] {
        fs::create_dir(runner.path("out")).unwrap();
        let _ = fs::remove_file(runner.path("go"));
        if queued {
            runner.run(&[&exec[..], &["--queue"]].concat()).expect(0);
            runner.run(&["queue", "work", "--once"]).expect(0);
        } else {
            runner.run(&[&exec[..], &["--detach"]].concat()).expect(0);
        }
        fs::remove_dir(runner.path("out")).unwrap();
        runner.write("go", "");
        let run = runner.runs().pop().unwrap();
        let lost = ["a report is lost: cannot write the report to out/junit.xml", "no folder out"];
        runner.run(&["wait", run.id()]).expect(7).says(&lost);
        let ended = runner.run(&["wait", run.id(), "--json"]).expect(7).events().pop().unwrap();
        assert_eq!([&ended["verdict"], &ended["exit_code"]], [&json!("passed"), &json!(7)]);
        let shown = &runner.list()[0];
        assert_eq!(shown["exit_code"], 7);
        assert!(shown["lost_report"].as_str().unwrap().contains("out/junit.xml"), "{shown}");
        let advice =
            format!("to write its reports: runner resume {}", &run.id()[run.id().len() - 8..]);
        let says = ["lost: cannot write", "out/junit.xml", &advice];
        runner.run(&["show", run.id()]).expect(0).says(&says);
        let log = run.text("runner.log");
        assert_eq!(&exits.captures_iter(&log).last().unwrap()[1], "7", "{log}");
        // A session that runs nothing writes it.
        fs::create_dir(runner.path("out")).unwrap();
        let resume = ["resume", run.id(), "--junit", "out/junit.xml"];
        let says = ["no trial is left", "are written again", "report: out/junit.xml"];
        runner.run(&resume).expect(0).says(&says);
        runner.run(&["wait", run.id()]).expect(0);
        assert_eq!(run.manifest()["lost_report"], json!(null));
        fs::remove_dir_all(runner.path("out")).unwrap();
    }
}

/// Writes a scenario with four trials, the last of which ends once there is a file with this name.
fn waits_for(runner: &Runner, name: &str) -> Server {
    let (count, file) = (AtomicUsize::new(0), runner.path(name));
    let server = Server::start(move |_| {
        let is_last = count.fetch_add(1, Ordering::SeqCst) % 4 == 3;
        // Without its folder, the test is over.
        let is_over = || !file.parent().unwrap().exists();
        wait_until("the file is there", || !is_last || file.exists() || is_over());
        Response::ok("")
    });
    let origin = server.origin();
    runner.scenario(&format!(
        "[providers.api]\nplugin = \"bundled:http\"\nconfig = {{ base_url = \"{origin}\" }}\ngrants = {{ net = [\"{origin}\"] }}\n\
         [[tests]]\nid = \"nap\"\nrepeat = 4\ninput = {{ path = \"/\" }}\n"
    ));
    server
}

/// Starts trials with events, and waits for the first rows. They end once there is a file `go`.
fn slow(args: &[&str]) -> (Runner, Running, Server) {
    let runner = Runner::new(&[]);
    let server = waits_for(&runner, "go");
    fs::create_dir(runner.path("out")).unwrap();
    runner.write("out/junit.xml", "of an earlier run");
    let mut running = runner.start(&[&["-j", "1"], args].concat());
    running.wait_for_rows(3);
    (runner, running, server)
}

#[test]
fn lost_report_fails_a_passed_run() {
    let (runner, running, _server) = slow(&["--junit", "out/junit.xml"]);
    fs::remove_dir_all(runner.path("out")).unwrap();
    runner.write("go", "");
    let ran = running.finish().expect(7);
    ran.says(&["error: cannot write the report to out/junit.xml: there is no folder out"]);
    let finished = ran.events().pop().unwrap();
    assert_eq!([&finished["verdict"], &finished["exit_code"]], [&json!("passed"), &json!(7)]);
    assert_eq!(runner.only_run().ending(), ["completed", "", "", "passed"]);
    for command in ["resume", "rescore"] {
        fs::create_dir(runner.path("out")).unwrap();
        let args = [command, "latest", "--junit", "out/junit.xml"];
        runner.run(&args).expect(0).says(&["report: out/junit.xml"]);
        fs::remove_dir_all(runner.path("out")).unwrap();
        snapshot(&runner.run(&args).expect(2));
    }
    // The end of a stopped run is worse.
    let (runner, running, _server) = slow(&["--junit", "out/junit.xml"]);
    fs::remove_dir_all(runner.path("out")).unwrap();
    let ran = running.end_by(Signal::INT).0.expect(130);
    assert_eq!(ran.events().pop().unwrap()["exit_code"], 130);
}

#[test]
fn run_is_running_until_its_reports_are_written() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    // The session waits for a reader.
    runner.pipe("pipe.xml");
    let shown = |run: &Run| {
        let shown = runner.list().into_iter().find(|shown| shown["run"] == run.id()).unwrap();
        ["status", "verdict", "exit_code"].map(|key| shown[key].clone())
    };
    let ended = || {
        let session = runner.start(&["--junit", "pipe.xml"]);
        let run = wait_for("the end is on disk", || {
            let run = runner.runs().pop()?;
            (run.manifest()["lost_report"] == "not written yet").then_some(run)
        });
        assert_eq!(shown(&run), [json!("running"), json!("none"), Value::Null]);
        assert_eq!(runner.show(&run)["manifest"]["status"], "running");
        runner.run(&["resume", run.id()]).expect(6);
        (session, run)
    };
    let (session, run) = ended();
    let report = fs::read_to_string(runner.path("pipe.xml")).unwrap();
    assert!(report.contains("<testsuites"), "{report}");
    assert_eq!(session.finish().expect(0).events().pop().unwrap()["exit_code"], 0);
    assert_eq!(run.manifest()["lost_report"], Value::Null);
    assert_eq!(shown(&run), [json!("completed"), json!("passed"), json!(0)]);
    let (session, run) = ended();
    session.kill();
    assert_eq!(shown(&run), [json!("completed"), json!("passed"), json!(7)]);
    snapshot(&runner.run(&["show", run.id()]).expect(0));
    runner.run(&["label", run.id(), "a=b"]).expect(0);
    snapshot(&runner.run(&["wait", run.id()]).expect(7));
    snapshot(&runner.run(&["list"]).expect(0));
    runner.run(&["resume", run.id(), "--junit", "out.xml"]).expect(0);
    assert_eq!(shown(&run), [json!("completed"), json!("passed"), json!(0)]);
}

#[test]
fn killed_session_leaves_no_earlier_report() {
    let (runner, running, _server) = slow(&["--junit", "out/junit.xml", "--report", "out/new.md"]);
    running.kill();
    assert_eq!(fs::read_to_string(runner.path("out/junit.xml")).unwrap(), "");
    assert!(!runner.path("out/new.md").exists());
    // A session that is refused leaves it.
    runner.write("out/junit.xml", "of an earlier run");
    runner.exec(&["--junit", "out/junit.xml", "--tag", "none"]).expect(5);
    runner.exec(&["--junit", "out/junit.xml", "--dry-run"]).expect(0);
    assert_eq!(fs::read_to_string(runner.path("out/junit.xml")).unwrap(), "of an earlier run");
}

#[test]
fn report_keys_are_checked() {
    let mut transcript = Transcript::default();
    for keys in [
        "html = \"../x.html\"",
        "junit = \"benchmark.json\"",
        "csv = \".csv\"",
        "markdown = 1",
        "pdf = true",
    ] {
        let runner = every_outcome(&format!("[report]\n{keys}"));
        transcript.refused(&runner, &[]);
    }
    transcript.check("report_keys_are_checked");
}

#[test]
fn reports_are_refused_where_they_cannot_be_written() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.exec(&[]).expect(0);
    fs::create_dir(runner.path("folder.md")).unwrap();
    for (path, says) in [
        ("folder.md", "it is a folder; name a file in it"),
        ("none/x.md", "there is no folder none"),
        (
            "x.pdf",
            "x.pdf does not name a form: its extension is not .html, .xml, .md, .csv or .trace",
        ),
    ] {
        runner.run(&["report", "-o", path]).expect(2).says(&[says]);
    }
    for (path, says) in [
        ("folder.md", "it is a folder; name a file in it"),
        ("none/x.md", "there is no folder none"),
        ("x.pdf", "expected a file that ends in .html, .xml, .md, .csv or .trace"),
    ] {
        let ran = runner.exec(&["--report", path]).expect(2);
        ran.says(&[says]);
    }
    let run = runner.only_run();
    let index = run.dir.join("index.jsonl").to_str().unwrap().to_owned();
    symlink(&index, runner.path("rows")).unwrap();
    for path in [&index, "rows", "scenario.toml"] {
        let says = ["a report may not replace a scenario or a file of a run"];
        runner.run(&["report", "--csv", "-o", path]).expect(2).says(&says);
        runner.exec(&["--junit", path]).expect(2).says(&says);
    }
    // No user can create a file there.
    for (path, says) in [
        ("/proc/none.md", "it cannot be written"),
        ("loop.md", "it cannot be written: Too many levels of symbolic links"),
    ] {
        if path == "loop.md" {
            symlink(path, runner.path(path)).unwrap();
        }
        for args in [&["exec", "scenario.toml"][..], &["resume", "--rerun", "all"], &["rescore"]] {
            runner.run(&[args, &["--report", path]].concat()).expect(2).says(&[says]);
        }
    }
    symlink("none/x.md", runner.path("far.md")).unwrap();
    transcript.run(&runner, &["report", "-o", "far.md"]).expect(2);
    transcript.exec(&runner, &["--junit", ""]).expect(2);
    runner.run(&["verify"]).expect(0);
    transcript.run(&runner, &["report", "--html", "--csv"]).expect(2);
    transcript.run(&runner, &["report", "-o", "/dev/full", "--csv"]).expect(7);
    assert_eq!(runner.runs().len(), 1);

    runner.write("other.toml", fs::read(runner.path("scenario.toml")).unwrap());
    transcript.run(&runner, &["exec", "scenario.toml", "other.toml", "--report", "x.md"]).expect(2);
    assert_eq!(runner.runs().len(), 1);
    runner.run(&["exec", "scenario.toml", "other.toml"]).expect(0);
    let group = runner.list()[0]["group"]["id"].as_str().unwrap().to_owned();
    transcript.run(&runner, &["report", &group]).expect(2);
    for command in ["resume", "rescore"] {
        let args = [command, &group, "--junit", "x.xml"];
        snapshot(&runner.run(&args).expect(2));
    }
    transcript.check("reports_are_refused_where_they_cannot_be_written");
}

#[test]
fn old_report_stays_until_the_new_one_is_whole() {
    let runner = every_outcome("");
    runner.exec(&[]).expect(1);
    runner.write("old.xml", "old");
    let script = r#"ulimit -f 1; exec "$runner" report -o old.xml"#;
    let ran = Running::start(&mut runner.shell(script)).finish().expect(7);
    snapshot(&ran);
    assert_eq!(fs::read_to_string(runner.path("old.xml")).unwrap(), "old");
    let left = fs::read_dir(runner.path("")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.starts_with(".report")).count(), 0);
    runner.run(&["report", "-o", "old.xml"]).expect(0).says(&["report: old.xml"]);
    check_junit(&fs::read_to_string(runner.path("old.xml")).unwrap());
}

#[test]
fn killed_report_leaves_no_file() {
    let runner = every_outcome("");
    runner.exec(&["--repeat", "20"]).expect(1);
    let files = || fs::read_dir(runner.path("")).unwrap().count();
    let before = files();
    let folder = runner.path("").canonicalize().unwrap();
    let is_killed = (0..100).any(|_| {
        let mut running = runner.started(&["report", "-o", "new.html"]);
        let descriptors = format!("/proc/{}/fd", running.process().0);
        let is_open = || {
            let open = fs::read_dir(&descriptors).into_iter().flatten().flatten();
            let mut open = open.filter_map(|one| fs::read_link(one.path()).ok());
            open.any(|path| path.parent() == Some(&folder))
        };
        while running.is_alive() {
            if is_open() {
                running.kill();
                // The kill may come too late, and the next round needs a free name.
                return fs::remove_file(runner.path("new.html")).is_err();
            }
        }
        fs::remove_file(runner.path("new.html")).unwrap();
        false
    });
    assert!(is_killed);
    assert_eq!(files(), before);
}

#[test]
fn report_goes_where_links_and_devices_lead() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.exec(&[]).expect(0);
    let expected = report(&runner, &["--csv"]);
    runner.write("target.csv", "old");
    symlink("target.csv", runner.path("link.csv")).unwrap();
    symlink("new.csv", runner.path("dangling.csv")).unwrap();
    for (link, target) in [("link.csv", "target.csv"), ("dangling.csv", "new.csv")] {
        runner.run(&["report", "-o", link]).expect(0);
        assert!(runner.path(link).is_symlink(), "{link}");
        assert_eq!(fs::read_to_string(runner.path(target)).unwrap(), expected, "{target}");
    }
    let ran = runner.run(&["report", "--csv", "-o", "/dev/stdout"]).expect(0);
    assert_eq!(ran.stdout, expected);
    let script = r#"(echo before; "$runner" report --csv -o /dev/stdout; echo after) > log"#;
    Running::start(&mut runner.shell(script)).finish().expect(0);
    let log = fs::read_to_string(runner.path("log")).unwrap();
    assert_eq!(log, format!("before\n{expected}after\n"));
    // A checkout can bring a link to a file of the user.
    fs::create_dir(runner.path("out")).unwrap();
    symlink("../target.csv", runner.path("out/far.csv")).unwrap();
    transcript.run(&runner, &["report", "-o", "out/far.csv"]).expect(7);
    transcript.exec(&runner, &["--report", "out/far.csv"]).expect(2);
    assert_eq!(fs::read_to_string(runner.path("target.csv")).unwrap(), expected);
    symlink("loop.csv", runner.path("loop.csv")).unwrap();
    transcript.run(&runner, &["report", "-o", "loop.csv"]).expect(7);
    transcript.check("report_goes_where_links_and_devices_lead");
}
