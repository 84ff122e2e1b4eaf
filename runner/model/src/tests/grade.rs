//! Rows that graders and judgements make, and forged reports.

use std::{slice, time::Duration};

use super::{Grade, Judgement, StandingGrade, check_grade, check_judgement};
use crate::outcome::Verdict;
use crate::row::{Check, CheckKind, MAX_GRADERS, MAX_ROW, Metric, Raw, Row, RowError, RowRef};
use crate::{ErrorClass, Fingerprint, Outcome, Text, Time, TrialId};

fn grade(grader: &str, verdict: Option<Verdict>) -> Grade<'static> {
    let error = verdict.is_none().then(|| RowError {
        class: Some(ErrorClass::Trap),
        code: "unreachable".into(),
        message: "it trapped".into(),
        ..RowError::default()
    });
    Grade {
        grader: grader.to_owned().into(),
        attempt: 1,
        verdict,
        own_verdict: verdict,
        score: None,
        min_score: None,
        weight: 1.0,
        explanation: None,
        printed: false,
        error,
        log: None,
        duration_ms: 1.5,
        usage: Default::default(),
        metrics: Vec::new(),
        denied: Vec::new(),
        calls: None,
        asked: Some(Fingerprint([7; 16])),
        partial: false,
        session: 1,
    }
}

/// Returns an ungraded row with these grades.
fn row(grades: Vec<Grade<'static>>) -> Row<'static> {
    let trial = TrialId::parse("t@p#1").unwrap();
    Row {
        outcome: Outcome::Ungraded,
        output: Raw::from_string("\"answer\"".to_owned()).ok(),
        checks: vec![
            Check::new(CheckKind::Contains, Verdict::Pass),
            Check::own("style", Verdict::Pass),
        ],
        grades,
        ..Row::new(&trial, 2, Time::from_millis(0), Duration::from_millis(3), Duration::ZERO)
    }
}

fn stored(row: &Row<'_>) -> Vec<u8> {
    serde_json::to_vec(row).unwrap()
}

fn read(bytes: &[u8]) -> RowRef<'_> {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn all_grades_together_make_the_outcome() {
    use Verdict::{Fail, Pass, Skip};
    for (verdicts, outcome) in [
        (&[Pass][..], Outcome::Ungraded),
        (&[Fail], Outcome::Ungraded),
        (&[Pass, Pass], Outcome::Passed),
        (&[Pass, Skip], Outcome::Passed),
        (&[Skip, Skip], Outcome::Skipped),
        (&[Fail, Pass], Outcome::Failed),
        (&[Skip, Fail], Outcome::Failed),
    ] {
        let mut bytes = stored(&row(Vec::new()));
        for (name, verdict) in ["a", "b"].into_iter().zip(verdicts) {
            bytes =
                stored(&Row::graded(read(&bytes), grade(name, Some(*verdict)), &["a", "b"], false));
        }
        let row = read(&bytes);
        assert_eq!(row.outcome, outcome, "{verdicts:?}");
        let graders: Vec<_> = row.grades.iter().map(|grade| &*grade.grader).collect();
        assert_eq!(graders, ["a", "b"][..verdicts.len()]);
        assert!(row.error.is_none() && row.attempt == 2 && row.checks.len() == 2);
    }
}

