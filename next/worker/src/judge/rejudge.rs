//! Judges a stored row again, by what its test expects now. No guest is called.

use std::{io, mem};

use runner_model::{Row, RowRef, row::Check, test::Expect};

use super::{Evidence, Judge};

const EXIT_CODE: &str = "exit_code";

/// Judges the row that is stored of an attempt. Its times, its output and what the provider said stay as they are. Of a
/// plain command there is an exit code in the evidence, and the one that counts is in the row.
///
/// # Errors
///
/// Bytes that are no row.
pub fn judge_again<'a>(
    judge: &Judge,
    expect: &Expect,
    stored: &'a [u8],
    of: &Evidence<'_>,
) -> io::Result<Row<'a>> {
    let stored: RowRef<'a> = serde_json::from_slice(stored)?;
    let mut row = Row { artifacts: Vec::new(), ..stored.into() };
    let (own, made): (Vec<_>, _) =
        mem::take(&mut row.checks).into_iter().partition(|check| check.own);
    row.checks = own;
    let mut exit = made.into_iter().filter(|check| *check.name == *EXIT_CODE);
    let exit = exit.next().filter(|_| of.exit_code.is_some());
    let code = exit.as_ref().and_then(|exit| exit.actual.as_ref());
    let code = code.and_then(|code| code.get().parse().ok());
    let of = Evidence { exit_code: of.exit_code.map(|none| code.unwrap_or(none)), ..*of };
    judge.judge(expect, &mut row, &of);
    // The words of the check that told it are kept: they show the command's standard error.
    let is_exit = |check: &&mut Check<'_>| *check.name == *EXIT_CODE;
    if let (Some(made), Some(exit)) = (row.checks.iter_mut().find(is_exit), exit)
        && made.expected == exit.expected
    {
        made.message = exit.message;
    }
    Ok(row)
}
