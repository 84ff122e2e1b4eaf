//! The report as a page for a browser.

use std::{fs, process::Command};

use regex::Regex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{runner::Runner, running::finished, truth::results, web::toml};

/// Writes the page of the latest run.
fn page(runner: &Runner, args: &[&str]) -> String {
    runner.run(&[&["report", "latest", "-o", "page.html"], args].concat()).expect(0);
    fs::read_to_string(runner.path("page.html")).unwrap()
}

/// Returns the content of the page's elements with this name.
fn elements<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let pattern = Regex::new(&format!("(?s)<{name}(?: [^>]*)?>(.*?)</{name}>")).unwrap();
    pattern.captures_iter(page).map(|found| found.get(1).unwrap().as_str()).collect()
}

/// Returns the trials of the page's list: id, outcome, attempt, milliseconds, reason and score.
fn rows(page: &str) -> Vec<Value> {
    serde_json::from_str(elements(page, "script")[0]).unwrap()
}

/// Returns the documents that the page's script shows, by the ends of their paths.
fn documents(page: &str) -> Value {
    let data: Value = serde_json::from_str(elements(page, "script")[1]).unwrap();
    data["documents"].clone()
}

#[test]
fn page_explains_each_failure() {
    let runner = Runner::hostile(
        r#"
        [vars]
        size = "small"
        [defaults]
        retries = { max = 1, backoff = "1ms" }
        [[tests]]
        id = "object"
        input = { do = "echo", value = { total = "16.48", currency = "EUR" } }
        expect = { equals = { total = "9.99", currency = "EUR" } }
        [[tests]]
        id = "flaky"
        input = { do = "fail-until" }
        [[tests]]
        id = "trap"
        input = { do = "panic" }
        [[tests]]
        id = "slow"
        timeout = "50ms"
        input = { do = "loop" }
        [[tests]]
        id = "skipped"
        input = { do = "verdict", verdict = "skip" }
        "#,
    );
    runner.exec(&["--label", "branch=main"]).expect(1);
    let page = page(&runner, &[]);
    for part in [
        "failed: 3 of 5 did not pass",
        "<b>1</b> flaky",
        "<b>1</b> skipped",
        "branch=main",
        "size=small",
        "<span class=\"pre\">the guest's own words",
        "the guest trapped: wasm",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let documents = documents(&page);
    let object = &documents["/trials/object@hostile#1"];
    assert_eq!(object["expected_output"], r#"{"currency":"EUR","total":"9.99"}"#);
    let output = object["output"].as_str().unwrap();
    assert!(output.contains(r#""total":"16.48""#), "{output}");
    let (run, trap) = (runner.only_run(), &documents["/trials/trap@hostile#1"]);
    assert_eq!(trap["input"], r#"{"do":"panic"}"#);
    let command = format!("runner plugin run --from {}", &run.id()[run.id().len() - 8..]);
    assert!(trap["reproduce"].as_str().unwrap().starts_with(&command), "{trap}");
    assert_eq!(documents[""]["manifest"]["sessions"][0]["command"][4], "branch=main");
    let outcomes: Vec<_> = rows(&page).iter().map(|row| row[1].clone()).collect();
    assert_eq!(outcomes, ["failed", "flaky", "error", "timeout", "skipped"]);
    // The same rows give the same bytes.
    assert_eq!(self::page(&runner, &[]), page);
}

#[test]
fn page_has_changes_and_steps_of_failures() {
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    fs::create_dir(runner.path("base")).unwrap();
    runner.write("base/a.txt", "one\n");
    runner.write("base/huge", vec![b'x'; 2 << 20]);
    let write = |path: &str, text: &str| json!({ "write": format!("/work/{path}"), "text": text });
    let step = |number: u64| json!({ "append": { "source": "agent", "message": format!("</script>{number}") } });
    let mut steps =
        vec![write("a.txt", "two\n"), write("huge", "x"), write("large", &"x".repeat(300_000))];
    steps.extend((1..=120).map(step));
    steps.push(json!({ "call": "echo", "input": "called" }));
    steps.extend((122..=300).map(step));
    runner.scenario(&format!(
        "[tools.echo]\nplugin = \"bundled:echo\"\n[providers.agent]\n\
         plugin = \"contract-0-1-1-everything.wasm\"\nworkspace.from = \"base\"\n\
         grants.tools = [\"echo\"]\n[[tests]]\nid = \"a\"\ninput = {}\n\
         [tests.expect]\nworkspace.changed = [\"src\"]\ntranscript.never = [\"echo\"]\n",
        toml(&json!(steps))
    ));
    runner.exec(&[]).expect(1);
    let documents = documents(&page(&runner, &[]));
    let trial = |path: &str| &documents[format!("/trials/a@agent#1{path}")];
    let changes = trial("/changes?attempt=1");
    assert_eq!((&changes["total"], &changes["changes"][0]["path"]), (&json!(3), &json!("a.txt")));
    let diff = trial("/attempts/1/changes/0").as_str().unwrap();
    assert!(diff.contains("\n-one\n+two\n"), "{diff}");
    let huge = trial("/attempts/1/changes/1").as_str().unwrap();
    assert!(huge.contains("huge: larger than 1 MiB; runner show RUN TRIAL --save DIR"), "{huge}");
    assert!(trial("/attempts/1/changes/2").as_str().unwrap().contains("no room for this diff"));
    // The steps around the failed call.
    let transcript = trial("/transcript?attempt=1");
    let steps = transcript["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &steps[0]["step"]), (100, &json!(116)));
    assert_eq!(steps[5]["calls"][0]["tool"], "echo");
    assert_eq!(transcript["transcript"]["steps"], 300);

    // Only documents that cannot be read are missing.
    fs::remove_dir_all(runner.only_run().dir.join("artifacts")).unwrap();
    let documents = self::documents(&page(&runner, &[]));
    assert!(documents["/trials/a@agent#1"].is_object());
    assert!(documents["/trials/a@agent#1/transcript?attempt=1"].is_null());
}

/// Each attempt has the entries of its base.
#[test]
fn large_workspaces_of_many_failures_are_not_all_read() {
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    for number in 0..5_000 {
        fs::create_dir_all(runner.path(&format!("base/{}/{number}", number / 1000))).unwrap();
    }
    let tests = (0..11).map(|number| {
        format!(
            "[[tests]]\nid = \"t{number}\"\ninput = {{ write = \"/work/a\" }}\nexpect.equals = 1\n"
        )
    });
    runner.scenario(&format!(
        "[providers.agent]\nplugin = \"contract-0-1-1-everything.wasm\"\nworkspace.from = \"base\"\n\
         limits.scratch = \"1MiB\"\n{}",
        tests.collect::<String>()
    ));
    runner.exec(&[]).expect(1);
    let documents = documents(&page(&runner, &[]));
    let has_changes = |number: &usize| {
        documents[format!("/trials/t{number}@agent#1/changes?attempt=1")].is_object()
    };
    assert_eq!((0..11).filter(has_changes).count(), 10);
}

#[test]
fn texts_of_guests_stay_text() {
    let evil = [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "<img src=x onerror=alert(1)>",
        "]]>",
        "&lt;b&gt; \"quoted\" 'quoted'",
        "nul\0esc\u{1b}[31m\u{9b}31m",
        "\u{202e}right to left\u{2066}\u{2028}",
        &"x".repeat(64 << 10),
    ];
    let tests = evil.iter().enumerate().map(|(number, text)| {
        let text = serde_json::to_string(text).unwrap();
        let text = text.replace('\u{9b}', "\\u009b").replace('\u{202e}', "\\u202e");
        let text = text.replace('\u{2066}', "\\u2066").replace('\u{2028}', "\\u2028");
        format!(
            "[[tests]]\nid = \"echo-{number}\"\ninput = {{ do = \"echo\", value = {text} }}\nexpect = {{ equals = \"a\\nb\" }}\n\
             [[tests]]\nid = \"say-{number}\"\ninput = {{ do = \"say\", text = {text} }}\nexpect = {{ contains = [{text}, \"a\"] }}\n\
             [[tests]]\nid = \"error-{number}\"\ninput = {{ do = \"error\", code = {text}, message = {text} }}\n"
        )
    });
    let runner = Runner::hostile(&tests.collect::<String>());
    runner.exec(&[]).expect(1);
    let page = page(&runner, &[]);
    assert_eq!(rows(&page).len(), 24);
    assert_eq!(elements(&page, "script").len(), 3);
    for bad in
        ["alert(1)</", "<img", "<!--", "\0", "\u{1b}", "\u{9b}", "\u{202e}", "\u{2066}", "\u{2028}"]
    {
        assert!(!page.contains(bad), "{bad:?}");
    }
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"));
    let documents = documents(&page);
    // The last one is in a file.
    for (number, text) in evil[..7].iter().enumerate() {
        let output = documents[format!("/trials/echo-{number}@hostile#1")]["output"].as_str();
        assert_eq!(serde_json::from_str::<String>(output.unwrap()).unwrap(), *text);
    }
}

#[test]
fn page_runs_only_its_own_script() {
    let runner = Runner::hostile("[[tests]]\nid = \"t\"\ninput = { do = \"panic\" }\n");
    runner.exec(&[]).expect(1);
    let page = page(&runner, &[]);
    let hash = |text: &str| {
        let mut base64 = Command::new("base64");
        base64.arg("-w0").arg(runner.path("hash"));
        runner.write("hash", Sha256::digest(text));
        let encoded = finished(&mut base64).stdout;
        format!("'sha256-{encoded}'")
    };
    let (script, style) = (hash(elements(&page, "script")[2]), hash(elements(&page, "style")[0]));
    let policy = format!(
        "content=\"default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'\""
    );
    assert!(page.contains(&policy), "{policy}");
    // No other file, no style and no handler in an attribute.
    let foreign = Regex::new(r#"<[^>]* (?:src|style|on\w+)=|<link|href="[^#]"#).unwrap();
    let markup = page.replace(elements(&page, "script")[2], "");
    assert_eq!(foreign.find(&markup).map(|found| found.as_str()), None);
}

#[test]
fn many_trials_are_data_for_the_script() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "bad"
        repeat = 510
        input = { do = "echo", value = 1 }
        expect = { equals = 2 }
        [[tests]]
        id = "good"
        repeat = 90
        input = { do = "echo", value = 1 }
        "#,
    );
    runner.exec(&[]).expect(1);
    let page = page(&runner, &[]);
    let rows = rows(&page);
    assert_eq!(rows.len(), 600);
    let documents = documents(&page);
    let details = documents.as_object().unwrap().keys();
    let details = details.filter(|key| key.starts_with("/trials/") && !key.ends_with("/log"));
    assert_eq!(details.count(), 500);
    assert_eq!(documents["/failures"]["kinds"][0]["groups"][0]["trials"], 510);
    assert_eq!(rows[509][4], "equals: expected 2, got 1");
}

#[test]
fn page_has_the_newest_results() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "again"
        repeat = 2
        input = { do = "fail-until", attempt = 3 }
        [[tests]]
        id = "good"
        input = { do = "echo", value = 1 }
        "#,
    );
    runner.exec(&[]).expect(1);
    for end in [1, 0] {
        runner.run(&["resume", "latest", "--rerun", "failed"]).expect(end);
        let page = page(&runner, &[]);
        let shown = |row: &Value| {
            let is_good = row[1] == "passed" || row[1] == "flaky";
            (row[0].as_str().unwrap().to_owned(), is_good)
        };
        let mut shown: Vec<_> = rows(&page).iter().map(shown).collect();
        shown.sort();
        let results = results(&runner.only_run());
        let results = results.into_iter().map(|(trial, row)| (trial, row["outcome"] == "passed"));
        assert_eq!(shown, results.collect::<Vec<_>>());
    }
}
