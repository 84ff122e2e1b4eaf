//! [`Brief`]: what of a line decides state, read without the rest of the row.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    judgement::{self, JudgementLine},
    line::{self, check_crc},
    mark::{AttemptKey, Mark},
    row::Row,
    row_line::{one, yes},
    words,
};
use crate::model::Outcome;

/// What of a line decides state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) struct Brief {
    /// The version of the row's format.
    pub(in crate::record) version: u32,
    pub(in crate::record) seq: u64,
    pub(in crate::record) kind: BriefKind,
    pub(in crate::record) mark: Mark,
}

/// What kind of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum BriefKind {
    /// An attempt.
    Attempt,
    /// A judgement of one.
    Judgement {
        /// The attempt's line, by its number.
        of: u64,
    },
}

impl Row<'_> {
    /// What of it decides state.
    pub(in crate::record) fn brief(&self) -> Brief {
        Brief {
            version: self.v,
            seq: self.seq,
            kind: BriefKind::Attempt,
            mark: self.mark(),
        }
    }
}

impl JudgementLine<'_> {
    /// What of it decides state.
    pub(in crate::record) fn brief(&self) -> Brief {
        Brief {
            version: self.v,
            seq: self.seq,
            kind: BriefKind::Judgement { of: self.of },
            mark: Mark {
                key: AttemptKey {
                    ordinal: self.ordinal,
                    number: self.attempt,
                },
                outcome: self.outcome,
                is_final: self.is_final,
                is_flaky: self.is_flaky,
            },
        }
    }
}

/// Reads of a line only what decides state.
pub(in crate::record) fn decode_brief(line: &[u8]) -> Result<Brief, String> {
    decode_borrowed(line).map(|(brief, _)| brief)
}

/// Reads of a line only what decides state, and its trial's id.
pub(in crate::record) fn decode_named(line: &[u8]) -> Result<(Brief, String), String> {
    decode_borrowed(line).map(|(brief, trial)| (brief, trial.into_owned()))
}

fn decode_borrowed(line: &[u8]) -> Result<(Brief, Cow<'_, str>), String> {
    check_crc(line)?;
    if judgement::is_judgement(line) {
        return Ok((judgement(line)?, "".into()));
    }
    match quick::decode(line) {
        Some((brief, trial)) => Ok((brief, trial.into())),
        None => decode_keys(line),
    }
}

/// Reads of the line of a judgement, whose checksum is right, only what decides state.
fn judgement(line: &[u8]) -> Result<Brief, String> {
    match quick::judgement(line) {
        Some(brief) => Ok(brief),
        None => line::parse::<JudgementLine<'_>>(line).map(|judgement| judgement.brief()),
    }
}

pub(in crate::record) fn decode_keys(line: &[u8]) -> Result<(Brief, Cow<'_, str>), String> {
    #[derive(Deserialize)]
    struct Keys<'a> {
        v: u32,
        seq: u64,
        ordinal: u64,
        #[serde(borrow)]
        trial: Cow<'a, str>,
        #[serde(default = "one")]
        attempt: u32,
        #[serde(rename = "final", default = "yes")]
        is_final: bool,
        #[serde(with = "words::word")]
        outcome: Outcome,
        #[serde(rename = "flaky", default)]
        is_flaky: bool,
    }
    let keys: Keys<'_> = line::parse(line)?;
    let mark = Mark {
        key: AttemptKey {
            ordinal: keys.ordinal,
            number: keys.attempt,
        },
        outcome: keys.outcome,
        is_final: keys.is_final,
        is_flaky: keys.is_flaky,
    };
    let brief = Brief {
        version: keys.v,
        seq: keys.seq,
        kind: BriefKind::Attempt,
        mark,
    };
    Ok((brief, keys.trial))
}

/// Reads keys where they are written, which spares a resumed run of a million rows most of the parsing.
pub(in crate::record) mod quick {
    use super::{AttemptKey, Brief, BriefKind, Mark, Outcome};
    use crate::model::json_length;

    /// `None` says nothing about a line but that it was not written by this program.
    pub(in crate::record) fn decode(line: &[u8]) -> Option<(Brief, &str)> {
        head(line).map(|head| (head.brief, head.trial))
    }

