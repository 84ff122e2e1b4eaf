//! [`RowGlance`]: what of a line is counted, read without the rest of the row.

use serde::Deserialize;

use super::{
    brief::{
        Brief, BriefKind,
        quick::{self, RowHead},
    },
    judgement::JudgementLine,
    line::{self, check_crc},
    mark::{AttemptKey, Mark},
    row::{RowDenied, VERSION},
    row_line::{one, yes},
    row_parts::RowError,
    words,
};
use crate::model::{ErrorClass, Outcome};

/// What of a line is counted: everything but what was checked, what came out and where the rest of it is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RowGlance {
    pub(in crate::record) v: u32,
    pub(in crate::record) seq: u64,
    /// The session that wrote it, from 1.
    #[serde(default = "one")]
    pub session: u32,
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// The trial's id.
    pub trial: String,
    /// Which execution of the trial, from 1.
    #[serde(default = "one")]
    pub attempt: u32,
    /// Whether this attempt settles its trial.
    #[serde(rename = "final", default = "yes")]
    pub is_final: bool,
    /// What the attempt came to.
    #[serde(with = "words::word")]
    pub outcome: Outcome,
    /// Whether the trial passed only after an attempt that did not.
    #[serde(rename = "flaky", default)]
    pub is_flaky: bool,
    #[serde(rename = "ms", alias = "duration_ms")]
    pub(in crate::record) duration_ms: f64,
    #[serde(default)]
    error: Option<ErrorGlance>,
    /// What it tried and was not granted.
    #[serde(default)]
    pub(in crate::record) denied: Vec<RowDenied<'static>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
struct ErrorGlance {
    #[serde(default, with = "words::optional_word")]
    class: Option<ErrorClass>,
}

impl RowGlance {
    /// Reads it of a line; the text of the error says what is wrong with that.
    pub(in crate::record) fn decode(line: &[u8]) -> Result<Self, String> {
        check_crc(line)?;
        match Self::decode_quickly(line) {
            Some(glance) => Ok(glance),
            None => line::parse(line),
        }
    }

    /// Reads keys where this program writes them; `None` says nothing about a line.
    pub(in crate::record) fn decode_quickly(line: &[u8]) -> Option<Self> {
        let RowHead {
            brief,
            session,
            trial,
            rest,
        } = quick::head(line)?;
        if brief.version != VERSION {
            return None;
        }
        let duration_ms = quick::duration(rest)?;
        Some(Self {
            v: brief.version,
            seq: brief.seq,
            session,
            ordinal: brief.mark.key.ordinal,
            trial: trial.to_owned(),
            attempt: brief.mark.key.number,
            is_final: brief.mark.is_final,
            outcome: brief.mark.outcome,
            is_flaky: brief.mark.is_flaky,
            duration_ms,
            error: None,
            denied: Vec::new(),
        })
    }

    /// Lets a judgement stand for what its attempt was taken for until then.
    pub(in crate::record) fn judge(&mut self, by: &JudgementLine<'_>) {
        if !by.stands_for_one(self.is_final) {
            return;
        }
        self.is_final = by.is_final;
        self.outcome = by.outcome;
        self.is_flaky = by.is_flaky;
        let class = |error: &RowError<'_>| ErrorGlance { class: error.class };
        self.error = by.error.as_ref().map(class);
    }

    /// What kind of failure the attempt was.
    pub(in crate::record) fn class(&self) -> Option<ErrorClass> {
        self.error.and_then(|error| error.class)
    }

    /// The provider's name, as the trial's id has it.
    pub(in crate::record) fn provider(&self) -> &str {
        super::row_line::parts(&self.trial).1
    }

    /// What of it decides state.
    pub(in crate::record) fn brief(&self) -> Brief {
        Brief {
            version: self.v,
            seq: self.seq,
            kind: BriefKind::Attempt,
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
