use runner_model::json::Json;
use serde_json::{Value, json, value::to_raw_value};

fn diff(expected: &Value, output: &Value) -> Option<String> {
    let output = to_raw_value(output).unwrap();
    super::diff(expected, &Json::of(&output).unwrap())
}

fn is_unseen(expected: &str, output: &str) -> bool {
    super::is_unseen(&json!(expected), &Json::String(output.into()))
}

#[track_caller]
fn assert_diff(expected: &str, output: &str, shown: &str) {
    assert_eq!(diff(&json!(expected), &json!(output)).as_deref(), Some(shown));
}

#[test]
fn changed_lines_have_context() {
    assert_diff(
        "one\ntwo\nthree\n",
        "one\n2\nthree\n",
        "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n",
    );
    assert_eq!(diff(&json!("a"), &json!("b")), None);
    assert_eq!(diff(&json!("a"), &json!("a\n")), None);
    assert_diff("a\nb\n", "a\nb\nc\n", "@@ -1,2 +1,3 @@\n a\n b\n+c\n");
    assert_diff("a\nb\n", "", "@@ -1,2 +0,0 @@\n-a\n-b\n");
}

#[test]
fn distant_changes_have_separate_hunks() {
    let lines = |changed: &[usize]| -> String {
        let line = |n: usize| {
            let word = if changed.contains(&n) { "new" } else { "old" };
            format!("{word} {n}\n")
        };
        (1..=30).map(line).collect()
    };
    assert_diff(
        &lines(&[]),
        &lines(&[5, 11, 25]),
        "@@ -2,13 +2,13 @@\n old 2\n old 3\n old 4\n-old 5\n+new 5\n old 6\n old 7\n old 8\n old 9\n old 10\n-old 11\n\
         +new 11\n old 12\n old 13\n old 14\n@@ -22,7 +22,7 @@\n old 22\n old 23\n old 24\n-old 25\n+new 25\n old 26\n \
         old 27\n old 28\n",
    );
}

#[test]
fn missing_final_line_break_is_marked() {
    assert_diff("a\nb\n", "a\nb", "@@ -1,2 +1,2 @@\n a\n-b\n+b\n\\ No newline at end of file\n");
    // Other tools also mark context that ends both texts.
    assert_diff("a\nb", "x\nb", "@@ -1,2 +1,2 @@\n-a\n+x\n b\n\\ No newline at end of file\n");
}

#[test]
fn invisible_characters_are_marked() {
    assert_diff(
        "total: 42\nb\n",
        "total:\u{a0}42 \t\nb\n",
        "@@ -1,2 +1,2 @@\n-total: 42\n+total:\\u{a0}42·→\n b\n",
    );
    assert_diff("a\nb\n", "a\r\nb\n", "@@ -1,2 +1,2 @@\n-a\n+a\\r\n b\n");
    assert!(is_unseen("total: 42", "total: 42 ") && is_unseen("a", "a\n"));
    assert!(is_unseen("a\nx\u{200b}y\n", "a\nxy\n") && !is_unseen("a", "b"));
}

#[test]
fn a_diff_is_bounded() {
    let lines = "same\n".repeat(400_000);
    assert_eq!(
        diff(&json!(format!("{lines}one\n")), &json!(format!("{lines}two\n"))).as_deref(),
        Some("@@ -399998,4 +399998,4 @@\n same\n same\n same\n-one\n+two\n")
    );
    let is_bounded = |expected: Value, output: Value| {
        let text = diff(&expected, &output).unwrap();
        assert!(text.len() < 9_000, "{} bytes", text.len());
    };
    is_bounded(json!("\n".repeat(4 << 20)), json!("\n\r".repeat(2 << 20)));
    is_bounded(json!("x\n".repeat(100_000)), json!("y\n"));
    is_bounded(json!(format!("{}\n", "x".repeat(1 << 20))), json!("y\nz\n"));
}

#[test]
fn changed_lines_that_look_alike_have_code_points() {
    assert_diff(
        "one\nö café\nthree\n",
        "one\nö cafe\u{301}\nthree\n",
        "@@ -1,3 +1,3 @@\n one\n-ö caf\\u{e9}\n+ö cafe\\u{301}\n three\n",
    );
    assert_diff("a\nö\n", "a\nü\n", "@@ -1,2 +1,2 @@\n a\n-ö\n+ü\n");
}

#[test]
fn long_texts_that_differ_everywhere_are_one_change() {
    let text = |line: &str| format!("start\n{}end", line.repeat(20_000)).into_bytes();
    let (old, new) = (text("a\nb\n"), text("b\nc\na\n"));
    // The common start and end are left out.
    assert_eq!(super::changed_lines(&old, &new), [[1..40_001, 1..60_001]]);
    assert_eq!(super::changed_lines(b"a\nb\nc\n", b"a\nc\nd"), [[1..2, 1..1], [3..3, 2..3]]);
    assert!(super::changed_lines(b"a\n", b"a\n").is_empty());
}