    /// The first keys of a row.
    pub(in crate::record) struct RowHead<'a> {
        pub(in crate::record) brief: Brief,
        pub(in crate::record) session: u32,
        pub(in crate::record) trial: &'a str,
        /// What is behind them in the line.
        pub(in crate::record) rest: &'a [u8],
    }

    /// Reads them.
    pub(in crate::record) fn head(line: &[u8]) -> Option<RowHead<'_>> {
        let mut rest = line;
        let version = number(&mut rest, b"{\"v\":")?;
        let seq = number(&mut rest, b",\"seq\":")?;
        let session = optional(&mut rest, b",\"session\":")?;
        let ordinal = number(&mut rest, b",\"ordinal\":")?;
        let trial = text(&mut rest, b",\"trial\":\"")?;
        match version {
            1 => {
                text(&mut rest, b",\"test\":\"")?;
                text(&mut rest, b",\"provider\":\"")?;
                number(&mut rest, b",\"repeat\":")?;
            }
            2 | 3 => {}
            _ => return None,
        }
        let attempt = optional(&mut rest, b",\"attempt\":")?;
        let is_final = skip(&mut rest, b",\"final\":false").is_none();
        if is_final {
            // As version 1 has always said.
            skip(&mut rest, b",\"final\":true");
        }
        let outcome = Outcome::parse(text(&mut rest, b",\"outcome\":\"")?)?;
        let is_flaky = skip(&mut rest, b",\"flaky\":true").is_some();
        let mark = Mark {
            key: AttemptKey {
                ordinal,
                number: attempt.try_into().ok()?,
            },
            outcome,
            is_final,
            is_flaky,
        };
        let brief = Brief {
            version: version.try_into().ok()?,
            seq,
            kind: BriefKind::Attempt,
            mark,
        };
        Some(RowHead {
            brief,
            session: session.try_into().ok()?,
            trial,
            rest,
        })
    }

    /// What was measured of an attempt of which there is nothing else to tell.
    pub(in crate::record) struct RowMeasures {
        /// In milliseconds since 1970.
        pub(in crate::record) started_at: i64,
        pub(in crate::record) duration_ms: f64,
        pub(in crate::record) peak_memory: u64,
    }

    /// Reads what is behind the head of a row of version 2, if that has checks, an output and what was measured, and no other
    /// keys before these.
    pub(in crate::record) fn measured(mut rest: &[u8]) -> Option<RowMeasures> {
        skip_key(&mut rest, b",\"checks\":")?;
        skip_key(&mut rest, b",\"output\":")?;
        skip(&mut rest, b",\"began\":")?;
        let started_at = number(&mut rest, b"")?;
        let is_end = |byte: u8| matches!(byte, b',' | b'}');
        let duration_ms = take(&mut rest, b",\"ms\":", is_end)?;
        let usage = b",\"usage\":{\"memory\":";
        let peak_memory = match rest.starts_with(usage) {
            true => number(&mut rest, usage)?,
            // Something else may stand before it.
            false if rest.starts_with(b",\"digests\":") => 0,
            false => return None,
        };
        Some(RowMeasures {
            started_at: started_at.try_into().ok()?,
            duration_ms: duration_ms.parse().ok()?,
            peak_memory,
        })
    }

    /// The same for the line of a judgement.
    pub(super) fn judgement(line: &[u8]) -> Option<Brief> {
        judgement_head(line).map(|(brief, _)| brief)
    }

    /// The same, and what is behind it in the line.
    pub(in crate::record::format) fn judgement_head(line: &[u8]) -> Option<(Brief, &[u8])> {
        let mut rest = line;
        skip(&mut rest, b"{\"v\":3,\"kind\":\"judgement\"")?;
        let seq = number(&mut rest, b",\"seq\":")?;
        optional(&mut rest, b",\"session\":")?;
        let of = number(&mut rest, b",\"of\":")?;
        let ordinal = number(&mut rest, b",\"ordinal\":")?;
        let attempt = optional(&mut rest, b",\"attempt\":")?;
        let is_final = skip(&mut rest, b",\"final\":false").is_none();
        let outcome = Outcome::parse(text(&mut rest, b",\"outcome\":\"")?)?;
        let is_flaky = skip(&mut rest, b",\"flaky\":true").is_some();
        let brief = Brief {
            version: 3,
            seq,
            kind: BriefKind::Judgement { of },
            mark: Mark {
                key: AttemptKey {
                    ordinal,
                    number: attempt.try_into().ok()?,
                },
                outcome,
                is_final,
                is_flaky,
            },
        };
        Some((brief, rest))
    }

    /// Reads how long an attempt took, in milliseconds, from what is behind the head of a row of version 2, where nothing is
    /// told of an error or a denial.
    pub(in crate::record) fn duration(mut rest: &[u8]) -> Option<f64> {
        skip_keys(
            &mut rest,
            &[
                b",\"score\":",
                b",\"verdict\":",
                b",\"summary\":",
                b",\"checks\":",
                b",\"metrics\":",
                b",\"output\":",
            ],
        )?;
        number(&mut rest, b",\"began\":")?;
        let is_end = |byte: u8| matches!(byte, b',' | b'}');
        let duration_ms = take(&mut rest, b",\"ms\":", is_end)?;
        for key in [&b",\"suspended_ms\":"[..], b",\"worker\":", b",\"usage\":"] {
            skip_key(&mut rest, key)?;
        }
        if rest.starts_with(b",\"denied\":") {
            return None;
        }
        duration_ms.parse().ok()
    }

    /// Takes a number that is absent where it is 1.
    #[inline(always)]
    pub(in crate::record::format) fn optional(rest: &mut &[u8], key: &[u8]) -> Option<u64> {
        match rest.starts_with(key) {
            true => number(rest, key),
            false => Some(1),
        }
    }

    /// Passes over those of these keys that are there, with their values.
    pub(in crate::record::format) fn skip_keys(rest: &mut &[u8], keys: &[&[u8]]) -> Option<()> {
        keys.iter().try_for_each(|key| skip_key(rest, key))
    }

    /// Passes over a key and its value, if the key is there.
    pub(in crate::record::format) fn skip_key(rest: &mut &[u8], key: &[u8]) -> Option<()> {
        // Most keys are another one, which their first letter shows.
        if rest.get(2) != key.get(2) {
            return Some(());
        }
        match skip(rest, key) {
            Some(()) => value(rest),
            None => Some(()),
        }
    }

    /// Passes over a JSON value.
    pub(in crate::record::format) fn value(rest: &mut &[u8]) -> Option<()> {
        *rest = rest.get(json_length(rest)?..)?;
        Some(())
    }

    // Where a key is known, it is compared as the few words that it is.
    #[inline(always)]
    pub(in crate::record::format) fn skip(rest: &mut &[u8], key: &[u8]) -> Option<()> {
        *rest = rest.strip_prefix(key)?;
        Some(())
    }

    #[inline(always)]
    pub(in crate::record::format) fn number(rest: &mut &[u8], key: &[u8]) -> Option<u64> {
        skip(rest, key)?;
        let length = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, after) = rest.split_at(length);
        *rest = after;
        let add = |number: u64, digit: &u8| {
            let tens = number.checked_mul(10)?;
            tens.checked_add(u64::from(digit - b'0'))
        };
        let number = digits.iter().try_fold(0, add);
        number.filter(|_| !digits.is_empty())
    }

    /// Takes a text without escapes, and its quote.
    #[inline(always)]
    pub(in crate::record::format) fn text<'a>(rest: &mut &'a [u8], key: &[u8]) -> Option<&'a str> {
        let text = take(rest, key, |byte| matches!(byte, b'"' | b'\\'))?;
        skip(rest, b"\"")?;
        Some(text)
    }

    #[inline(always)]
    fn take<'a>(rest: &mut &'a [u8], key: &[u8], is_end: fn(u8) -> bool) -> Option<&'a str> {
        skip(rest, key)?;
        let length = rest.iter().position(|byte| is_end(*byte))?;
        let (taken, after) = rest.split_at(length);
        *rest = after;
        std::str::from_utf8(taken).ok()
    }
}