#[test]
fn error_of_a_grader_is_the_result_unless_it_is_retried() {
    let first = stored(&row(vec![grade("a", Some(Verdict::Pass))]));
    let graders = ["a", "b"];
    let retried = Row::graded(read(&first), grade("b", None), &graders, true);
    assert_eq!((retried.outcome, retried.grades.len()), (Outcome::Ungraded, 2));
    assert!(retried.error.is_none());
    let retried = stored(&retried);
    let again = Grade { attempt: 2, ..grade("b", None) };
    let ended = Row::graded(read(&retried), again, &graders, false);
    let error = ended.error.as_ref().unwrap();
    assert_eq!((ended.outcome, error.class), (Outcome::Error, Some(ErrorClass::Grader)));
    assert_eq!(&*error.message, "grader `b`: it trapped");
    // The last attempt replaces the one before it.
    let attempts: Vec<_> = ended.grades.iter().map(|grade| grade.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}

#[test]
fn error_of_a_grader_waits_for_the_others() {
    let graders = ["a", "b", "c"];
    let bytes = stored(&row(Vec::new()));
    let first = Row::graded(read(&bytes), grade("a", None), &graders, false);
    assert_eq!((first.outcome, first.error.is_none()), (Outcome::Ungraded, true));
    // The last one has answered in an earlier session.
    let answered = row(vec![grade("a", None), grade("c", Some(Verdict::Pass))]);
    let bytes = stored(&answered);
    let last = Row::graded(read(&bytes), grade("b", Some(Verdict::Fail)), &graders, false);
    let order: Vec<_> = last.grades.iter().map(|grade| &*grade.grader).collect();
    assert_eq!((last.outcome, &order[..]), (Outcome::Error, &graders[..]));
    assert_eq!(&*last.error.unwrap().message, "grader `a`: it trapped");
}

#[test]
fn judgement_changes_nothing_else_of_a_row() {
    let scored = Grade { score: Some(0.5), ..grade("a", Some(Verdict::Pass)) };
    let bytes = stored(&row(vec![scored]));
    let old = Row::graded(read(&bytes), grade("b", None), &["a", "b"], false);
    let bytes = stored(&old);
    let standing = StandingGrade {
        grader: "a".into(),
        verdict: Verdict::Fail,
        min_score: Some(0.7),
        weight: 3.0,
    };
    let judgement = |outcome, grades: &[StandingGrade<'static>]| Judgement {
        outcome,
        checks: vec![Check::new(CheckKind::Equals, Verdict::Pass)],
        truncated: false,
        cut_by: None,
        grades: grades.to_vec(),
    };
    let judged = Row::judged(
        read(&bytes),
        judgement(Outcome::Passed, slice::from_ref(&standing)),
        &["a", "b"],
        false,
    );
    assert_eq!(judged.outcome, Outcome::Ungraded);
    assert!(judged.error.is_none(), "the error was of a grader");
    let [one] = &judged.grades[..] else { panic!("{:?}", judged.grades) };
    assert_eq!(
        (one.verdict, one.score, one.min_score, one.weight.to_bits()),
        (Some(Verdict::Fail), Some(0.5), Some(0.7), 3.0_f64.to_bits())
    );
    let checks: Vec<_> = judged.checks.iter().map(Check::label).collect();
    assert_eq!(checks, ["equals", "style"]);
    let kept = Row {
        outcome: old.outcome,
        checks: old.checks.clone(),
        grades: old.grades.clone(),
        error: old.error.clone(),
        ..judged
    };
    assert_eq!(stored(&kept), bytes);
    // All graders have answered, there are none, or the expectations do not hold.
    for (outcome, graders, expected, grades) in [
        (Outcome::Passed, &["a"][..], Outcome::Failed, 1),
        (Outcome::Passed, &[], Outcome::Passed, 0),
        (Outcome::Failed, &["a", "b"], Outcome::Failed, 0),
    ] {
        let judgement = judgement(outcome, slice::from_ref(&standing));
        let judged = Row::judged(read(&bytes), judgement, graders, false);
        assert_eq!((judged.outcome, judged.grades.len()), (expected, grades));
    }
}

#[test]
fn forged_grades_are_refused() {
    let check = |grade: &Grade<'_>| {
        let bytes = serde_json::to_vec(grade).unwrap();
        check_grade(&bytes, "a", 1).map(|grade| grade.is_some()).map_err(|error| error.to_string())
    };
    let right = || grade("a", Some(Verdict::Pass));
    assert_eq!(check(&right()), Ok(true));
    assert_eq!(check(&grade("a", None)), Ok(true));
    assert!(check_grade(b"null", "a", 1).unwrap().is_none());
    let of_class = |class| {
        let mut forged = grade("a", None);
        forged.error.as_mut().unwrap().class = Some(class);
        forged
    };
    let mut with_details = grade("a", None);
    with_details.error.as_mut().unwrap().details = Raw::from_string("[[]]".to_owned()).ok();
    for (forged, key) in [
        (Grade { grader: "b".into(), ..right() }, "grader"),
        (Grade { attempt: 2, ..right() }, "attempt"),
        (Grade { verdict: None, ..right() }, "verdict"),
        (Grade { verdict: Some(Verdict::Pass), ..grade("a", None) }, "verdict"),
        (Grade { duration_ms: -1.0, ..right() }, "duration_ms"),
        (of_class(ErrorClass::Crash), "error"),
        (of_class(ErrorClass::Grader), "error"),
        (with_details, "error"),
    ] {
        assert_eq!(check(&forged), Err(format!("a grade with an impossible `{key}`")));
    }
    for bytes in [&b"{}"[..], b"[]", b"{\"grader\":\"a\"}\n{}", b"nul"] {
        assert!(check_grade(bytes, "a", 1).is_err());
    }
}

