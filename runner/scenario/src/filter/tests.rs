use std::borrow::Cow;

use runner_model::{RowRef, known::KnownState};

use super::{Facts, Filter};

const ROW: &str = r#"{"v":1,"trial":"units/km@gpt#2","test":"units/km","provider":"gpt","repeat":2,"attempt":1,"outcome":"error","started_at":"2026-01-01T00:00:00Z","duration_ms":1500,"usage":{},"output":"Not \"Found\"","summary":"gave up","checks":[{"kind":"equals","verdict":"fail","message":"differs","stderr":"Aborted"},{"kind":"json","verdict":"pass"},{"name":"is [polite]/x","verdict":"fail"}],"grades":[{"grader":"style","attempt":1,"verdict":"fail","duration_ms":1,"explanation":""},{"grader":"facts","attempt":1,"verdict":"pass","duration_ms":1}],"error":{"class":"rate-limited","code":"busy","message":"Quota reached","excerpt":"<html>","stderr":"Disk full"}}"#;

/// A trial with the row [`ROW`], or a test that is not planned yet.
struct Trial {
    row: Option<RowRef<'static>>,
    provider: Option<&'static str>,
}

impl Facts for Trial {
    fn test(&self) -> Option<&str> {
        Some("units/km")
    }

    fn provider(&self) -> Option<&str> {
        self.provider
    }

    fn has_tag(&self, tag: &str) -> Option<bool> {
        Some(tag == "slow")
    }

    fn meta(&self, key: &str, matches: &dyn Fn(&str) -> bool) -> Option<bool> {
        Some(key == "topic" && matches("dates"))
    }

    fn row(&self) -> Option<&RowRef<'_>> {
        self.row.as_ref()
    }

    fn known(&self) -> Option<KnownState> {
        self.row.as_ref().map(|_| KnownState::Known)
    }

    fn log(&self) -> Option<Cow<'_, str>> {
        self.row.as_ref().map(|_| "Retrying now".into())
    }

    fn changed(&self) -> Option<Vec<String>> {
        self.row.as_ref().map(|_| vec!["src/app.py".to_owned()])
    }
}

fn ended() -> Trial {
    Trial { row: Some(serde_json::from_str(ROW).unwrap()), provider: Some("gpt") }
}

#[test]
fn conditions_match_their_facts() {
    let trial = ended();
    for (text, expected) in [
        ("test(units/*)", true),
        ("test(km)", false),
        ("test(km, units/km)", true),
        ("provider(gp?)", true),
        ("trial(*#2)", true),
        ("trial(units/km)", true),
        ("trial(*#1)", false),
        ("tag(slow)", true),
        ("known()", true),
        ("unexpected()", false),
        ("tag(fast, slow)", true),
        ("tag(fast)", false),
        ("meta(topic)", true),
        ("meta(topic=d*)", true),
        ("meta(topic = dates)", true),
        ("meta(other)", false),
        ("outcome(error)", true),
        ("outcome(failed, timeout)", false),
        ("error(rate-limited)", true),
        ("error(trap)", false),
        ("error(\"quota\")", true),
        ("error(trap, \"QUOTA\")", true),
        ("error(\"disk full\")", true),
        ("error(\"<html>\")", true),
        ("error(\"aborted\")", false),
        ("check(equals)", true),
        ("check(json, facts)", false),
        ("check(json, st?le)", true),
        ("check(\"is [[]polite]*\")", true),
        ("check(EQUALS)", false),
        ("output(\"not \\\"found\\\"\")", true),
        ("output(Found)", true),
        ("output(x)", false),
        ("log(retrying)", true),
        ("changed(src/*)", true),
        ("changed(*.py)", false),
        ("changed(docs/**, **/app.py)", true),
        ("log(\"x\", \"now\")", true),
        ("flaky()", false),
        ("slower(1s)", true),
        ("slower(1500ms)", false),
        ("km", true),
        ("KM@gpt#2", true),
        ("quota", true),
        ("\"gave up\"", true),
        ("differs", true),
        ("aborted", true),
        ("\"disk full\"", true),
        ("units/*", true),
        ("*@gpt", true),
        ("kilo", false),
    ] {
        let filter =
            Filter::parse(text).unwrap_or_else(|problem| panic!("{}", problem.render(false, 80)));
        assert_eq!(filter.matches(&trial), Some(expected), "{text}");
        let negated = Filter::parse(&format!("!({text})")).unwrap();
        assert_eq!(negated.matches(&trial), Some(!expected), "!({text})");
    }
}

