//! [`PlainAttempt`]: an attempt of which there is no more to tell than of most, read where its line has it.

use super::{
    brief::{
        Brief, BriefKind,
        quick::{self, RowHead},
    },
    mark::Mark,
    row::VERSION,
    row_digest::RowDigest,
    row_line::parts,
};
use crate::model::{Outcome, parse_hex};

/// An attempt that has settled its trial and passed, in which every check has held and nothing was said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlainAttempt<'a> {
    /// Which one it is, and what it means by now.
    pub mark: Mark,
    /// Its line, by its `seq`.
    pub seq: u64,
    /// The trial's id.
    pub trial: &'a str,
    /// How many things were checked when its line was written.
    pub checks: usize,
    /// How many of these the scenario expected; `None` if nothing on disk says so.
    pub expected_checks: Option<usize>,
    /// What came out, as JSON.
    pub output: &'a str,
    /// By what it is judged.
    pub judged_by: RowDigest,
}

impl<'a> PlainAttempt<'a> {
    /// Reads it of a line whose checksum is right; `None` says nothing about the line but that there may be more to tell.
    pub(in crate::record) fn read(line: &'a [u8]) -> Option<Self> {
        let RowHead {
            brief,
            trial,
            mut rest,
            ..
        } = quick::head(line)?;
        let checks = held(&mut rest)?;
        quick::skip_key(&mut rest, b",\"metrics\":")?;
        quick::skip(&mut rest, b",\"output\":")?;
        let output = rest;
        quick::value(&mut rest)?;
        let output = str::from_utf8(&output[..output.len() - rest.len()]).ok()?;
        quick::skip_keys(
            &mut rest,
            &[
                b",\"began\":",
                b",\"ms\":",
                b",\"suspended_ms\":",
                b",\"worker\":",
                b",\"usage\":",
                b",\"denied\":",
                b",\"artifacts\":",
            ],
        )?;
        let digests = quick::text(&mut rest, b",\"digests\":\"")?;
        let is_plain = brief.version == VERSION
            && is_settled(brief.mark)
            // One that is elsewhere looks like this.
            && !output.starts_with("{\"artifact\":")
            && is_end(rest);
        is_plain.then_some(Self {
            mark: brief.mark,
            seq: brief.seq,
            trial,
            checks,
            expected_checks: None,
            output,
            judged_by: RowDigest::Beginning(parse_hex(digests.get(16..)?)?),
        })
    }

    /// The same by the line of the newest judgement of it.
    pub(in crate::record) fn by(self, line: &[u8]) -> Option<Self> {
        let (brief, mut rest) = quick::judgement_head(line)?;
        let Brief {
            kind: BriefKind::Judgement { of },
            mark,
            ..
        } = brief
        else {
            return None;
        };
        held(&mut rest)?;
        let judged_by = quick::text(&mut rest, b",\"judgement\":\"")?;
        quick::text(&mut rest, b",\"scenario\":\"")?;
        let is_plain =
            of == self.seq && mark.key == self.mark.key && is_settled(mark) && is_end(rest);
        is_plain.then_some(Self {
            mark,
            expected_checks: Some(self.checks),
            judged_by: RowDigest::Beginning(parse_hex(judged_by)?),
            ..self
        })
    }

    /// Test, provider and repeat, as the trial's id has them.
    pub fn parts(&self) -> (&'a str, &'a str, u32) {
        parts(self.trial)
    }
}

fn is_settled(mark: Mark) -> bool {
    mark.is_final && mark.outcome == Outcome::Passed
}

/// Only the checksum is left.
fn is_end(rest: &[u8]) -> bool {
    rest.starts_with(b",\"crc\":\"")
}