#[test]
fn forged_judgements_are_refused() {
    let answer = |grader| grade(grader, Some(Verdict::Fail));
    let bytes = stored(&row(vec![answer("a"), grade("b", None), answer("d")]));
    let standing = |grader: &str| StandingGrade {
        grader: grader.to_owned().into(),
        verdict: Verdict::Pass,
        min_score: None,
        weight: 1.0,
    };
    let check = |outcome, own, grades: &[&str]| {
        let judgement = Judgement {
            outcome,
            checks: vec![if own {
                Check::own("equals", Verdict::Pass)
            } else {
                Check::new(CheckKind::Equals, Verdict::Pass)
            }],
            truncated: false,
            cut_by: None,
            grades: grades.iter().map(|grader| standing(grader)).collect(),
        };
        let json = serde_json::to_vec(&judgement).unwrap();
        let checked = check_judgement(&json, &read(&bytes), &["a", "b", "d"]);
        checked.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(check(Outcome::Passed, false, &["a"]), Ok(()));
    assert_eq!(check(Outcome::Passed, false, &["a", "d"]), Ok(()));
    assert_eq!(check(Outcome::Failed, false, &[]), Ok(()));
    for (outcome, own, grades, key) in [
        (Outcome::Ungraded, false, &[][..], "outcome"),
        (Outcome::Stopped, false, &[], "outcome"),
        (Outcome::Passed, true, &[], "checks"),
        // A missing answer, another order, the same twice, and that of a grader that was never called.
        (Outcome::Passed, false, &["b"], "grades"),
        (Outcome::Passed, false, &["a", "b"], "grades"),
        (Outcome::Passed, false, &["d", "a"], "grades"),
        (Outcome::Passed, false, &["a", "a"], "grades"),
        (Outcome::Passed, false, &["c"], "grades"),
    ] {
        let expected = Err(format!("a judgement with an impossible `{key}`"));
        assert_eq!(check(outcome, own, grades), expected, "{grades:?}");
    }
}

#[test]
fn longest_grades_fit_a_line() {
    // JSON writes each of these bytes as six.
    let long = || Text::from("\u{1}".repeat(4096));
    let grades = (0..MAX_GRADERS).map(|_| {
        let mut grade = grade(&"g".repeat(64), None);
        (grade.explanation, grade.log) = (Some(long()), Some(long()));
        grade.metrics = vec![Metric { name: long(), value: f64::MIN, unit: Some(long()) }; 40];
        let error = grade.error.as_mut().unwrap();
        (error.code, error.message) = (long(), long());
        grade
    });
    let mut row = row(grades.collect());
    let bytes = row.fit();
    assert!(bytes.len() <= MAX_ROW + (60 << 10), "{}", bytes.len());
    assert!(!row.truncated && row.grades.len() == MAX_GRADERS && row.checks.len() == 2);
    assert!(row.grades.iter().all(|grade| grade.metrics.len() == 3 && grade.log.is_none()));
    // Long grades cost the row itself nothing.
    let mut short = self::row(vec![grade("a", Some(Verdict::Pass))]);
    assert_eq!(short.fit(), stored(&short));
    assert!(!short.truncated);
}
