//! Entries of trials, and the results that they expect.

use std::time::Duration;

use super::{Known, KnownEntry, KnownList, KnownState, Stale};
use crate::row::{Check, FailureKinds};
use crate::{Outcome, Row, Time, TrialId, id_glob, outcome::Verdict};

fn entry(test: &str) -> KnownEntry {
    let (tests, outcomes) = (vec![test.to_owned()], vec![Outcome::Failed]);
    KnownEntry { tests, outcomes, reason: "r".into(), ..KnownEntry::default() }
}

fn known(entries: Vec<KnownEntry>) -> Known {
    Known::new(KnownList { strict: true, entries, ..KnownList::default() }).unwrap()
}

#[test]
fn the_last_entry_that_applies_decides() {
    let mut stale = entry("a/b");
    stale.stale = Some(Stale::Changed);
    let error = KnownEntry { outcomes: vec![Outcome::Error], ..entry("a/b") };
    let known = known(vec![entry("a/*"), error, stale]);
    assert_eq!(known.matching("a/b", "p"), [0, 1, 2]);
    assert_eq!(known.state("a/b", "p", Outcome::Error, FailureKinds::default), KnownState::Known);
    assert_eq!(
        known.state("a/b", "p", Outcome::Failed, FailureKinds::default),
        KnownState::Unlisted
    );
    assert_eq!(
        known.state("a/b", "p", Outcome::Passed, FailureKinds::default),
        KnownState::UnexpectedPass
    );
    assert_eq!(known.state("a/c", "p", Outcome::Failed, FailureKinds::default), KnownState::Known);
    assert_eq!(known.state("b", "p", Outcome::Passed, FailureKinds::default), KnownState::Unlisted);
}

#[test]
fn ids_with_wildcards_match_as_they_are_and_escaped() {
    for id in ["a[1]", "*", "a?", "{a}", "a\\b", "-x"] {
        for text in [id.to_owned(), id_glob(id)] {
            let known = known(vec![entry(&text)]);
            assert_eq!(
                known.state(id, "p", Outcome::Failed, FailureKinds::default),
                KnownState::Known,
                "{text}"
            );
        }
        let known = known(vec![entry(&id_glob(id))]);
        assert_eq!(
            known.state("ab", "p", Outcome::Failed, FailureKinds::default),
            KnownState::Unlisted,
            "{id}"
        );
    }
}

#[test]
fn wildcards_match_as_in_a_set_of_globs() {
    let ids = ["a", "a/b", "a/b/c", "ab", "b", "x/a", "a[1]", "a*", "c/b", "ü/b", "a\\b"];
    let texts = [
        "*", "a*", "*b", "a/*", "**/a", "a/**", "a/**/c", "**", "{a,b}", "{a,x/}*", "[ab]",
        "a[0-9]*", "?", "?/b", "a\\*", "a\\[*", "*/{b,c}", "a[[]1]", "ü*", "*\\\\b",
    ];
    for text in texts {
        let Ok(set) = crate::globs::over_ids(&[text]) else { panic!("{text}") };
        let known = known(vec![entry(text)]);
        for id in ids {
            assert_eq!(known.of_test(id).len() == 1, set.is_match(id), "{text} {id}");
        }
    }
}

#[test]
fn too_many_open_globs_are_refused() {
    let entries = (0..=super::MAX_OPEN).map(|number| entry(&format!("*{number}*")));
    let list = KnownList { strict: true, entries: entries.collect(), ..KnownList::default() };
    assert!(Known::new(list).unwrap_err().contains("start and end with wildcards"));
    let entries = (0..20_000).map(|number| entry(&format!("a/*/t{number}")));
    let known = known(entries.collect());
    assert_eq!(known.of_test("a/b/t19999"), [19_999]);
}

#[test]
fn entries_are_of_their_providers() {
    let of = KnownEntry { providers: vec!["gpt[size=*]".into(), "b".into()], ..entry("*") };
    let known = known(vec![of]);
    for (provider, state) in [
        ("gpt[size=small]", KnownState::Known),
        ("b", KnownState::Known),
        ("gpt", KnownState::Unlisted),
    ] {
        assert_eq!(
            known.state("a", provider, Outcome::Failed, FailureKinds::default),
            state,
            "{provider}"
        );
    }
}

