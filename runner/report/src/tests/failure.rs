use runner_model::{RowRef, known::Known};

use super::{Tone, block, headline, kind};
use crate::{Failures, FailuresPage};

fn row(outcome: &str, keys: &str) -> String {
    format!(
        r#"{{"v":4,"trial":"a@p#1","test":"a","provider":"p","repeat":1,"attempt":1,"outcome":"{outcome}","started_at":"2026-11-20T09:18:04.015Z","duration_ms":1.5,"usage":{{}}{keys}}}"#
    )
}

fn read(json: &str) -> RowRef<'_> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn checks_say_what_was_expected() {
    let json = row(
        "failed",
        r#","checks":[{"kind":"max_duration","verdict":"pass"},{"kind":"equals","verdict":"fail","message":"the output differs from the expected one","expected":"two","actual":"one\u001b"}]"#,
    );
    let row = read(&json);
    assert_eq!(headline(&row), r#"equals: expected "two", got "one\u001b""#);
    let lines = block(&row, 20);
    let expected = [
        (Tone::Reason, "equals: the output differs from the expected one".to_owned()),
        (Tone::Expected, r#"expected  "two""#.to_owned()),
        (Tone::Actual, r#"got       "one\u001b""#.to_owned()),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn messages_keep_their_line_breaks() {
    let json = row(
        "failed",
        r#","checks":[{"name":"judge","verdict":"fail","message":"\nnot polite:\r\n\n  \u001b[2Jno greeting\n  no thanks\n","actual":"a\nb"},{"name":"empty","verdict":"fail","message":"\n"}]"#,
    );
    let row = read(&json);
    assert_eq!(headline(&row), "judge (+1 more check): not polite:");
    let lines = [
        (Tone::Reason, "judge: not polite:"),
        (Tone::Detail, ""),
        (Tone::Detail, r"  \u{1b}[2Jno greeting"),
        (Tone::Detail, "  no thanks"),
        (Tone::Actual, r#"got       "a\nb""#),
        (Tone::Reason, "empty: did not hold"),
    ];
    assert_eq!(block(&row, 3), lines.map(|(tone, text)| (tone, text.to_owned())));
    let cut = block(&row, 1);
    assert_eq!(cut[2], (Tone::Detail, "… 2 more lines".to_owned()));
}

#[test]
fn panics_say_their_own_words_first() {
    let json = row(
        "error",
        r#","error":{"class":"trap","code":"unreachable","message":"the guest trapped: wasm `unreachable`","stderr":"\nthread 'main' (1) panicked at act.rs:15:166:\nconnection lost\nnote: run with `RUST_BACKTRACE=1` \u0007"}"#,
    );
    let row = read(&json);
    let words = "connection lost (panicked at act.rs:15:166)";
    assert_eq!(headline(&row), words);
    let expected = [
        (Tone::Reason, words.to_owned()),
        (Tone::Detail, "the guest trapped: wasm `unreachable`".to_owned()),
    ];
    assert_eq!(block(&row, 2), expected);
}

#[test]
fn exceptions_of_python_come_first() {
    let stderr = r#"Traceback (most recent call last):\n  File \"/0/provider.py\", line 7, in run\nValueError: oh no\n\nthread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\nPython function threw an unexpected exception"#;
    let error = |class: &str| {
        let error = format!(r#""class":"{class}","code":"c","message":"the guest trapped""#);
        row("error", &format!(r#","error":{{{error},"stderr":"{stderr}"}}"#))
    };
    let trap = error("trap");
    let expected = [
        (Tone::Reason, "ValueError: oh no (provider.py, line 7)"),
        (Tone::Detail, "the guest trapped"),
        (Tone::Detail, "Traceback (most recent call last):"),
        (Tone::Detail, r#"  File "/0/provider.py", line 7, in run"#),
    ];
    let expected = expected.map(|(tone, text)| (tone, text.to_owned()));
    assert_eq!(block(&read(&trap), 12), expected);
    // The reason for the lack of memory comes first.
    let memory = error("out-of-memory");
    let words = "the guest trapped: ValueError: oh no (provider.py, line 7)";
    assert_eq!(headline(&read(&memory)), words);
}

#[test]
fn exceptions_of_python_are_one_line_with_a_place() {
    let caught = "Traceback (most recent call last):\n  File \"/0/provider.py\", line 3, in run\nKeyError: 1\n\n\
        During handling of the above exception, another exception occurred:\n\n";
    let frames = "Traceback (most recent call last):\n  File \"/0/provider.py\", line 5, in run\n";
    let group = "  + Exception Group Traceback (most recent call last):\n  |   File \"/0/provider.py\", line 5, in run\n";
    let parts = "  +-+---------------- 1 ----------------\n    |   File \"/0/provider.py\", line 9, in a\n    | ValueError: one\n    \
        +------------------------------------\n";
    let checked = "  File \"/0/provider.py\", line 80, in checked\nTypeError: no\n";
    for (printed, words) in [
        (
            format!("{caught}{frames}ValueError: a\n  b\nc\n"),
            "ValueError: a b c (provider.py, line 5)",
        ),
        (
            format!("{frames}    run()\n    ~~~^^\nValueError: a\n"),
            "ValueError: a (provider.py, line 5)",
        ),
        (
            format!("{caught}{group}  | Group: a\n  | b\n{parts}"),
            "Group: a b (provider.py, line 5)",
        ),
        // The start is cut off.
        (format!("  | b\n{parts}"), "b"),
        (parts.to_owned(), "ValueError: one"),
        // The line of the caller is the author's mistake.
        (format!("{frames}{checked}"), "TypeError: no (provider.py, line 5)"),
        (checked.to_owned(), "TypeError: no (provider.py, line 80)"),
        ("a log\nSystemExit: 3\n".to_owned(), "SystemExit: 3"),
    ] {
        let panic = "\nthread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\n";
        let printed = format!("{printed}{panic}Python function threw an unexpected exception");
        assert_eq!(trapped(&printed), words);
    }
}

#[test]
fn values_that_the_runtime_of_python_refuses_are_named() {
    for (refused, words) in [
        (
            "CastError { from: 'text', classinfo: <class 'bytes'> }",
            "a value of the wrong type was given to the host: 'text' is not <class 'bytes'>",
        ),
        (
            "PyErr { type: <class 'OverflowError'>, value: OverflowError(\"can't convert negative int to unsigned\"), traceback: None }",
            "a value that the contract does not allow was given to the host: OverflowError(\"can't convert negative int to unsigned\")",
        ),
        (
            "Os { code: 44 }",
            "called `Result::unwrap()` on an `Err` value: Os { code: 44 } (panicked at runtime/src/lib.rs:1686:57)",
        ),
    ] {
        let panic = "\nthread '<unnamed>' (1) panicked at runtime/src/lib.rs:1686:57:\ncalled `Result::unwrap()` on an `Err` value: ";
        assert_eq!(trapped(&format!("{panic}{refused}\nnote: run with `RUST_BACKTRACE=1`")), words);
    }
}

/// Returns the headline of a trap with this standard error.
fn trapped(stderr: &str) -> String {
    let stderr = serde_json::to_string(stderr).unwrap();
    let error = r#""class":"trap","code":"c","message":"the guest trapped""#;
    headline(&read(&row("error", &format!(r#","error":{{{error},"stderr":{stderr}}}"#))))
}

#[test]
fn exceptions_of_javascript_come_first() {
    let stack =
        r"Stack:\n  describe@shout.js:17:9\n\nRedirecting call to abort() to mozalloc_abort";
    let bundle = stack.replace("shout.js:17", "dist/loader.js line 26 > Function:19");
    let tool = stack.replace("shout.js", "/tmp/1/sources/initializer.js");
    for (said, words) in [
        (format!(r"nope is not defined\n{stack}"), "nope is not defined (shout.js:17:9)"),
        (
            format!(
                r"ReferenceError: nope is not defined (shout.js:17)\nnope is not defined\n{bundle}"
            ),
            "ReferenceError: nope is not defined (shout.js:17)",
        ),
        (format!(r"1 is no record\n{tool}"), "1 is no record"),
    ] {
        let error = r#""class":"trap","code":"c","message":"the guest trapped""#;
        let row = row("error", &format!(r#","error":{{{error},"stderr":"{said}"}}"#));
        assert_eq!(headline(&read(&row)), words);
    }
}

#[test]
fn headlines_have_the_programs_words() {
    for (said, words) in [
        (r"Traceback:\n  line 1\nValueError: \u001boh no\n", r"ValueError: \u{1b}oh no"),
        (r"panic: oh no\n\ngoroutine 1:\nmain.main()\n\tmain.go:1", "panic: oh no"),
        (r"no memory\nnote: run with `RUST_BACKTRACE=1`", "no memory"),
    ] {
        let json = row(
            "failed",
            &format!(
                r#","checks":[{{"kind":"exit_code","verdict":"fail","message":"got 1","stderr":"{said}","actual":1}}]"#
            ),
        );
        assert_eq!(headline(&read(&json)), format!("exit code 1: {words}"));
        let json = row(
            "error",
            &format!(
                r#","error":{{"class":"trap","code":"unreachable","message":"the guest trapped","stderr":"{said}"}}"#
            ),
        );
        assert_eq!(headline(&read(&json)), words);
    }
}

#[test]
fn only_blocks_have_class_and_code() {
    for (outcome, error, line, reason) in [
        (
            "error",
            r#""class":"unavailable","code":"dns","message":"no such host""#,
            "no such host",
            "unavailable dns: no such host",
        ),
        ("error", r#""class":"unavailable","code":"","message":"""#, "unavailable", "unavailable"),
        (
            "timeout",
            r#""code":"timeout","message":"no reply within 1s""#,
            "no reply within 1s",
            "no reply within 1s",
        ),
        (
            "error",
            r#""class":"internal","code":"internal","message":"\n a\n b""#,
            "a",
            "internal: a",
        ),
    ] {
        let json = row(outcome, &format!(r#","error":{{{error}}}"#));
        assert_eq!(headline(&read(&json)), line);
        assert_eq!(block(&read(&json), 3)[0], (Tone::Reason, reason.to_owned()));
    }
}

#[test]
fn differences_are_counted_and_listed() {
    let reason = |count: u64, differences: &str| {
        let json = row(
            "failed",
            &format!(
                r#","checks":[{{"kind":"json","verdict":"fail","difference_count":{count},"differences":[{differences}],"expected":{{"a":1,"b":2}},"actual":{{"a":2}}}}]"#
            ),
        );
        let row = read(&json);
        (headline(&row), block(&row, 3))
    };
    let changed = r#"{"path":"$.a","expected":"1","actual":"2"}"#;
    let missing = r#"{"path":"$.b","expected":"2"}"#;
    let (line, lines) = reason(2, &format!("{changed},{missing}"));
    assert_eq!(line, "json: 2 differences; $.a: expected 1, got 2");
    let expected = [
        (Tone::Reason, "json: 2 differences"),
        (Tone::Actual, "at $.a: expected 1, got 2"),
        (Tone::Actual, "at $.b: missing, expected 2"),
    ];
    assert_eq!(lines, expected.map(|(tone, text)| (tone, text.to_owned())));
    let one = "json: at $.a: expected 1, got 2";
    assert_eq!(reason(1, changed), (one.to_owned(), vec![(Tone::Reason, one.to_owned())]));
    // The list of a row that was too long is gone.
    assert_eq!(reason(2, "").0, "json: 2 differences");
}

#[test]
fn differences_that_are_left_out_are_counted() {
    let differences = [r#"{"path":"$[0]","expected":"1","actual":"2"}"#; 3].join(",");
    let check = format!(
        r#"{{"kind":"equals","verdict":"fail","difference_count":2000,"differences":[{differences}]}}"#
    );
    let json = row("failed", &format!(r#","checks":[{check}]"#));
    let last = |most| block(&read(&json), most).pop().unwrap();
    assert_eq!(last(2), (Tone::Detail, "… 1,998 more differences".to_owned()));
    assert_eq!(last(9), (Tone::Detail, "… 1,997 more differences".to_owned()));
}

#[test]
fn wrong_exit_code_is_the_first_reason() {
    let checks = r#"{"kind":"equals","verdict":"fail","message":"m","expected":"a","actual":""},{"kind":"exit_code","verdict":"fail","message":"expected exit code 0, got 7","actual":7}"#;
    let json = row("failed", &format!(r#","checks":[{checks}]"#));
    assert_eq!(headline(&read(&json)), "exit_code (+1 more check): expected exit code 0, got 7");
}

#[test]
fn unexpected_error_is_shown_once() {
    let message = r#""message":"the guest trapped","stderr":"Traceback:\nNameError: x""#;
    let check = r#"{"kind":"error","verdict":"fail","message":"expected `refused`, got `trap`","expected":"refused","actual":"trap"}"#;
    let error = format!(r#"{{"class":"trap","code":"unreachable",{message}}}"#);
    let json = row("failed", &format!(r#","checks":[{check}],"error":{error}"#));
    let line = "error: expected `refused`, got `trap`: NameError: x";
    assert_eq!(headline(&read(&json)), line);
    let lines = block(&read(&json), 9);
    let reasons: Vec<_> = lines.iter().filter(|(tone, _)| *tone == Tone::Reason).collect();
    assert_eq!(reasons, [&(Tone::Reason, line.to_owned())]);
}

#[test]
fn same_faults_have_the_same_headline() {
    let line = |output: &str| {
        let message = format!(r#""message":"the output is not JSON","excerpt":"{output}""#);
        let error = format!(r#"{{"class":"protocol","code":"json",{message}}}"#);
        let json = row("error", &format!(r#","error":{error}"#));
        (headline(&read(&json)), block(&read(&json), 9)[0].1.clone())
    };
    assert_eq!(line("a").0, "the output is not JSON");
    assert_eq!(line("b").0, line("a").0);
    assert!(line("a").1.ends_with("it starts with `a`"));
}

#[test]
fn log_lines_do_not_hide_traps() {
    let lines = |last: &str, checks: &str| {
        let message = "the guest trapped: out of bounds memory access in `run`";
        let stderr = format!(r"shouting; words: 1\n{last}");
        let error = format!(
            r#"{{"class":"trap","code":"memory","message":"{message}","stderr":"{stderr}"}}"#
        );
        let json = row("error", &format!(r#"{checks},"error":{error}"#));
        let block = block(&read(&json), 9).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        (headline(&read(&json)), block.join("\n"))
    };
    let trap = "the guest trapped: out of bounds memory access in `run`";
    assert_eq!(lines("words: 2", "").0, trap);
    assert_eq!(lines("words: 3", "").0, trap);
    assert!(lines("words: 3", "").1.ends_with("ends with:\nshouting; words: 1\nwords: 3"));
    for reason in ["Assertion failed: x (a.c: run: 7)", "TypeError: x", "panic: x"] {
        assert_eq!(lines(reason, "").0, reason);
    }
    let check = r#","checks":[{"kind":"error","verdict":"fail","message":"expected `refused`, got `trap`"}]"#;
    let (line, block) = lines("words: 2", check);
    assert_eq!(line, format!("error: expected `refused`, got `trap`: {trap}"));
    assert!(block.ends_with("ends with:\nshouting; words: 1\nwords: 2"), "{block}");
}

#[test]
fn expected_errors_are_listed_without_output() {
    let message = r#""message":"the standard output is not one JSON object","excerpt":"debug""#;
    let check =
        r#"{"kind":"error","verdict":"fail","message":"expected `refused`, got `protocol`"}"#;
    let error = format!(r#"{{"class":"protocol","code":"json",{message}}}"#);
    let json = row("failed", &format!(r#","checks":[{check}],"error":{error}"#));
    let line =
        "error: expected `refused`, got `protocol`: the standard output is not one JSON object";
    assert_eq!(headline(&read(&json)), line);
    assert!(block(&read(&json), 9)[0].1.ends_with("it starts with `debug`"));
}

#[test]
fn keys_of_the_provider_follow_the_values() {
    let line = |hint: &str, expected: &str, actual: &str| {
        let check = format!(
            r#"{{"kind":"equals","verdict":"fail","message":"it differs","hint":"{hint}","expected":{expected},"actual":{actual}}}"#
        );
        let json = row("failed", &format!(r#","checks":[{check}]"#));
        (headline(&read(&json)), block(&read(&json), 9)[0].1.clone())
    };
    let (short, long) = line(r#"output = \"json\""#, "4", r#""4""#);
    let hint = r#"; set the provider's `output = "json"` to read it as JSON"#;
    assert_eq!(short, format!(r#"equals: expected 4, got "4"{hint}"#));
    assert_eq!(long, format!("equals: it differs{hint}"));
    let (short, long) = line(r#"output = \"trimmed\""#, r#""hello""#, r#""hello\n""#);
    let hint = r#"; set the provider's `output = "trimmed"` to cut white space at its ends"#;
    assert_eq!(short, format!(r#"equals: expected "hello", got "hello\n"{hint}"#));
    assert_eq!(long, format!("equals: it differs{hint}"));
    let (short, long) = line(r#"protocol = \"json\""#, "1", "2");
    let hint =
        r#"this looks like an answer of the JSON protocol: set the provider's `protocol = "json"`"#;
    assert_eq!(short, format!("equals: {hint}"));
    assert_eq!(long, format!("equals: it differs; {hint}"));
}

#[test]
fn choices_and_exclusions_show_each_value_once() {
    let shown = |kind: &str, message: &str, expected: &str| {
        let check = format!(
            r#"{{"kind":"{kind}","verdict":"fail","message":"{message}","expected":{expected},"actual":"c"}}"#
        );
        let json = row("failed", &format!(r#","checks":[{check}]"#));
        let lines: Vec<_> = block(&read(&json), 9).into_iter().map(|(_, line)| line).collect();
        (headline(&read(&json)), lines.join("\n"))
    };
    let (line, lines) = shown("equals_any", "the output is none of it", r#"["a","b"]"#);
    assert_eq!(line, r#"equals_any: expected one of ["a","b"], got "c""#);
    assert_eq!(lines, "equals_any: the output is none of it\ngot       \"c\"");
    for name in ["contains_any", "not.equals", "not.contains", "not.matches"] {
        let (line, lines) = shown(name, "m", "\"x\"");
        assert_eq!(line, format!("{name}: m"));
        assert_eq!(lines, format!("{name}: m\ngot       \"c\""));
    }
}

#[test]
fn differing_line_ignores_case_as_its_check_does() {
    let line = |ignore_case: bool| {
        let check = format!(
            r#"{{"kind":"equals","verdict":"fail","message":"m","ignore_case":{ignore_case},"expected":"One\nTwo","actual":"ONE\ntoo"}}"#
        );
        headline(&read(&row("failed", &format!(r#","checks":[{check}]"#))))
    };
    assert_eq!(line(false), r#"equals: line 1: expected "One", got "ONE""#);
    assert_eq!(line(true), r#"equals: line 2: expected "two", got "too""#);
}

#[test]
fn logs_are_no_part_of_a_protocol_fault() {
    let line = |log: &str| {
        [r#","excerpt":"a""#, ""].map(|excerpt| {
            let message = "the standard output is not one JSON object";
            let error = format!(r#""code":"json","message":"{message}"{excerpt},"stderr":"{log}""#);
            headline(&read(&row("error", &format!(r#","error":{{"class":"protocol",{error}}}"#))))
        })
    };
    assert_eq!(line("one"), ["the standard output is not one JSON object"; 2]);
    assert_eq!(line("two"), line("one"));
}

#[test]
fn words_of_providers_are_not_parsed() {
    // Rows of older versions have such messages, too.
    let message = "no; it starts with `a`; its standard error ends with:";
    let json = row(
        "error",
        &format!(
            r#","error":{{"class":"other","code":"c","message":"{message}\nlast"}},"checks":[{{"name":"own","verdict":"fail","message":"{message}\nlast"}}]"#
        ),
    );
    assert_eq!(headline(&read(&json)), format!("own: {message}"));
    let reasons = [format!("own: {message}"), format!("other c: {message}")];
    let expected = reasons.map(|reason| [(Tone::Reason, reason), (Tone::Detail, "last".into())]);
    assert_eq!(block(&read(&json), 9), expected.concat());
    let json =
        row("error", &json[json.find(r#","error""#).unwrap()..json.find(r#","checks""#).unwrap()]);
    assert_eq!(headline(&read(&json)), message);
}

#[test]
fn long_lines_are_short_unless_whole() {
    let long = |end: &str| format!("{}{end}{}", "a ".repeat(3000), "b ".repeat(3000));
    let check = |expected: &str| {
        format!(
            r#"{{"kind":"equals","verdict":"fail","message":"m","expected":"{expected}","actual":"{}"}}"#,
            long("y")
        )
    };
    let lines = |expected: &str, most| {
        let json = row("failed", &format!(r#","checks":[{}]"#, check(expected)));
        block(&read(&json), most).into_iter().map(|(_, line)| line).collect::<Vec<_>>()
    };
    let short = lines(&long("x"), 12);
    assert!(short.iter().all(|line| line.chars().count() < 430), "{short:?}");
    assert!(short[1].starts_with("expected  …a a") && short[1].contains("a xb b"), "{short:?}");
    assert!(short[2].contains("a yb b") && short[2].ends_with("… 5.7 KiB more"), "{short:?}");
    assert_eq!(lines("x", 12)[1], r#"expected  "x""#);
    assert!(lines("x", 12)[2].starts_with(r#"got       "a a"#));
    assert!(lines(&long("x"), usize::MAX).iter().skip(1).all(|line| line.len() > 12_000));
}

#[test]
fn texts_of_several_lines_name_the_line() {
    let line = |expected: &str, actual: &str| {
        let check = format!(
            r#"{{"kind":"equals","verdict":"fail","message":"m","expected":{expected},"actual":{actual}}}"#
        );
        headline(&read(&row("failed", &format!(r#","checks":[{check}]"#))))
    };
    let long = r#""a\nb\nthe third line\nd""#;
    assert_eq!(
        line(long, &long.replace("third", "last")),
        r#"equals: line 3: expected "the third line", got "the last line""#
    );
    let words = |end: &str| format!(r#""a\nsome words before the difference of two {end} lines""#);
    assert_eq!(
        line(&words("long"), &words("short")),
        r#"equals: line 2: expected "…difference of two long lines", got "…difference of two short lines""#
    );
    assert_eq!(line(r#""a\nb""#, r#""a""#), r#"equals: line 2: expected "b", got no line"#);
    assert_eq!(line(r#""a\nb""#, r#""a\r\nb""#), r#"equals: expected "a\nb", got "a\r\nb""#);
}

#[test]
fn values_in_messages_are_not_repeated() {
    for name in ["error", "exit_code", "max_duration", "max_memory", "min_score"] {
        let lines = |key| {
            let check = format!(
                r#"{{"{key}":"{name}","verdict":"fail","message":"m","expected":1,"actual":2}}"#
            );
            let json = row("failed", &format!(r#","checks":[{check}]"#));
            block(&read(&json), 3).len()
        };
        assert_eq!((lines("kind"), lines("name")), (1, 3), "{name}");
    }
}

#[test]
fn headline_shows_where_values_differ() {
    let common = "the same words over and over again, ";
    let json = row(
        "failed",
        &format!(
            r#","checks":[{{"kind":"equals","verdict":"fail","expected":"{common}one","actual":"{common}two and more and more and more"}}]"#
        ),
    );
    assert_eq!(
        headline(&read(&json)),
        r#"equals: expected …and over again, one", got …and over again, two and more and more…"#
    );
}

#[test]
fn differences_are_cut_and_visible() {
    let json = row(
        "failed",
        r#","checks":[{"kind":"equals","verdict":"fail","message":"m","expected":1,"actual":2,"diff":"@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\u001b[2J\n\\ No newline at end of file\n c"}]"#,
    );
    let row = read(&json);
    let lines = block(&row, 3);
    let expected = [
        (Tone::Reason, "equals: m"),
        (Tone::Detail, "- expected  + got"),
        (Tone::Expected, "-a"),
        (Tone::Actual, r"+b\u{1b}[2J"),
        (Tone::Detail, "… 1 more line"),
    ];
    let expected = expected.map(|(tone, text)| (tone, text.to_owned()));
    assert_eq!(lines, expected);
    let has_end = |diff: &str| super::difference(diff).iter().any(|(_, line)| line.contains("No"));
    assert!(!has_end("@@ -1,2 +1,2 @@\n-a\n+b\n c\n\\ No newline at end of file"));
    assert!(has_end("@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file"));
}

#[test]
fn verdict_alone_is_a_reason() {
    let json = row("failed", r#","verdict":"fail""#);
    let without = read(&json);
    assert_eq!(headline(&without), "the provider returned the verdict `fail`");
    assert_eq!(block(&without, 3).len(), 1);
}

#[test]
fn summary_of_a_provider_is_its_reason() {
    let reason = |outcome, keys: &str| {
        let json = row(outcome, &format!(r#","summary":"it is rude\u001b"{keys}"#));
        let row = read(&json);
        (headline(&row), block(&row, 3))
    };
    let (line, block) = reason("failed", r#","verdict":"fail""#);
    assert_eq!(line, "verdict fail: it is rude\\u{1b}");
    assert_eq!(block, [(Tone::Reason, line)]);
    let (line, block) = reason("skipped", r#","verdict":"skip""#);
    assert_eq!((line.as_str(), block.len()), ("it is rude\\u{1b}", 1));
    // A failed check is the reason, and the summary a detail.
    let check = r#","checks":[{"name":"judge","verdict":"fail","message":"no"}]"#;
    let (line, block) = reason("failed", check);
    assert_eq!(line, "judge: no");
    assert_eq!(block.last().unwrap(), &(Tone::Reason, "summary: it is rude\\u{1b}".to_owned()));
    // Skipping does not excuse a failed check.
    let (line, block) = reason("failed", &format!(r#","verdict":"skip"{check}"#));
    assert_eq!(line, "judge: no");
    let first = r"the provider returned the verdict `skip`: it is rude\u{1b}";
    let expected = [first, "judge: no"].map(|line| (Tone::Reason, line.to_owned()));
    assert_eq!(block, expected);
}

#[test]
fn denials_say_what_would_allow_them() {
    let denied = r#","seq":1,"denied":[{"what":"the secret `KEY`","grant":"secrets = [\"KEY\"]"},{"what":"a link"}]"#;
    for (message, is_told) in [("the secret `KEY` is not granted", false), ("no key", true)] {
        let error =
            format!(r#","error":{{"class":"denied","code":"secret","message":"{message}"}}"#);
        let json = row("error", &(error + denied));
        let lines = block(&read(&json), 20);
        let advice = "denied: the secret `KEY` – to allow it, add \"KEY\" to `secrets` of [providers.p.grants]";
        let last = &lines[lines.len() - 2..];
        assert_eq!(last[0], (Tone::Reason, advice.to_owned()));
        assert_eq!(last[1], (Tone::Reason, "denied: a link".to_owned()));
        assert_eq!(lines.len() == 3, is_told, "{lines:?}");
    }
}

/// Returns a row with the grades of several graders, whose keys are given.
fn graded(outcome: &str, grades: &[&str]) -> String {
    let grades: Vec<_> = grades
        .iter()
        .map(|keys| format!(r#"{{"grader":"g\u001b","attempt":1,"duration_ms":2.5,{keys}}}"#))
        .collect();
    row(outcome, &format!(r#","score":0.1,"grades":[{}]"#, grades.join(",")))
}

#[test]
fn kind_of_several_outcomes_is_one_number() {
    let mut failures = Failures::default();
    for (place, outcome) in [(0, "failed"), (1, "error")] {
        add(&mut failures, &graded(outcome, &[r#""verdict":"fail""#; 2]), place);
    }
    let expected = r"2 trials, 4 failed checks, by kind: 2 × grader g\u{1b}: fail";
    assert_eq!(failures.extent(), expected);
}

#[test]
fn failing_grades_give_the_reason() {
    let pass = r#""verdict":"pass","score":0.9,"explanation":"fine""#;
    for (outcome, keys, line) in [
        (
            "failed",
            r#""verdict":"fail","own_verdict":"pass","score":0.4,"min_score":0.7,"explanation":"\nwhy\n no\u0007\n""#,
            r"grader g\u{1b}: score 0.4 < 0.7: why",
        ),
        (
            "failed",
            r#""verdict":"fail","score":0.6999999999999998,"min_score":0.7"#,
            r"grader g\u{1b}: score 0.6999999999999998 < 0.7",
        ),
        (
            "failed",
            r#""verdict":"fail","score":0.69999996,"min_score":0.7"#,
            r"grader g\u{1b}: score 0.69999996 < 0.7",
        ),
        ("failed", r#""verdict":"fail","score":0.4"#, r"grader g\u{1b}: verdict fail 0.4"),
        ("failed", r#""verdict":"fail","explanation":"no""#, r"grader g\u{1b}: verdict fail: no"),
        // As models write it.
        (
            "failed",
            r#""verdict":"fail","explanation":"The date is wrong.\nIt is not as expected.\nScore: 2/5""#,
            r"grader g\u{1b}: verdict fail: The date is wrong.",
        ),
        (
            "error",
            r#""error":{"class":"trap","code":"unreachable","message":"the guest trapped","stderr":"error: boom"}"#,
            r"grader g\u{1b}: error: boom",
        ),
        ("error", r#""error":{"code":"timeout","message":""}"#, r"grader g\u{1b}: timeout"),
    ] {
        let json = graded(outcome, &[pass, keys]);
        let json = match outcome {
            "error" => json.replace(
                r#","score":0.1"#,
                r#","error":{"class":"grader","code":"a","message":"grader `g`: a"}"#,
            ),
            _ => json,
        };
        let row = read(&json);
        assert_eq!(headline(&row), line);
        let reasons = block(&row, 9);
        let reasons = reasons.iter().filter(|(tone, _)| *tone == Tone::Reason);
        assert_eq!(reasons.map(|(_, line)| line).collect::<Vec<_>>(), [line]);
    }
}

#[test]
fn logs_of_tests_are_grouped_by_the_line_that_explains() {
    let log_of = |text: &str, (from, to): (&str, &str)| {
        let text = serde_json::to_string(&text.replace(from, to)).unwrap();
        graded("failed", &[&format!(r#""verdict":"fail","printed":true,"explanation":{text}"#)])
    };
    for (log, rest, line) in [
        (include_str!("logs/unittest.txt"), "FF", "AssertionError: Lists differ: ['2'] != [2, 4]"),
        (
            include_str!("logs/pytest.txt"),
            "============================= test session starts ==============================",
            "FAILED test_plain.py::test_text - AssertionError: assert ['2'] == [2, 4]",
        ),
        ("1..2\nok 1\nnot ok 2 sums\n\n", "1..2", "not ok 2 sums"),
        (
            "[INFO] Running AppTest\n[ERROR]   AppTest.adds:9 expected:<3> but was:<2>\n\
             [ERROR] Tests run: 2, Failures: 1, Errors: 0, Skipped: 0\n[INFO] BUILD FAILURE",
            "[INFO] Running AppTest",
            "[ERROR]   AppTest.adds:9 expected:<3> but was:<2>",
        ),
    ] {
        let json = log_of(log, ("", ""));
        let shown = format!(r"grader g\u{{1b}}: verdict fail: {line}");
        assert_eq!(headline(&read(&json)), shown);
        // The other lines follow in their order.
        let lines = block(&read(&json), usize::MAX);
        assert_eq!(lines[..2], [(Tone::Reason, shown), (Tone::Detail, rest.to_owned())]);
        let texts: Vec<_> = lines.iter().map(|(_, text)| text.as_str()).collect();
        assert!(!texts[1..].contains(&line), "{texts:?}");
        assert_eq!(lines.len(), log.lines().filter(|line| !line.is_empty()).count());

        // Other failures are other groups, although the logs start and end alike.
        let mut failures = Failures::default();
        for place in 0..4 {
            let (from, to) = (line, format!("{line}, {}", ["sums", "texts"][place as usize % 2]));
            let json = log_of(log, (from, &to));
            let trial = format!(r#""t{place}@p#1","test":"t{place}""#);
            add(&mut failures, &json.replace(r#""a@p#1","test":"a""#, &trial), place);
        }
        let groups = failures.sorted();
        assert_eq!(groups.iter().map(|group| group.trials).collect::<Vec<_>>(), [2, 2]);
    }
}

#[test]
fn score_of_a_trial_is_the_graders_mean() {
    let json = graded("passed", &[r#""verdict":"pass","score":0.5"#, r#""verdict":"pass""#]);
    assert_eq!(read(&json).trial_score(), Some(0.5));
    assert_eq!(read(&graded("passed", &[])).trial_score(), Some(0.1));
    for outcome in ["error", "timeout", "skipped", "ungraded"] {
        assert_eq!(read(&json.replace("passed", outcome)).trial_score(), None, "{outcome}");
    }
}

#[test]
fn code_points_follow_texts_that_look_alike() {
    let check = |message: &str, expected: &str, actual: &str| {
        row(
            "failed",
            &format!(
                r#","checks":[{{"kind":"equals","verdict":"fail","message":"{message}","code_points":"U+00E9, got U+0065 U+0301","expected":"{expected}","actual":"{actual}"}}]"#
            ),
        )
    };
    let points = "(first difference: U+00E9, got U+0065 U+0301)";
    let json = check("the output differs", "café", "cafe\u{301}");
    let line = format!("equals: expected \"café\", got \"cafe\u{301}\" {points}");
    assert_eq!(headline(&read(&json)), line);
    let first = format!("equals: the output differs {points}");
    assert_eq!(block(&read(&json), 20)[0], (Tone::Reason, first));
    let json = check("the output differs", r"x\ncafé", r"x\ncafe\u0301");
    let line = format!("equals: line 2: expected \"café\", got \"cafe\u{301}\" {points}");
    assert_eq!(headline(&read(&json)), line);
}

fn add(failures: &mut Failures, json: &str, place: u64) {
    failures.add_result(&read(json), place, &Known::default());
}

#[test]
fn many_wrong_answers_are_few_groups() {
    let mut failures = Failures::default();
    for number in 0..5000_u64 {
        let answer = if number % 2 == 0 { "unknown".to_owned() } else { (number / 4).to_string() };
        let keys = r#","checks":[{"kind":"equals","verdict":"fail","message":"the output differs from the expected one","expected":"E","actual":"A"}]"#;
        // Pairs of neighbours have the same expectation and the same answer.
        let keys = keys.replace('E', &format!("city {}", number / 4)).replace('A', &answer);
        let json = row("failed", &keys)
            .replace(r#""a@p#1","test":"a""#, &format!(r#""t{number}@p#1","test":"t{number}""#));
        add(&mut failures, &json, number);
    }
    let (groups, left) = failures.listed();
    let shown = groups.iter().map(|group| (group.trials, group.first_names(), &*group.reason));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            (
                2500,
                "t0@p#1, t2@p#1, t4@p#1 and 2,497 more".to_owned(),
                r#"equals: got "unknown" (expected values differ)"#
            ),
            (
                2500,
                "t1@p#1, t3@p#1, t5@p#1 and 2,497 more".to_owned(),
                r#"equals: expected "city 0", got "0" (values differ)"#
            ),
        ]
    );
    assert_eq!(left, None);
}

#[test]
fn groups_do_not_depend_on_the_order() {
    let rows = (0..90_u64).map(|number| {
        let keys =
            format!(r#","error":{{"class":"trap","code":"c","message":"no key\nat {number}"}}"#);
        let trial = format!(
            r#""t{number}@p{}#1","test":"t{number}","provider":"p{}""#,
            number % 9,
            number % 9
        );
        let json = row("error", &keys).replace(r#""a@p#1","test":"a","provider":"p""#, &trial);
        (number, json)
    });
    let groups = |rows: &mut dyn Iterator<Item = (u64, String)>| {
        let mut failures = Failures::default();
        for (number, json) in rows {
            add(&mut failures, &json, number);
        }
        let groups = failures.sorted().into_iter().map(|group| {
            let providers: Vec<_> = group.providers().map(str::to_owned).collect();
            (group.first_names(), group.block, providers)
        });
        groups.collect::<Vec<_>>()
    };
    assert_eq!(groups(&mut rows.clone()), groups(&mut rows.rev()));
}

#[test]
fn kept_reasons_are_short() {
    let message = "x".repeat(100_000);
    let json =
        row("error", &format!(r#","error":{{"class":"other","code":"c","message":"{message}"}}"#));
    let mut failures = Failures::default();
    add(&mut failures, &json, 0);
    failures.add_retried(&read(&json), 1);
    assert!(failures.sorted()[0].reason.len() < 2000);
    assert!(failures.retried().0[0].len() < 2000);
}

#[test]
fn kinds_name_check_grader_or_error() {
    let check = |keys: &str| row("failed", &format!(r#","checks":[{{{keys},"verdict":"fail"}}]"#));
    let error = |outcome: &str, keys: &str| row(outcome, &format!(r#","error":{{{keys}}}"#));
    let grade = |outcome: &str, keys: &str| graded(outcome, &[keys]);
    let below = r#""verdict":"fail","score":0.66,"min_score":0.7,"explanation":"below 0.9: no""#;
    for (json, expected) in [
        (check(r#""kind":"equals","message":"contains: x""#), "equals"),
        (check(r#""name":"polite\n""#), r"polite\n"),
        (grade("failed", below), r"grader g\u{1b} below 0.7"),
        (
            grade("failed", r#""verdict":"fail","score":0.9,"min_score":0.7"#),
            r"grader g\u{1b}: fail",
        ),
        (
            grade("error", r#""error":{"class":"denied","code":"a","message":""}"#),
            r"grader g\u{1b}: denied",
        ),
        (grade("error", r#""error":{"code":"timeout","message":""}"#), r"grader g\u{1b}: timeout"),
        (error("error", r#""class":"denied","code":"a","message":"no""#), "denied"),
        (error("error", r#""code":"lost","message":"no""#), "lost"),
        (error("timeout", r#""code":"trial_timeout","message":"no""#), "timeout"),
        (row("failed", r#","verdict":"fail","summary":"it is bad""#), "verdict"),
        (row("skipped", r#","summary":"not today""#), "skipped"),
    ] {
        assert_eq!(kind(&read(&json)), expected);
    }
}

#[test]
fn scores_with_one_explanation_are_one_group() {
    let mut failures = Failures::default();
    for number in 0..40_u64 {
        let words = [
            "It repeats the question.".to_owned(),
            format!("Reason {}", "x".repeat(number as usize)),
        ];
        let grade = format!(
            r#""verdict":"fail","score":0.{number:02},"min_score":0.7,"explanation":"{}""#,
            words[number as usize % 2]
        );
        let json = graded("failed", &[&grade])
            .replace(r#""a@p#1","test":"a""#, &format!(r#""t{number}@p#1","test":"t{number}""#));
        add(&mut failures, &json, number);
    }
    let groups = failures.sorted();
    assert_eq!(
        groups.iter().map(|group| (group.trials, &*group.reason)).collect::<Vec<_>>(),
        [
            (20, r"grader g\u{1b} below 0.7: It repeats the question. (scores differ)"),
            (20, r"grader g\u{1b}: score 0.01 < 0.7: Reason x (values differ)"),
        ]
    );
}

#[test]
fn kinds_are_counted_up_to_a_bound() {
    let mut failures = Failures::default();
    for number in 0..100_u64 {
        let keys = format!(r#","checks":[{{"name":"check-{}","verdict":"fail"}}]"#, number % 40);
        add(&mut failures, &row("failed", &keys), number);
    }
    let page = serde_json::to_value(FailuresPage::of(&failures, None)).unwrap();
    let trials = page["kinds"].as_array().unwrap().iter().map(|kind| kind["trials"].as_u64());
    assert_eq!(trials.collect::<Vec<_>>(), [[Some(3); 20].as_slice(), &[Some(2); 10]].concat());
    assert_eq!((&page["trials"], &page["left_out"]), (&100.into(), &20.into()));
}

#[test]
fn headline_without_values_is_apart_from_others() {
    // The first headline reads as the others do without their values.
    let groups = |codes: &[u32]| {
        let mut failures = Failures::default();
        for (place, code) in codes.iter().enumerate() {
            let keys =
                format!(r#","error":{{"class":"other","code":"c","message":"code {code}"}}"#);
            add(&mut failures, &row("error", &keys), place as u64);
        }
        failures.sorted().iter().map(|group| group.trials).collect::<Vec<_>>()
    };
    assert_eq!(groups(&[0, 7]), [1, 1]);
    assert_eq!(groups(&[7, 0]), [1, 1]);
}

#[test]
fn each_failed_check_counts_in_its_kind() {
    let checks = |names: &[&str]| {
        let checks = names.iter().map(|name| {
            format!(r#"{{"name":"{name}","verdict":"fail","message":"{name} did not hold"}}"#)
        });
        row("failed", &format!(r#","checks":[{}]"#, checks.collect::<Vec<_>>().join(",")))
    };
    let grade =
        |name: &str, end: &str| format!(r#""grader":"{name}","duration_ms":1,"attempt":1,{end}"#);
    let graded = format!(
        r#","grades":[{{{}}},{{{}}}]"#,
        grade("style", r#""verdict":"fail""#),
        grade("facts", r#""verdict":"fail","score":0.1,"min_score":0.5"#)
    );
    let mut failures = Failures::default();
    let rows = [
        checks(&["changed"]),
        checks(&["changed", "files", "never"]),
        checks(&["changed", "files", "files"]),
        checks(&["secret", "leak"]),
        row("failed", &graded),
        row("error", r#","error":{"class":"trap","code":"unreachable","message":"no"}"#),
    ];
    for (place, json) in rows.iter().enumerate() {
        let json =
            json.replace(r#""a@p#1","test":"a""#, &format!(r#""t{place}@p#1","test":"t{place}""#));
        add(&mut failures, &json, place as u64);
    }
    let page = serde_json::to_value(FailuresPage::of(&failures, None)).unwrap();
    let kinds = page["kinds"].as_array().unwrap().iter();
    let kinds =
        kinds.map(|kind| (kind["kind"].as_str().unwrap(), kind["trials"].as_u64().unwrap()));
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            ("changed", 3),
            ("files", 2),
            ("grader facts below 0.5", 1),
            ("grader style: fail", 1),
            ("leak", 1),
            ("never", 1),
            ("secret", 1),
            ("trap", 1),
        ]
    );
    assert_eq!((&page["trials"], &page["checks"]), (&6.into(), &11.into()));
    assert_eq!(page["kinds"][1]["filter"], "check(changed) & outcome(failed)");
    let groups = failures.sorted().into_iter();
    let groups = groups.map(|group| format!("{}  {}", group.first_names(), group.reason));
    assert_eq!(
        groups.collect::<Vec<_>>(),
        [
            "t5@p#1  no",
            "t0@p#1, t1@p#1, t2@p#1  changed (up to 2 more checks): changed did not hold",
            "t1@p#1, t2@p#1  files (+2 more checks): files did not hold",
            "t1@p#1  never (+2 more checks): never did not hold",
            "t3@p#1  secret (+1 more check): secret did not hold",
            "t4@p#1  grader style (+1 more check): verdict fail",
        ]
    );
    assert_eq!(failures.left_out(&failures.failed()), None);
    assert_eq!(failures.left_out(&failures.failed()[..2]).as_deref(), Some("8 more failures"));
    assert_eq!(
        failures.extent(),
        "6 trials, 11 failed checks, by kind: 3 × changed, 2 × files, 1 × grader facts below 0.5, 1 × grader style: fail, 1 × leak, 1 × never, 1 × secret, 1 × trap"
    );
}
