//! What a reply is judged to be, whatever is in it.

use std::time::Duration;

use serde_json::Value;

use super::{EndEvidence, Evidence, ReplyEvidence, json, judge};
use crate::{
    model::{CheckVerdict, Outcome},
    scenario::Expect,
};

/// What the messages and differences of a check may have in all, in bytes.
const MAX_TOLD: usize = 32 * 1024;

/// What is expected, what came and what was written to standard error: the verdict is that of the values, and what is reported
/// of them is bounded.
pub fn replies(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0xff);
    let mut value = || serde_json::from_slice::<Value>(parts.next().unwrap_or_default());
    let (Ok(expected), Ok(output)) = (value(), value()) else {
        return;
    };
    let stderr = String::from_utf8_lossy(parts.next().unwrap_or_default());

    let is_same = json::same(&expected, &output);
    assert_eq!(is_same, json::same(&output, &expected));
    for value in [&expected, &output] {
        assert!(json::same(value, value));
        assert_eq!(json::first_mismatch(value, value, 0.0), None);
    }
    let is_subset = json::first_mismatch(&expected, &output, 0.0).is_none();
    assert!(is_subset || !is_same);

    for code in [None, Some(0), Some(1)] {
        let expect = Expect {
            equals: Some(expected.clone()),
            contains: vec![expected.clone()],
            json: Some(expected.clone()),
            ..Expect::default()
        };
        let reply = ReplyEvidence {
            output: &output,
            verdict: None,
            has_failed_checks: false,
            score: None,
            exit_code: code,
        };
        let judged = judge(
            &expect,
            &Evidence {
                ending: EndEvidence::Reply(reply),
                duration: Duration::ZERO,
                peak_memory: 0,
                stderr: &stderr,
                hint: None,
            },
        );
        let verdict = |name: &str| {
            let mut checks = judged.checks.iter();
            let check = checks.find(|check| check.name == name);
            check.map(|check| check.verdict == CheckVerdict::Pass)
        };
        assert_eq!(verdict("equals"), Some(is_same));
        assert_eq!(verdict("json"), Some(is_subset));
        let mut checks = judged.checks.iter();
        let all = checks.all(|check| check.verdict == CheckVerdict::Pass);
        assert_eq!(judged.outcome == Outcome::Passed, all);
        for check in &judged.checks {
            let message = check.message.as_ref().map_or(0, String::len);
            let diff = check.diff.as_ref().map_or(0, String::len);
            // What an author wrote may be shown whole.
            let own = 2 * bytes.len();
            assert!(message + diff <= MAX_TOLD + own, "{}", check.name);
        }
    }
}