/// Passes over the names of checks that have held, and counts them; `None` if there is more to tell of one.
fn held(rest: &mut &[u8]) -> Option<usize> {
    if quick::skip(rest, b",\"checks\":[").is_none() {
        return Some(0);
    }
    let mut count = 1;
    quick::text(rest, b"\"")?;
    while quick::skip(rest, b"]").is_none() {
        quick::text(rest, b",\"")?;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::PlainAttempt;
    use crate::{
        model::{CheckVerdict, Digest, Metric, Outcome},
        record::{
            Entry, JudgementLine, Mark, Row,
            format::row::{RowLogs, RowPlace},
            testing::{attempt_error, entry, judgement},
        },
    };

    const PLACE: RowPlace = RowPlace { seq: 7, session: 2 };

    fn line(change: impl FnOnce(&mut Entry)) -> Vec<u8> {
        let mut entry = entry(3, 2, Outcome::Passed);
        change(&mut entry);
        let mut line = Vec::new();
        Row::new(&entry, PLACE).encode(&mut line);
        line.trim_ascii_end().to_owned()
    }

    #[test]
    fn what_is_plain_is_what_its_row_says() {
        let outputs = [
            json!(null),
            json!(-1.5e300),
            json!("\",\"began\":1\\"),
            json!({"checks": [], "output": {"digests": "x"}, "}": [["]"], "\\"]}),
        ];
        for output in outputs {
            let line = line(|entry| {
                let attempt = &mut entry.attempt;
                attempt.output = Some(output.clone());
                attempt.suspended = Duration::from_secs(1);
                attempt.metrics = vec![Metric {
                    name: "m".into(),
                    value: 1.0,
                    unit: None,
                }];
                attempt.checks.push(attempt.checks[0].clone());
                entry.is_flaky = true;
            });
            let (plain, row) = (
                PlainAttempt::read(&line).unwrap(),
                Row::decode(&line).unwrap(),
            );
            assert_eq!((plain.mark, plain.seq), (row.mark(), row.seq));
            assert_eq!(plain.trial, row.trial);
            assert_eq!(plain.parts(), (&*row.test, &*row.provider, row.repeat));
            assert_eq!((plain.checks, plain.expected_checks), (2, None));
            let read: serde_json::Value = serde_json::from_str(plain.output).unwrap();
            assert_eq!(read, output);
            assert_eq!(Some(plain.judged_by), row.judgement_fingerprint);
        }
        let unchecked = line(|entry| entry.attempt.checks.clear());
        assert_eq!(PlainAttempt::read(&unchecked).unwrap().checks, 0);
    }

    #[test]
    fn what_has_more_to_tell_is_not_plain() {
        let changes: [fn(&mut Entry); 10] = [
            |entry| entry.attempt.score = Some(0.5),
            |entry| entry.attempt.verdict = Some(CheckVerdict::Pass),
            |entry| entry.attempt.summary = Some("all is well".into()),
            |entry| entry.attempt.checks[0].verdict = CheckVerdict::Skip,
            |entry| entry.attempt.checks[0].details = Some(json!(1)),
            |entry| entry.attempt.checks[0].name = "a\"b".into(),
            |entry| entry.attempt.output = None,
            |entry| entry.attempt.outcome = Outcome::Skipped,
            |entry| entry.is_final = false,
            |entry| entry.attempt.error = Some(attempt_error()),
        ];
        for (place, change) in changes.into_iter().enumerate() {
            assert_eq!(PlainAttempt::read(&line(change)), None, "{place}");
        }
        let entry = entry(3, 1, Outcome::Passed);
        let rows: [fn(&mut Row<'_>); 2] = [
            |row| {
                row.logs = Some(RowLogs {
                    file: 1,
                    at: 0,
                    bytes: 9,
                });
            },
            |row| row.is_truncated = true,
        ];
        for change in rows {
            let (mut row, mut line) = (Row::new(&entry, PLACE), Vec::new());
            change(&mut row);
            row.encode(&mut line);
            assert_eq!(PlainAttempt::read(line.trim_ascii_end()), None);
        }
    }

    #[test]
    fn a_plain_judgement_stands_for_what_the_line_says() {
        let written = line(|_| {});
        let plain = PlainAttempt::read(&written).unwrap();
        let line_of = |judgement| {
            let mut line = Vec::new();
            JudgementLine::new(&judgement, PLACE).encode(&mut line);
            line.trim_ascii_end().to_owned()
        };
        let mut of = judgement(7, plain.mark);
        of.fingerprint = Digest::of(b"others");
        of.mark.is_flaky = true;
        let by = plain.by(&line_of(of.clone())).unwrap();
        assert!(by.judged_by.begins(Digest::of(b"others")) && by.mark.is_flaky);
        assert_eq!((by.checks, by.expected_checks), (1, Some(1)));
        assert_eq!((by.output, by.trial), (plain.output, plain.trial));

        let failed = Mark {
            outcome: Outcome::Failed,
            ..plain.mark
        };
        assert_eq!(plain.by(&line_of(judgement(7, failed))), None);
        assert_eq!(plain.by(&line_of(judgement(8, plain.mark))), None);
        let mut other = of.clone();
        other.own_checks = 1;
        assert_eq!(plain.by(&line_of(other)), None);
        let mut other = of;
        other.score = Some(1.0);
        assert_eq!(plain.by(&line_of(other)), None);
        assert_eq!(plain.by(&written), None);
    }
}
