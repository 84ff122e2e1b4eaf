//! [`rejudge`]: judges a stored row by the test's present `expect`. Calls no guest.

use std::{io, mem};

use runner_model::{Row, RowRef, row::Check, test::Expect};

use super::{cache::CompiledCache, checks::Evidence, outcome::judge};

const EXIT_CODE: &str = "exit_code";

/// Judges a stored row again. Replaces the outcome and the checks of the scenario; all else stays.
///
/// `evidence.exit_code` must be `Some(0)` for a plain command. The row's check `exit_code` replaces it.
///
/// # Errors
///
/// Bytes that are not a row.
pub fn rejudge<'a>(
    cache: &CompiledCache,
    expect: &Expect,
    stored: &'a [u8],
    evidence: &Evidence<'_>,
) -> io::Result<Row<'a>> {
    let stored: RowRef<'a> = serde_json::from_slice(stored)?;
    let mut row = Row { artifacts: Vec::new(), ..stored.into() };
    let (own, old): (Vec<_>, _) =
        mem::take(&mut row.checks).into_iter().partition(|check| check.own);
    row.checks = own;
    let is_exit = |check: &Check<'_>| !check.own && *check.name == *EXIT_CODE;
    let old_exit = old.into_iter().find(is_exit).filter(|_| evidence.exit_code.is_some());
    let actual = old_exit.as_ref().and_then(|check| check.actual.as_ref());
    let code = actual.and_then(|code| code.get().parse().ok());
    let evidence = Evidence { exit_code: code.or(evidence.exit_code), ..*evidence };
    judge(cache, expect, &mut row, &evidence);
    let new_exit = row.checks.iter_mut().find(|check| is_exit(check));
    if let (Some(new), Some(old)) = (new_exit, old_exit)
        && new.expected == old.expected
    {
        // The old message quotes the command's standard error, which is not in the row.
        new.message = old.message;
    }
    Ok(row)
}