#[test]
fn operators_bind_as_documented() {
    let trial = ended();
    for (text, expected) in [
        ("km & kilo | km", true),
        ("km | kilo & kilo", true),
        ("(km | kilo) & kilo", false),
        ("!kilo & km", true),
        ("!km | km", true),
        ("! ! km", true),
        ("km gpt", true),
        ("km kilo", false),
        ("km !kilo", true),
        ("km and not kilo or kilo", true),
        ("kilo or test(x) or km", true),
        (" km\t&\nquota ", true),
    ] {
        assert_eq!(Filter::parse(text).unwrap().matches(&trial), Some(expected), "{text}");
    }
}

#[test]
fn unknown_facts_leave_the_answer_open() {
    let planned = |provider| Trial { row: None, provider };
    for (text, unknown, known) in [
        ("provider(gpt)", None, Some(true)),
        ("test(x) & provider(gpt)", Some(false), Some(false)),
        ("test(units/*) | provider(x)", Some(true), Some(true)),
        ("!provider(gpt)", None, Some(false)),
        ("gpt", None, Some(true)),
        ("outcome(failed)", None, None),
        ("in(latest, flaky())", None, None),
    ] {
        let filter = Filter::parse(text).unwrap();
        assert_eq!(filter.matches(&planned(None)), unknown, "{text}");
        assert_eq!(filter.matches(&planned(Some("gpt"))), known, "{text}");
    }
}

