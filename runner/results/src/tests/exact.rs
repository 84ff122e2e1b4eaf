//! The exact comparison of two runs.

use runner_model::Outcome::{self, Failed, Passed, Skipped};

use super::{line_with, result, run};
use crate::ExactComparison;

/// Returns the first key that differs between two runs with one row each.
fn first_difference(rows: [(Outcome, &str); 2]) -> Option<String> {
    let runs = rows.map(|(outcome, keys)| {
        let run = run();
        run.write(&line_with(&result("t@p#1", outcome), 1, keys));
        run
    });
    let compared = ExactComparison::read(runs.each_ref().map(|run| &run.dir)).unwrap();
    assert_eq!(compared.equal + compared.different, 1);
    compared.first.map(|first| first.key)
}

#[test]
fn real_time_decides_no_difference() {
    let checks = |checks: &[&str]| format!(r#","checks":[{}]"#, checks.join(","));
    let fast = r#"{"kind":"max_duration","verdict":"pass"}"#;
    let late = r#"{"kind":"max_duration","verdict":"fail","actual":1.5}"#;
    let other = r#"{"kind":"equals","verdict":"fail"}"#;
    let grades = r#","grades":[{"grader":"g","attempt":1,"verdict":"fail","score":0,"weight":1,"duration_ms":1}]"#;
    let [fast, late, both, other] = [&[fast][..], &[late], &[late, other], &[other]].map(checks);
    let with = |checks: &str, more: &str| format!("{checks}{more}");
    let skip = r#","verdict":"skip""#;
    let own = r#","verdict":"fail""#;
    for (base, new, key) in [
        ((Passed, fast.clone()), (Failed, late.clone()), None),
        ((Failed, late.clone()), (Failed, late.clone()), None),
        ((Skipped, with(&fast, skip)), (Failed, with(&late, skip)), None),
        // Graders are called only after all checks have passed.
        ((Failed, with(&fast, grades)), (Failed, late.clone()), None),
        ((Passed, with(&fast, r#","flaky":true"#)), (Failed, late.clone()), None),
        ((Failed, with(&fast, grades)), (Passed, fast.clone()), Some("grades")),
        // The duration is not the only reason.
        ((Failed, other), (Failed, both.clone()), None),
        ((Passed, fast.clone()), (Failed, both), Some("checks")),
        ((Passed, fast.clone()), (Failed, with(&late, own)), Some("outcome")),
    ] {
        let sides = [(base.0, &*base.1), (new.0, &*new.1)];
        let [one, other] = sides;
        for sides in [[one, other], [other, one]] {
            assert_eq!(first_difference(sides).as_deref(), key, "{sides:?}");
        }
    }
}
