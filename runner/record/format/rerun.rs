//! [`Rerun`]: which trials that have a final row are run again.
//!
//! Rows name trials by their place in the plan. So a run that adopts another plan keeps its ordinals: its trials must be the
//! first ones of the new plan, in the same order, and what has moved or is gone is refused. To copy rows under other ordinals
//! would make two rows of one attempt. The trials that have changed are stored with the session as a [`Rerun::Changed`], so
//! that the one fold serves this case too.

use std::{fmt, ops::Range, str::FromStr};

use globset::GlobMatcher;

use crate::{filter, model::Outcome, record::error::RecordError};

/// Which trials that have a final row are run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rerun {
    /// Those that failed, ended in an error or timed out.
    Failed,
    /// Those that ended in an error or timed out.
    Errors,
    /// All.
    All,
    /// Those whose row has been damaged since; they count as not run, so that no other trial is run again.
    Damaged,
    /// None: they are judged again, by what was stored of them.
    Judgements,
    /// Those that another plan was adopted for, or that a filter has meant: ranges of ordinals, each without its end.
    Changed(Vec<Range<u64>>),
    /// Those whose id, or whose test's id, matches.
    Glob(String),
}

/// The text of [`Rerun::Judgements`]; to whoever does not know it, it is a glob that means no trial.
const JUDGEMENTS: &str = "judgements:";
/// Begins the text of [`Rerun::Changed`]; no id and so no sensible glob has a colon.
const CHANGED: &str = "changed:";

impl Rerun {
    /// Makes it ready to be asked.
    pub(in crate::record) fn selector(&self) -> Result<Selector, RecordError> {
        Ok(match self {
            Self::Failed => {
                Selector::Outcomes(&[Outcome::Failed, Outcome::Error, Outcome::Timeout])
            }
            Self::Errors => Selector::Outcomes(&[Outcome::Error, Outcome::Timeout]),
            Self::All => Selector::Outcomes(&Outcome::ALL),
            Self::Damaged | Self::Judgements => Selector::Outcomes(&[]),
            Self::Changed(ranges) => Selector::Ordinals(ranges.clone()),
            Self::Glob(glob) => Selector::Ids(
                filter::glob(glob)
                    .map_err(RecordError::Rerun)?
                    .compile_matcher(),
            ),
        })
    }
}

/// A [`Rerun`] that can be asked.
pub(in crate::record) enum Selector {
    Outcomes(&'static [Outcome]),
    Ordinals(Vec<Range<u64>>),
    Ids(GlobMatcher),
}

/// Tells whether a glob means a trial, by its own id or by its test's.
pub fn is_meant(glob: &GlobMatcher, trial: &str) -> bool {
    let test = trial.rsplit_once('@').map_or(trial, |(test, _)| test);
    glob.is_match(trial) || glob.is_match(test)
}

impl fmt::Display for Rerun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Failed => "failed",
            Self::Errors => "errors",
            Self::All => "all",
            Self::Damaged => "damaged",
            Self::Judgements => JUDGEMENTS,
            Self::Glob(glob) => glob,
            Self::Changed(ranges) => {
                let ranges = ranges.iter();
                let ranges: Vec<_> = ranges
                    .map(|range| format!("{}-{}", range.start, range.end))
                    .collect();
                return write!(formatter, "{CHANGED}{}", ranges.join(","));
            }
        };
        formatter.write_str(word)
    }
}

impl FromStr for Rerun {
    type Err = globset::Error;

    fn from_str(text: &str) -> Result<Self, globset::Error> {
        Ok(match text {
            "failed" => Self::Failed,
            "errors" => Self::Errors,
            "all" => Self::All,
            "damaged" => Self::Damaged,
            JUDGEMENTS => Self::Judgements,
            text => match parse_changed(text) {
                Some(ranges) => Self::Changed(ranges),
                None => {
                    filter::glob(text)?;
                    Self::Glob(text.to_owned())
                }
            },
        })
    }
}

/// Reads `changed:0-3,7-9`, where each range is written without its end.
fn parse_changed(text: &str) -> Option<Vec<Range<u64>>> {
    let ranges = text.strip_prefix(CHANGED)?.split(',');
    ranges
        .filter(|range| !range.is_empty())
        .map(|range| {
            let (start, end) = range.split_once('-')?;
            Some(start.parse().ok()?..end.parse().ok()?)
        })
        .collect()
}
