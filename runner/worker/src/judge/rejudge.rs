//! [`rejudge`]: judges a stored row by the test's current `expect`. Calls no guest.

use std::mem;

use runner_model::{Row, RowRef, row::Check, test::Expect};

use super::{cache::CompiledCache, checks::Evidence, outcome::judge};

const EXIT_CODE: &str = "exit_code";
const STDERR: &str = "stderr";

/// Judges a stored row again, without graders. Replaces the outcome and the checks of the scenario; all else stays.
///
/// `evidence.exit_code` must be `Some(0)` for a plain command. The row's check `exit_code` replaces it. A check `stderr` stays
/// as it is, because the standard error is not in the row.
pub fn rejudge<'a>(
    cache: &CompiledCache,
    expect: &Expect,
    stored: RowRef<'a>,
    evidence: &Evidence<'_>,
) -> Row<'a> {
    let mut row = Row { artifacts: Vec::new(), ..stored.into() };
    let (own, old): (Vec<_>, _) =
        mem::take(&mut row.checks).into_iter().partition(|check| check.own);
    row.checks = own;
    let is_exit = |check: &Check<'_>| !check.own && *check.name == *EXIT_CODE;
    let (old_exit, others): (Vec<_>, Vec<_>) = old.into_iter().partition(is_exit);
    let old_exit = old_exit.into_iter().next().filter(|_| evidence.exit_code.is_some());
    let actual = old_exit.as_ref().and_then(|check| check.actual.as_ref());
    let code = actual.and_then(|code| code.get().parse().ok());
    let evidence = Evidence { exit_code: code.or(evidence.exit_code), ..*evidence };
    let expect = Expect { stderr: None, ..expect.clone() };
    judge(cache, &expect, &mut row, &evidence);
    let new_exit = row.checks.iter_mut().find(|check| is_exit(check));
    if let (Some(new), Some(old)) = (new_exit, old_exit)
        && new.expected == old.expected
    {
        // The old message quotes the command's standard error.
        new.message = old.message;
    }
    let stderr = others.into_iter().find(|check| *check.name == *STDERR);
    row.checks.splice(0..0, stderr);
    row
}