#[test]
fn mistakes_are_shown_at_their_places() {
    let mut shown = String::new();
    let deep = "(".repeat(65);
    for text in [
        "",
        "test(a",
        "test(a) )",
        "a & ",
        "tst(a)",
        "flaky",
        "flaky(x)",
        "outcome(faild)",
        "outcome(red)",
        "error(quota)",
        "slower(fast)",
        "test([)",
        "test()",
        "test(a,)",
        "\"open",
        "in(latest)",
        "in(latest, )",
        "meta(a, b)",
        "a, b",
        &deep,
    ] {
        let problem = Filter::parse(text).expect_err(text);
        shown.push_str(&problem.render(false, 100));
    }
    assert!(Filter::parse(&"a ".repeat(40_000)).is_err());
    assert!(Filter::parse(&"(".repeat(60_000)).is_err());
    insta::assert_snapshot!(shown, @r#"
error: expected a word or a function
--> filter
 = help: functions: `test(units/*)`, `provider(gpt*)`, `trial(units/km@echo#1)`, `tag(slow)`, `meta(topic=dates)`, `outcome(failed, timeout)`, `error(rate-limited)`, `check(transcript.*)`, `output("not found")`, `log("retrying")`, `changed("src/**")`, `flaky()`, `slower(2s)`, `known()`, `unexpected()`, `in(latest, outcome(failed))`
error: unclosed `(`
 --> filter:1:5
  |
1 | test(a
  |     ^
error: unmatched `)`
 --> filter:1:9
  |
1 | test(a) )
  |         ^
error: expected a word or a function
 --> filter:1:5
  |
1 | a & 
  |     ^
  |
  = help: functions: `test(units/*)`, `provider(gpt*)`, `trial(units/km@echo#1)`, `tag(slow)`, `meta(topic=dates)`, `outcome(failed, timeout)`, `error(rate-limited)`, `check(transcript.*)`, `output("not found")`, `log("retrying")`, `changed("src/**")`, `flaky()`, `slower(2s)`, `known()`, `unexpected()`, `in(latest, outcome(failed))`
error: unknown function `tst`
 --> filter:1:1
  |
1 | tst(a)
  | ^^^
  |
  = help: did you mean `test(…)`?
error: `flaky` needs parentheses
 --> filter:1:1
  |
1 | flaky
  | ^^^^^
  |
  = help: write `flaky()`, or `"flaky"` to search the word
error: one argument too many
 --> filter:1:7
  |
1 | flaky(x)
  |       ^
  |
  = help: write `flaky()`
error: unknown word `faild`
 --> filter:1:9
  |
1 | outcome(faild)
  |         ^^^^^
  |
  = help: did you mean `failed`?
error: unknown word `red`
 --> filter:1:9
  |
1 | outcome(red)
  |         ^^^
  |
  = help: known words: `passed`, `failed`, `error`, `timeout`, `skipped`, `stopped`, `ungraded`
error: unknown word `quota`
 --> filter:1:7
  |
1 | error(quota)
  |       ^^^^^
  |
  = help: known words: `trap`, `out-of-memory`, `limit`, `protocol`, `denied`, `invalid-input`, `invalid-config`, `unavailable`, `rate-limited`, `internal`, `other`, `grader`, `replay`, `crash`
          to search the messages: `error("quota")`
error: `fast` is not a duration such as `200ms`, `10s` or `1h30m`
 --> filter:1:8
  |
1 | slower(fast)
  |        ^^^^
error: unclosed `(`
 --> filter:1:5
  |
1 | test([)
  |     ^
error: `test` needs an argument
 --> filter:1:5
  |
1 | test()
  |     ^^
  |
  = help: write `test(units/*)`
error: expected an argument
 --> filter:1:8
  |
1 | test(a,)
  |        ^
error: the quoted text is not closed
 --> filter:1:1
  |
1 | "open
  | ^
error: expected a run, a comma and a filter
 --> filter:1:10
  |
1 | in(latest)
  |          ^
  |
  = help: write `in(latest, outcome(failed))`
error: expected a word or a function
 --> filter:1:12
  |
1 | in(latest, )
  |            ^
  |
  = help: functions: `test(units/*)`, `provider(gpt*)`, `trial(units/km@echo#1)`, `tag(slow)`, `meta(topic=dates)`, `outcome(failed, timeout)`, `error(rate-limited)`, `check(transcript.*)`, `output("not found")`, `log("retrying")`, `changed("src/**")`, `flaky()`, `slower(2s)`, `known()`, `unexpected()`, `in(latest, outcome(failed))`
error: one argument too many
 --> filter:1:9
  |
1 | meta(a, b)
  |         ^
  |
  = help: write `meta(topic=dates)`
error: expected `&`, `|` or the end of the filter
 --> filter:1:2
  |
1 | a, b
  |  ^
error: more than 64 levels of nesting
 --> filter:1:65
  |
1 | (((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((
  |                                                                 ^
"#);
}

#[test]
fn syntax_of_other_languages_is_explained() {
    for (text, at, instead) in [
        ("tag(a) AND tag(b)", "AND", "did you mean `and`?"),
        ("tag(a) OR tag(b)", "OR", "did you mean `or`?"),
        ("NOT tag(a)", "NOT", "did you mean `not`?"),
        ("NOT(tag(a))", "NOT", "did you mean `not`?"),
        ("a + b", "+", "did you mean `a | b`?"),
        ("test(a) + test(b)", "+", "did you mean `a | b`?"),
        ("a - b", "-", "did you mean `a & !b`?"),
        ("a && b", "&", "write `&` and `|` once"),
        ("a || b", "|", "write `&` and `|` once"),
        ("tag:smoke", "tag:smoke", "did you mean `tag(smoke)`?"),
        ("a & (tag=smoke)", "tag=smoke", "did you mean `tag(smoke)`?"),
        ("tags==smoke", "tags==smoke", "did you mean `tag(smoke)`?"),
        ("tag:\"a b\"", "tag:", "did you mean `tag(…)`?"),
        ("status=failed", "status=failed", "did you mean `outcome(failed)`?"),
        ("Outcome:faild", "Outcome:faild", "did you mean `outcome(failed)`?"),
        ("status = failed", "=", "did you mean `outcome(failed)`?"),
        ("name:km", "name:km", "did you mean `test(km)`?"),
        ("provider:gpt*", "provider:gpt*", "did you mean `provider(gpt*)`?"),
        ("meta:topic=dates", "meta:topic=dates", "did you mean `meta(topic=dates)`?"),
        ("'km'", "'km'", "did you mean `\"km\"`?"),
        ("'not found'", "'not", "did you mean `\"not found\"`?"),
        ("tag('smoke')", "'smoke'", "did you mean `\"smoke\"`?"),
        ("/km.*/", "/km.*/", "`\"km.*\"`"),
    ] {
        let problem = Filter::parse(text).expect_err(text).render(false, 200);
        let marks = problem.lines().filter(|line| line.contains('^')).collect::<String>();
        assert_eq!(marks.matches('^').count(), at.len(), "{problem}");
        assert!(problem.contains(instead), "{problem}");
    }
    // Parts of ids, and quoted texts.
    for text in
        ["n+1", "1.0e+", "x=1", "a-b", "it's", "/km", "http://x", "and-or", "\"AND\"", "\"tag:x\""]
    {
        Filter::parse(text).unwrap_or_else(|problem| panic!("{}", problem.render(false, 80)));
    }
}

#[test]
fn tests_cannot_be_selected_by_results() {
    for text in [
        "outcome(failed)",
        "a | !flaky()",
        "known()",
        "unexpected()",
        "trial(a@p#1)",
        "slower(1s)",
        "check(equals)",
        "log(x)",
        "changed(x)",
    ] {
        let problem = Filter::parse(text).unwrap().check_for_tests().expect_err(text);
        assert!(problem.render(false, 80).contains("help:"), "{text}");
    }
    for text in ["test(a) tag(b) meta(c) provider(d) e f*", "in(latest, outcome(failed))"] {
        Filter::parse(text).unwrap().check_for_tests().unwrap();
    }
}

#[test]
fn runs_are_looked_up_from_the_inside() {
    let mut filter = Filter::parse("in(latest, in(\"a b\", km) & km) | in(old, x)").unwrap();
    let mut runs = Vec::new();
    let looked = filter.resolve(&mut |run| {
        runs.push(run.run.to_owned());
        let has_passed = run.filter.matches(&ended());
        let tests = ["units/km@gpt".to_owned()].into_iter();
        let id = if run.run == "a b" { "id one".to_owned() } else { format!("id-{}", run.run) };
        Ok::<_, ()>((id, tests.filter(|_| has_passed == Some(true)).collect()))
    });
    looked.unwrap();
    assert_eq!(runs, ["a b", "latest", "old"]);
    assert_eq!(filter.text(), "in(id-latest, in(\"id one\", km) & km) | in(id-old, x)");
    assert_eq!(filter.matches(&ended()), Some(true));
}

#[test]
fn joined_filters_all_match() {
    let parse = |text| Filter::parse(text).unwrap();
    assert!(Filter::all(Vec::new()).is_none());
    let mut all = Filter::all(vec![parse("km | x"), parse("in(latest, y)"), Filter::failed()]);
    let joined = all.as_mut().unwrap();
    assert_eq!(joined.text(), "(km | x) & (in(latest, y)) & (unexpected())");
    joined.resolve(&mut |_| Ok::<_, ()>(("new".to_owned(), Default::default()))).unwrap();
    assert!(joined.text().contains("& (in(new, y)) &"), "{}", joined.text());
    Filter::parse(joined.text()).unwrap();
}

#[test]
fn line_patterns_have_the_texts_that_rows_need() {
    for (text, pattern) in [
        ("x.y", Some(r"x\.y")),
        ("output(A, b)", Some("a|b")),
        ("km | output(x)", Some("km|x")),
        ("outcome(failed) & km & x", Some("km")),
        ("km | outcome(failed)", None),
        ("!km", None),
        ("log(km)", None),
        (r#"error("km")"#, None),
        ("output(é)", None),
        (r#"output("a\"")"#, None),
    ] {
        let found = Filter::parse(text).unwrap().line_pattern();
        let pattern = pattern.map(|pattern| format!("(?i-u:{pattern})"));
        assert_eq!(found.as_ref().map(|found| found.as_str()), pattern.as_deref(), "{text}");
    }
    let pattern = Filter::with_text("Red").line_pattern().unwrap();
    assert!(pattern.is_match(b"{\"output\":\"BORED\"}") && !pattern.is_match(b"{}"));
}