#[test]
fn entries_with_kinds_expect_no_other_failure() {
    let row = |text: &str| {
        let line = format!(
            r#"{{"v":1,"trial":"a@p#1","test":"a","provider":"p","repeat":1,"attempt":1,"started_at":"2026-01-01T00:00:00Z","duration_ms":1,"usage":{{}},{text}}}"#
        );
        let kinds = FailureKinds::of_line(line.as_bytes());
        assert_ne!(kinds, FailureKinds::default(), "{line}");
        kinds
    };
    let equals = r#"{"kind":"equals","verdict":"fail"}"#;
    let json = r#"{"kind":"json","verdict":"pass"}"#;
    let grade = r#""grades":[{"grader":"style","attempt":1,"verdict":"fail","duration_ms":1}]"#;
    let error =
        r#""outcome":"error","error":{"class":"rate-limited","code":"http-429","message":"m"}"#;
    let no_error = r#""checks":[{"kind":"error","verdict":"fail"}]"#;
    let (own, verdict) = (r#"{"name":"own","verdict":"fail"}"#, r#""verdict":"fail""#);
    let failed = |checks: &str| format!(r#""outcome":"failed","checks":[{checks}]"#);
    for (globs, outcome, text, is_known) in [
        ("equals", Outcome::Failed, failed(equals), true),
        ("eq*", Outcome::Failed, failed(&format!("{equals},{json}")), true),
        ("json", Outcome::Failed, failed(&format!("{equals},{json}")), false),
        // Of several that fail, one alone is another failure.
        ("equals", Outcome::Failed, format!("{},{grade}", failed(equals)), false),
        ("equals style", Outcome::Failed, format!("{},{grade}", failed(equals)), true),
        ("http-*", Outcome::Error, error.to_owned(), true),
        ("rate-limited", Outcome::Error, error.to_owned(), true),
        ("crash", Outcome::Error, error.to_owned(), false),
        ("verdict", Outcome::Failed, failed(""), true),
        ("equals", Outcome::Failed, failed(""), false),
        ("timeout", Outcome::Timeout, r#""outcome":"timeout""#.to_owned(), true),
        // An error fails beside the checks and graders that it fails.
        ("error", Outcome::Error, format!("{error},{no_error}"), false),
        ("error rate-limited", Outcome::Error, format!("{error},{no_error}"), true),
        ("style", Outcome::Error, format!("{error},{grade}"), false),
        // A verdict sums up the provider's own checks, and no others.
        ("equals", Outcome::Failed, format!("{},{verdict}", failed(equals)), false),
        ("equals verdict", Outcome::Failed, format!("{},{verdict}", failed(equals)), true),
        ("own", Outcome::Failed, format!("{},{verdict}", failed(own)), true),
    ] {
        let kinds = globs.split(' ').map(str::to_owned).collect();
        let outcomes = vec![Outcome::Failed, Outcome::Error, Outcome::Timeout];
        let known = known(vec![KnownEntry { kinds, outcomes, ..entry("a") }]);
        let state = known.state("a", "p", outcome, || row(&text));
        assert_eq!(state == KnownState::Known, is_known, "{globs} {text}");
        let unexpected = known.unexpected("a", "p", |_| row(&text)).unwrap();
        assert_eq!(unexpected.contains(&outcome), !is_known, "{globs} {text}");
    }
    // A line that cannot be read is expected by nothing.
    let any = known(vec![KnownEntry { kinds: vec!["*".into()], ..entry("a") }]);
    let state = any.state("a", "p", Outcome::Failed, || FailureKinds::of_line(b"{"));
    assert_eq!(state, KnownState::Unlisted);
}

#[test]
fn cut_rows_hide_no_kind_of_failure() {
    let row = |kinds: u32| {
        let trial = TrialId::parse("a@p#1").unwrap();
        let mut row = Row::new(&trial, 1, Time::default(), Duration::ZERO, Duration::ZERO);
        row.outcome = Outcome::Failed;
        let names =
            (0..90).map(|_| "old".to_owned()).chain((1..kinds).map(|at| format!("new{at}")));
        let passed = (0..100).map(|_| (String::from("good"), Verdict::Pass));
        let checks = names.map(|name| (name, Verdict::Fail)).chain(passed);
        row.checks = checks
            .map(|(name, verdict)| Check {
                name: name.into(),
                verdict,
                message: Some("m".repeat(3000).into()),
                ..Check::default()
            })
            .collect();
        FailureKinds::of_line(&row.fit())
    };
    let all: Vec<_> = (1..39).map(|at| format!("new{at}")).collect();
    let names: Vec<_> = std::iter::once("old").chain(all.iter().map(String::as_str)).collect();
    assert_eq!(row(39).names().unwrap(), names);
    assert_eq!(row(39).words(), "old, new1, new2, new3, new4 and 34 more");
    // Some of more kinds are cut, so nothing expects the row.
    let any = known(vec![KnownEntry { kinds: vec!["*".into()], ..entry("a") }]);
    assert_eq!(any.state("a", "p", Outcome::Failed, || row(39)), KnownState::Known);
    assert_eq!(row(50).names(), None);
    assert_eq!(any.state("a", "p", Outcome::Failed, || row(50)), KnownState::Unlisted);
}

#[test]
fn an_entry_expires_after_its_day() {
    let until = KnownEntry { until: Some("2027-03-01".into()), ..entry("a") };
    let on = |text: &str| until.is_expired(Time::parse(text).unwrap());
    assert!(!on("2027-03-01T23:59:59.999Z"));
    assert!(on("2027-03-02T00:00:00.000Z"));
    assert!(!on("2026-12-31T00:00:00.000Z"));
}
