use super::{Table, cut, width, wrap};
use crate::text::style;

const RED: &str = "\u{1b}[31mred\u{1b}[0m";

#[test]
fn colours_have_no_width() {
    assert_eq!(width(RED), 3);
    assert_eq!(width("日本 ✓"), 6);
    assert_eq!(width("e\u{301} 👩\u{200d}👧"), 6);
    assert_eq!(width("❤\u{fe0f}"), 2);
    assert_eq!(cut(RED, 2), "\u{1b}[31mr…\u{1b}[0m");
    assert_eq!(cut("日本語", 5), "日本…");
    assert_eq!(cut("日本語", 4), "日…");
    assert_eq!(cut("abc", 3), "abc");
    assert_eq!(cut("abcd", 3), "ab…");
}

#[test]
fn lines_break_between_words() {
    let text = "    a reason that is much longer than the screen is wide, by far";
    let wrapped = wrap(text, 24);
    assert_eq!(
        wrapped,
        "    a reason that is\n      much longer than\n      the screen is\n      wide, by far"
    );
    assert_eq!(wrap("short\n\nlines", 24), "short\n\nlines");
    // After a title, before a unit, and at the marks of an id.
    let text = "  name  took two minutes and 178 ms";
    assert_eq!(wrap(text, 28), "  name  took two minutes and\n        178 ms");
    let text = "failed shop/a-test-with-a-long-name@model#1";
    assert_eq!(wrap(text, 24), "failed shop/a-test-with-\n  a-long-name@model#1");
    assert_eq!(
        wrap(&format!("nothing failed in {text}"), 24),
        "nothing failed in failed\n  shop/a-test-with-a-\n  long-name@model#1"
    );
    assert_eq!(
        wrap(&format!("an error is in it {}", "x".repeat(30)), 24),
        format!("an error is in it\n  {}\n  {}", "x".repeat(22), "x".repeat(8))
    );
    let long = wrap(&"x".repeat(50), 24);
    assert!(long.lines().all(|line| width(line) <= 24), "{long}");
    assert_eq!(long.replace(['\n', ' '], ""), "x".repeat(50));
}

#[test]
fn texts_to_paste_are_not_wrapped() {
    let command = "runner plugin run --from 6ba42b73 --trial shop/a-long-name@model#1";
    for line in [format!("reproduce: {command}"), format!("results: /tmp/{}", "x/".repeat(20))] {
        assert_eq!(wrap(&line, 24), line);
    }
    let text = "two results are missing; to run their trials again";
    let wrapped = wrap(&format!("{text}: {command}"), 24);
    assert_eq!(wrapped, format!("{}: {command}", wrap(text, 24)));
}

#[test]
fn any_text_fits_after_wrapping() {
    for columns in 20..60 {
        for text in [
            format!("{RED} {} {RED} {}", "word ".repeat(20), "y".repeat(130)),
            format!("          {}", "日本語".repeat(40)),
            "a  b   c    d     e      f       g        h         i          j           k".into(),
        ] {
            let wrapped = wrap(&text, columns);
            for line in wrapped.lines() {
                assert!(width(line) <= columns, "{columns}: {line:?}");
            }
            let only_words = |text: &str| text.replace([' ', '\n'], "");
            assert_eq!(only_words(&wrapped), only_words(&text), "{columns}");
        }
    }
}

#[test]
fn names_that_are_cut_lose_their_keys_first() {
    let table = |name: &str| {
        let mut table = Table::new([("provider…", 0), ("rate>", 0)]);
        table.row([name, "100.0 %"].map(String::from));
        style::plain(&table.render(Some(27)))
    };
    let shown = |name| table(name).lines().nth(1).unwrap().to_owned();
    assert_eq!(shown("m[size=small]"), "m[size=small]  100.0 %");
    assert_eq!(shown("m[model=small,prompt=terse]"), "m[small,terse]  100.0 %");
    assert_eq!(shown("a[x=1]@m[size=small]"), "a[x=1]@m[small]  100.0 %");
    assert_eq!(shown("a-program[with,brackets]"), "a-progra…brackets]  100.0 %");
}

#[test]
fn narrow_tables_leave_columns_out() {
    let mut table = Table::new([("run", 0), ("status", 0), ("done>", 1), ("took>", 2)]);
    table.row(["6ba42b73", RED, "9/9", "842 ms"].map(String::from));
    table.row(["c5b08f1a", "incomplete (timeout)", "13/23", "3.9 s"].map(String::from));
    let plain = |columns| {
        let text = table.render(columns);
        text.replace("\u{1b}[2m", "").replace("\u{1b}[0m", "").replace("\u{1b}[31m", "")
    };
    assert_eq!(
        plain(None),
        "run       status                 done    took\n\
         6ba42b73  red                     9/9  842 ms\n\
         c5b08f1a  incomplete (timeout)  13/23   3.9 s"
    );
    assert_eq!(
        plain(Some(40)),
        "run       status                 done\n\
         6ba42b73  red                     9/9\n\
         c5b08f1a  incomplete (timeout)  13/23"
    );
    assert_eq!(plain(Some(36)), "run       status\n6ba42b73  red\nc5b08f1a  incomplete (timeout)");
    assert_eq!(plain(Some(20)), "run       status\n6ba42b73  red\nc5b08f1a  incomplet…");
}

#[test]
fn narrow_tables_keep_the_ends_of_ids() {
    let mut table = Table::new([("test…", 0), ("took>", 1)]);
    table.row(["cart/total@model-small", "1 ms"].map(String::from));
    table.row(["cart/total@model-large", "2 ms"].map(String::from));
    let text = table.render(Some(20)).replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
    assert_eq!(text, "test\ncart/tota…odel-small\ncart/tota…odel-large");
}

#[test]
fn empty_columns_are_left_out() {
    let mut table = Table::new([("run", 0), ("failed>", 1), ("note", 2)]);
    table.row(["a", "", "x"].map(String::from));
    table.row(["b", "", ""].map(String::from));
    let text = table.render(None);
    assert!(!text.contains("failed") && text.contains("note"), "{text}");
}
